"""Attribute travel: amounts, values and signs in closed form, what is left alone, and where the population ends."""

import math
from dataclasses import replace

import pytest
import torch

from latent_atlas.attributes.base import Direction, Function
from latent_atlas.attributes.probes import ValueProbe
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.toys import arc
from latent_atlas.errors import UserError
from latent_atlas.travel.traversal import traverse

NORMAL = StandardNormal(3)
RADIUS = Function(lambda z: z.norm(dim=1), "radius")
FIRST = Direction(torch.tensor([1.0, 0.0, 0.0]), "first")
SKEW = Direction(torch.tensor([1.0, 1.0, 0.0]), "skew")


@pytest.mark.parametrize("by", [1.5, -1.5])
def test_a_linear_attribute_is_followed_along_its_gradient(by: float) -> None:
    start = torch.tensor([[0.2, -0.1, 0.4], [0.0, 0.0, 0.0]])
    path = traverse(NORMAL, start, FIRST, by=by, frames=4, threshold=-20.0)
    steps = torch.linspace(0, by, 4)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(path.points, start + steps, atol=1e-2, rtol=0)
    torch.testing.assert_close(path.metrics.value, start[:, 0] + by, atol=1e-2, rtol=0)
    assert path.info.converged.all()


def test_more_is_more_at_every_frame() -> None:
    path = traverse(NORMAL, torch.tensor([0.5, 0.5, 0.0]), RADIUS, by=0.8, threshold=-20.0)
    assert (RADIUS.values(path.points[:, 0]).diff(dim=0) > 0).all()
    less = traverse(NORMAL, torch.tensor([0.5, 0.5, 0.0]), RADIUS, by=-0.5, threshold=-20.0)
    assert (RADIUS.values(less.points[:, 0]).diff(dim=0) < 0).all()


def test_a_value_is_reached_from_either_side() -> None:
    start = torch.tensor([[0.5, 0.0, 0.0], [1.6, 0.0, 0.0]])
    path = traverse(NORMAL, start, FIRST, to=1.0, threshold=-20.0)
    torch.testing.assert_close(path.metrics.value, torch.ones(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(path.metrics.reached, torch.ones(2), atol=1e-2, rtol=0)


def test_what_is_kept_is_left_alone() -> None:
    start = torch.tensor([[0.1, 0.3, -0.2]])
    free = traverse(NORMAL, start, FIRST, by=1.0, threshold=-20.0)
    bound = traverse(NORMAL, start, FIRST, by=1.0, keep=[SKEW], within=0.01, threshold=-20.0)
    assert (SKEW.values(free.points[-1]) - SKEW.values(start)).item() == pytest.approx(
        math.sqrt(0.5), abs=0.01
    )
    assert bound.metrics.drift["skew"].item() <= 0.01
    # dz/da = P g / |P g|² = (1, -1, 0) for g = (1, 0, 0) and P orthogonal to (1, 1, 0)
    torch.testing.assert_close(
        bound.points[-1] - start, torch.tensor([[1.0, -1.0, 0.0]]), atol=0.02, rtol=0
    )


def test_the_tolerance_of_a_curved_attribute_holds_at_every_frame() -> None:
    start = torch.tensor([[0.0, 1.0, 0.5], [0.5, -1.0, 0.0]])
    path = traverse(
        NORMAL, start, FIRST, by=0.5, keep=[RADIUS], within=0.01, steps=2, threshold=-20.0
    )
    radii = RADIUS.values(path.points.flatten(0, 1)).unflatten(0, (17, 2))
    assert (radii - RADIUS.values(start)).abs().max() <= 0.01
    assert path.info.converged.all()


def test_a_journey_ends_where_the_population_does() -> None:
    threshold = NORMAL.log_prob(torch.tensor([[2.0, 0.0, 0.0]])).item()
    path = traverse(
        NORMAL, torch.tensor([[0.0, 0.5, 0.0]]), FIRST, by=5.0, frames=26, threshold=threshold
    )
    assert not path.info.converged.any()
    assert NORMAL.log_prob(path.points[:, 0]).min() >= threshold
    assert path.metrics.value.item() == pytest.approx(
        2.0, abs=0.06
    )  # it slides along the floor to the very end
    assert path.metrics.reached.item() == pytest.approx(2 / 5, abs=0.02)


def test_a_bend_of_the_population_is_followed() -> None:
    height = Direction(torch.tensor([0.0, 1.0]), "height")
    start = torch.tensor([[2.0, 0.0]])
    path = traverse(arc(), start, height, to=1.6, threshold=-2.0)
    assert path.info.converged.all()
    assert arc().log_prob(path.points[:, 0]).min() >= -2.0
    assert path.points[-1, 0, 0] < 1.7  # straight up, at (2, 1.6), there is nobody
    assert arc().log_prob(torch.tensor([[2.0, 1.6]])) < -3.0


def test_a_start_below_the_floor_is_not_lifted_but_goes_no_lower() -> None:
    start = torch.tensor([[3.0, 0.0, 0.0]])
    path = traverse(
        NORMAL, start, FIRST, by=-1.0, threshold=NORMAL.log_prob(torch.zeros(1, 3)).item() - 1
    )
    assert path.info.converged.all()
    assert NORMAL.log_prob(path.points[:, 0]).min() >= NORMAL.log_prob(start)


def test_a_direction_will_do_for_an_attribute() -> None:
    path = traverse(NORMAL, torch.zeros(3), torch.tensor([0.0, 0.0, 2.0]), by=0.5, threshold=-20.0)
    torch.testing.assert_close(path.points[-1, 0], torch.tensor([0.0, 0.0, 0.5]), atol=1e-3, rtol=0)


def test_each_journey_has_its_own_amount() -> None:
    path = traverse(NORMAL, torch.zeros(2, 3), FIRST, by=torch.tensor([0.5, -1.0]), threshold=-20.0)
    torch.testing.assert_close(path.points[-1, :, 0], torch.tensor([0.5, -1.0]), atol=1e-2, rtol=0)


def test_an_attribute_that_is_kept_cannot_be_changed() -> None:
    path = traverse(
        NORMAL, torch.zeros(3), FIRST, by=1.0, keep=[FIRST], within=0.01, threshold=-20.0
    )
    assert not path.info.converged.any()
    assert path.metrics.drift["first"].item() <= 0.01


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"by": None}, "neither is given"),
        ({"to": 1.0}, "both are given"),
        ({"by": 0.0}, "would change by 0"),
        ({"by": math.nan}, "finite change"),
        ({"attribute": Function(lambda z: z, "all")}, "'all' has 3"),
        ({"frames": 1}, "frames of 2 or more"),
        ({"start": torch.zeros(2)}, r"finite codes \(n, 3\)"),
        ({"keep": [SKEW], "within": -1.0}, "positive tolerance"),
    ],
)
def test_bad_input_gets_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {"start": torch.zeros(3), "attribute": FIRST, "by": 1.0} | change
    with pytest.raises(UserError, match=sentence):
        traverse(NORMAL, **arguments)


