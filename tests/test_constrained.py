"""Keeping attributes: projections in closed form, the restricted density, and bounds that hold at every frame."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.attributes.base import Attribute, Direction, Function
from latent_atlas.attributes.constraint import Constraint, nearest, retract, tangent
from latent_atlas.attributes.penalised_density import (
    PenalisedDensity,
    PenalisedRatio,
    penalise,
)
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.density.base import Density, ExactRatio, StandardNormal
from latent_atlas.density.toys import GaussianMixture, arc, two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel import Geodesic, Linear, Planner, Slerp, StringMethod, Walk
from latent_atlas.travel.constrained import preserve

RADIUS = Function(lambda z: z.norm(dim=1), "radius")
FIRST, SECOND = (
    Direction(torch.tensor([1.0, 0.0, 0.0]), "first"),
    Direction(torch.tensor([0.0, 1.0, 0.0]), "second"),
)


def test_the_tangent_projection_is_idempotent_symmetric_and_orthogonal(
    generator: torch.Generator,
) -> None:
    slopes, vectors = (
        torch.randn(7, 2, 5, generator=generator),
        torch.randn(7, 5, generator=generator),
    )
    once = tangent(slopes, vectors)
    torch.testing.assert_close(tangent(slopes, once), once, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        (slopes @ once[..., None])[..., 0], torch.zeros(7, 2), atol=1e-5, rtol=0
    )
    others = torch.randn(7, 5, generator=generator)
    torch.testing.assert_close((tangent(slopes, others) * vectors).sum(1), (others * once).sum(1))


def test_the_tangent_projection_survives_gradients_that_repeat_or_vanish() -> None:
    slopes = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(
        tangent(slopes, torch.ones(2, 2)), torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    )


def test_retraction_of_a_linear_attribute_is_the_closest_point(generator: torch.Generator) -> None:
    u = torch.randn(4, generator=generator)
    u = u / u.norm()
    z = 3 * torch.randn(20, 4, generator=generator)
    constraint = Constraint((Direction(u),), torch.tensor([[-0.5]]), torch.tensor([[0.5]]))
    found = retract(constraint, z)
    closest = z + ((z @ u).clamp(-0.5, 0.5) - z @ u)[:, None] * u
    assert found.inside.all()
    assert constraint.contains(found.points).all()
    torch.testing.assert_close(found.points, closest, atol=1e-3, rtol=0)


def test_codes_inside_stay_where_they_are(generator: torch.Generator) -> None:
    z = 0.1 * torch.randn(5, 2, generator=generator)
    constraint = Constraint((RADIUS,), torch.tensor([[-math.inf]]), torch.tensor([[1.0]]))
    assert torch.equal(retract(constraint, z).points, z)
    assert torch.equal(nearest(constraint, z).points, z)


def test_retraction_to_a_sphere_and_a_plane_at_once(generator: torch.Generator) -> None:
    constraint = Constraint((RADIUS, FIRST), torch.tensor([[1.9, 0.9]]), torch.tensor([[2.0, 1.0]]))
    found = retract(constraint, 4 * torch.randn(50, 3, generator=generator))
    assert found.inside.all()
    norms = found.points.norm(dim=1)
    assert ((norms >= 1.9) & (norms <= 2.0)).all()
    assert ((found.points[:, 0] >= 0.9) & (found.points[:, 0] <= 1.0)).all()


def test_retraction_says_which_codes_it_could_not_bring_inside() -> None:
    shut = Constraint((RADIUS,), torch.tensor([[-2.0], [-2.0]]), torch.tensor([[-1.0], [1.0]]))
    found = retract(shut, torch.tensor([[3.0, 0.0], [3.0, 0.0]]))
    assert found.inside.tolist() == [False, True]
    assert found.points.isfinite().all()


def test_attributes_that_push_each_other_out_are_brought_in_together() -> None:
    skew = Direction(torch.tensor([-1.0, 0.1, 0.0]), "skew")  # more of `first` is less of `skew`
    constraint = Constraint((FIRST, skew), torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 2.0]]))
    found = retract(constraint, torch.zeros(1, 3))
    assert found.inside.all()


def test_nearest_finds_the_closest_point_of_a_curved_set() -> None:
    ellipse = Function(lambda z: z[:, 0].square() / 9 + z[:, 1].square(), "ellipse")
    constraint = Constraint((ellipse,), torch.tensor([[-math.inf]]), torch.tensor([[1.0]]))
    target = torch.tensor([[2.5, 2.0]])
    angles = torch.linspace(0, math.pi / 2, 100_001)
    rim = torch.stack([3 * angles.cos(), angles.sin()], dim=1)
    closest = (rim - target).norm(dim=1).min()
    found = nearest(constraint, target, rounds=20).points
    assert (found - target).norm() <= (retract(constraint, target).points - target).norm()
    torch.testing.assert_close((found - target).norm(), closest, atol=3e-3, rtol=0)


def test_nearest_searches_from_elsewhere_where_a_retraction_finds_no_way() -> None:
    bump = Function(lambda z: (-z[:, 0].square()).exp(), "bump")  # no slope to speak of at 20
    constraint = Constraint((bump,), torch.tensor([[0.5]]), torch.tensor([[math.inf]]))
    target, inside = torch.tensor([[20.0, 1.0]]), torch.tensor([[0.0, 0.0]])
    assert not nearest(constraint, target).inside
    found = nearest(constraint, target, otherwise=inside)
    assert found.inside
    torch.testing.assert_close(
        found.points, torch.tensor([[math.sqrt(math.log(2)), 1.0]]), atol=0.05, rtol=0
    )


BOX = Constraint((FIRST, RADIUS), torch.tensor([[0.5, -math.inf]]), torch.tensor([[0.7, 1.5]]))
MIXTURE = two_clusters(3, distance=2.0)


class Bare(Density):
    dimension = 3

    def log_prob(self, latents: Tensor) -> Tensor:
        return -latents.square().sum(dim=1)


@pytest.mark.parametrize("density", [Bare(), MIXTURE, ExactRatio(MIXTURE, StandardNormal(3))])
def test_the_score_of_a_restricted_density_is_the_gradient_of_its_log_prob(
    density: Density, generator: torch.Generator
) -> None:
    judged = penalise(density, BOX)
    z, step = torch.randn(20, 3, generator=generator).double(), 1e-5
    slopes = [
        (judged.log_prob(z + step * a) - judged.log_prob(z - step * a)) / (2 * step)
        for a in torch.eye(3)
    ]
    torch.testing.assert_close(judged.score(z), torch.stack(slopes, dim=1), rtol=1e-4, atol=1e-4)


def test_a_restricted_density_is_the_density_inside_and_less_outside(
    generator: torch.Generator,
) -> None:
    judged, z = penalise(MIXTURE, BOX), torch.randn(500, 3, generator=generator)
    inside = BOX.contains(z)
    assert 0 < inside.sum() < len(z)
    assert torch.equal(judged.log_prob(z)[inside], MIXTURE.log_prob(z)[inside])
    assert (judged.log_prob(z) < MIXTURE.log_prob(z))[~inside].all()


def test_a_restricted_density_passes_on_what_its_density_is() -> None:
    class WithThreshold(Bare):
        def threshold(self, share: float, *, generator: torch.Generator | None = None) -> float:
            return -share

    member = penalise(ExactRatio(MIXTURE, StandardNormal(3)), BOX)
    assert isinstance(member, PenalisedRatio)
    z = torch.zeros(1, 3)
    torch.testing.assert_close(member.logit(z), member.log_prob(z) - StandardNormal(3).log_prob(z))
    torch.testing.assert_close(member.realness(z), torch.sigmoid(member.logit(z)))
    assert not isinstance(penalise(MIXTURE, BOX), PenalisedRatio)
    assert penalise(WithThreshold(), BOX).threshold(0.25) == -0.25
    assert penalise(Bare(), BOX).threshold(0.25) is None
    assert penalise(MIXTURE, BOX).noise_levels
    wider = penalise(MIXTURE, BOX).noised(0.5)
    torch.testing.assert_close(wider.log_prob(z), penalise(MIXTURE.noised(0.5), BOX).log_prob(z))


PLANS = [Linear(), Slerp(), Walk(arrive=True, steps=60), Geodesic(nodes=9), StringMethod()]


@pytest.mark.parametrize("planner", PLANS, ids=lambda planner: planner.name)
@pytest.mark.parametrize("attribute", [RADIUS, SECOND], ids=lambda a: a.name)
def test_the_tolerance_holds_at_every_frame(
    planner: Planner, attribute: Attribute, generator: torch.Generator
) -> None:
    start, end = MIXTURE.sample(6, generator=generator).chunk(2)
    path = preserve(MIXTURE, start, end, [attribute], 0.05, planner=planner, frames=9)
    values = attribute.values(path.points.flatten(0, 1)).unflatten(0, (9, 3))
    assert (values - attribute.values(start)).abs().max() <= 0.05
    assert torch.equal(path.points[0], start)
    assert torch.equal(path.end, end)
    assert path.metrics.drift[attribute.name].max() <= 0.05
    assert path.metrics.broken.max() == 0


def test_what_is_not_kept_arrives(generator: torch.Generator) -> None:
    start, end = StandardNormal(3).sample(8, generator=generator).chunk(2)
    path = preserve(StandardNormal(3), start, end, [FIRST], 0.1, planner="linear", threshold=-50.0)
    torch.testing.assert_close(path.points[-1][:, 1:], end[:, 1:])
    torch.testing.assert_close(path.metrics.progress, torch.ones(4))
    left = ((end - start)[:, 0].abs() - 0.1).clamp_min(0)
    torch.testing.assert_close(path.metrics.end_moved, left, atol=1e-3, rtol=0)
    assert path.metrics.end_inside.tolist() == [1] * 4


def test_the_end_is_moved_into_the_population() -> None:
    # With B's second coordinate A's first one is off the arc; the nearest place that is on it is not.
    start, end = torch.tensor([[2.0, 0.2]]), torch.tensor([[0.0, 2.0]])
    keep = Direction(torch.tensor([1.0, 0.0]), "x")
    assert arc().log_prob(torch.tensor([[1.7, 2.0]])) < -3
    path = preserve(arc(), start, end, [keep], 0.3, planner="linear", threshold=-2.0)
    assert arc().log_prob(path.points[-1]) >= -2.0
    assert path.metrics.off_manifold.item() == 0
    assert path.points[-1, 0, 1] > 0.5  # it did go up


def test_several_attributes_with_a_tolerance_each(generator: torch.Generator) -> None:
    start, end = StandardNormal(3).sample(4, generator=generator).chunk(2)
    path = preserve(
        StandardNormal(3),
        start,
        end,
        [FIRST, RADIUS],
        [0.01, 0.2],
        planner="linear",
        threshold=-50.0,
    )
    assert path.metrics.drift["first"].max() <= 0.01
    assert 0.01 < path.metrics.drift["radius"].max() <= 0.2


@pytest.fixture(scope="module")
def classes() -> ClassProbe:
    """Four classes, one in each quadrant of the plane."""
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(2_000, 2, generator=generator)
    labels = (z[:, 0] > 0) + 2 * (z[:, 1] > 0)
    return ClassProbe.fit(z, labels, noise=0.1, steps=300, generator=generator)


def test_a_class_is_kept_and_the_rest_moves(classes: ClassProbe) -> None:
    start = torch.tensor([[-2.0, -2.0], [2.0, 2.0], [-3.0, -2.5]])
    end = torch.tensor([[2.0, -3.0], [-3.0, 1.0], [-3.0, 2.0]])
    wide = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([2.0]))
    path = preserve(wide, start, end, [classes], planner="linear", threshold=-20.0)
    frames = path.points[1:].flatten(0, 1)
    kept = classes.classify(start).repeat(16)
    assert torch.equal(classes.classify(frames), kept)
    odds = classes.values(frames).gather(1, kept[:, None])[:, 0]
    enough = classes.typical[kept[:3]].clamp_min(math.log(19))
    least = torch.minimum(classes.values(start).amax(dim=1) - 0.1, enough)
    assert (odds >= least.repeat(16)).all()
    assert ((path.points[-1] - start).norm(dim=1) > 0.5).all()
    assert (
        classes.values(end).gather(1, kept[:3, None]) < 0
    ).all()  # none of the ends is of the class kept


def test_a_start_between_two_classes_stays_between_them(classes: ClassProbe) -> None:
    start, end = torch.tensor([[-0.1, -2.0]]), torch.tensor([[-2.0, -2.5]])
    wide = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([2.0]))
    path = preserve(wide, start, end, [classes], planner="linear", threshold=-20.0)
    values = classes.values(path.points[:, 0])[:, :2]
    assert ((values - values[0]).abs() < 0.25).all()


def test_what_can_hardly_be_kept_is_said_with_the_path() -> None:
    class Doubtful(Direction):
        warnings = ("hardly",)

    ends = torch.zeros(3), torch.ones(3)
    path = preserve(MIXTURE, *ends, [Doubtful([1.0, 0.0, 0.0])], planner="linear", threshold=-50.0)
    assert path.warnings[0] == "hardly"


def test_ends_without_what_is_kept_are_said(classes: ClassProbe) -> None:
    start, end = torch.tensor([[2.0, -1.0], [2.0, 1.5]]), torch.tensor([[-2.0, -1.0], [2.5, 1.0]])
    before, after = (classes.classify(some) for some in (start, end))
    assert (before != after).tolist() == [True, False]
    wide = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([2.0]))
    how = {"planner": "linear", "threshold": -20.0}
    said = preserve(wide, start, end, [classes], **how).warnings
    assert any(one.startswith("1 of 2 paths cannot arrive: the end differs") for one in said)
    (said,) = preserve(wide, start[:1], end[:1], [classes], **how).warnings
    names = [classes.names[int(one)] for one in (after[0], before[0])]
    assert f"in 'class' ({names[0]}, not {names[1]}), which is kept" in said
    assert preserve(wide, start[1], end[1], [classes], **how).warnings == ()


def test_a_journey_that_cannot_move_stays(generator: torch.Generator) -> None:
    start, end = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[2.0, 0.0, 0.0]])
    path = preserve(StandardNormal(3), start, end, [FIRST], 1e-6, planner="linear", threshold=-50.0)
    torch.testing.assert_close(path.points, start.expand(17, 1, 3), atol=1e-5, rtol=0)


def test_a_journey_does_not_depend_on_the_others_in_its_batch(generator: torch.Generator) -> None:
    start, end = MIXTURE.sample(6, generator=generator).chunk(2)
    together = preserve(MIXTURE, start, end, [RADIUS], planner="linear", threshold=-5.0).points
    alone = preserve(MIXTURE, start[1], end[1], [RADIUS], planner="linear", threshold=-5.0).points
    torch.testing.assert_close(together[:, 1:2], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"attributes": []}, "0 attributes"),
        ({"within": 0.0}, "positive tolerance"),
        ({"within": [0.1, 0.2]}, "1 attributes and the tolerances"),
        ({"penalty": 0.0}, "strength of a restriction is 0"),
        ({"end": torch.zeros(2)}, "shape"),
        ({"planner": "teleport"}, "no planner"),
    ],
)
def test_bad_input_gets_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {
        "start": torch.zeros(3),
        "end": torch.ones(3),
        "attributes": [FIRST],
        "planner": "linear",
    } | change
    with pytest.raises(UserError, match=sentence):
        preserve(MIXTURE, **arguments)


def test_a_density_is_restricted_to_one_set() -> None:
    with pytest.raises(UserError, match="this constraint has 2"):
        PenalisedDensity(MIXTURE, Constraint((FIRST,), torch.zeros(2, 1), torch.ones(2, 1)))