def test_a_learned_number_changes_codes_as_it_does_among_real_ones() -> None:
    # y is the first coordinate and noise, and the second coordinate grows with the first.
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    z = torch.randn(4_000, 3, generator=generator) @ mix
    y = 10 * z[:, 0] + torch.randn(4_000, generator=generator)
    probe = ValueProbe.fit(z, y, "y", steps=400, generator=generator)
    expected = torch.tensor([10.0, 20.0, 0.0]) / 101  # cov(z, y) / var(y)
    torch.testing.assert_close(probe.pattern, expected, atol=0.02, rtol=0)
    path = traverse(NORMAL, torch.zeros(3), probe, by=8.0, frames=5, threshold=-40.0)
    assert path.info.converged.all()
    moved = path.points[-1, 0]
    assert torch.cosine_similarity(moved, expected, dim=0) > 0.99
    assert moved[0] == pytest.approx(0.8, abs=0.1)
    steepest = Function(lambda codes: probe.values(codes)[:, 0])
    alone = traverse(NORMAL, torch.zeros(3), steepest, by=8.0, frames=5, threshold=-40.0)
    assert alone.points[-1, 0, 1] < 0.5 * moved[1]  # it leaves the second coordinate


def test_a_pattern_along_which_a_number_does_not_grow_is_left() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(500, 3, generator=generator)
    probe = ValueProbe.fit(z, 5 * z[:, 0], steps=200, generator=generator)
    astray = replace(probe, pattern=torch.tensor([0.0, 0.0, 1.0]))
    path = traverse(NORMAL, torch.zeros(3), astray, by=2.0, frames=3, threshold=-40.0)
    assert path.info.converged.all()
    assert path.points[-1, 0, 0] > 0.3


def test_once_every_path_has_stopped_nothing_more_is_asked() -> None:
    def bounded(z: torch.Tensor) -> torch.Tensor:
        assert len(z) > 0
        return z[:, 0].tanh()

    start = torch.zeros(1, 2)
    path = traverse(StandardNormal(2), start, Function(bounded, "bounded"), to=2.0, threshold=-9.0)
    assert not path.info.converged.any()
