"""Geodesics: the cost by hand, spaces whose geodesics are known, coarse to fine, and what is said of the rest."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.density.toys import GaussianMixture, Shell, arc, ring
from latent_atlas.errors import UserError
from latent_atlas.travel import Geodesic, PlannerInfo, plan
from latent_atlas.travel.planners.geodesic import action, cost
from latent_atlas.travel.polyline import arc_lengths, resample


class Uniform(Density):
    """The same log-density everywhere."""

    dimension = 2

    def log_prob(self, latents: Tensor) -> Tensor:
        return 0 * latents.sum(dim=1)


class HalfPlane(Density):
    """cost(z) = 1 / y at a floor of 0 and strength 1, for 0 < y < 1: the hyperbolic plane."""

    dimension = 2

    def log_prob(self, latents: Tensor) -> Tensor:
        return -(1 / latents[:, 1] - 1).expm1().log()


def shortened(
    density: Density,
    initial: Tensor,
    how: Geodesic,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, PlannerInfo]:
    """The geodesics that initial paths (steps, n, d) are shortened to."""
    return how.plan(
        density, initial[0], initial[-1], frames=17, generator=generator, initial=initial
    )


def energies(info: PlannerInfo) -> Tensor:
    """Of the paths at the end, (n,)."""
    assert info.history is not None
    return info.history[-1]


def ends(*pair: tuple[float, ...]) -> Tensor:
    return torch.tensor(pair)[:, None]


def hairpin() -> GaussianMixture:
    """Three sides of a rectangle, from (-3, 0) up, across at y = 4 and down to (3, 0)."""
    share = torch.linspace(0, 1, 14)
    left, right = (torch.stack([torch.full_like(share, x), 4 * share], dim=1) for x in (-3.0, 3.0))
    means = torch.cat(
        [left, torch.stack([6 * share - 3, torch.full_like(share, 4.0)], dim=1), right]
    )
    return GaussianMixture(torch.full((42,), 1 / 42), means, torch.full((42,), 0.3))


def test_cost_is_1_inside_and_grows_with_each_nat_under_the_floor() -> None:
    log_probs = torch.tensor([[50.0], [2.0], [-98.0]])
    expected = torch.tensor([[1.0], [1 + 3 * math.log(2)], [1 + 3 * 100]])
    torch.testing.assert_close(cost(log_probs, 2.0, 3.0), expected)


def test_action_is_the_sum_computed_by_hand() -> None:
    points = torch.tensor([[[0.0, 0.5]], [[0.3, 0.5]], [[0.3, 0.25]]])  # costs 2, 2 and 4
    expected = 2 * ((4 + 4) / 2 * 0.3**2 + (4 + 16) / 2 * 0.25**2)
    torch.testing.assert_close(action(points, HalfPlane(), 0.0, 1.0), torch.tensor([expected]))


@pytest.mark.parametrize(("density", "strength"), [(Uniform(), 1.0), (arc(), 0.0)])
def test_where_all_places_cost_the_same_the_straight_line_is_shortest(
    density: Density, strength: float
) -> None:
    path = plan(
        density,
        torch.tensor([-1.0, 0.5]),
        torch.tensor([2.0, 1.0]),
        Geodesic(threshold=0.0, strength=strength),
    )
    torch.testing.assert_close(path.points, resample(ends((-1.0, 0.5), (2.0, 1.0)), 17))
    assert path.info.converged


def test_the_geodesic_of_the_half_plane_is_its_circle_with_the_length_known() -> None:
    points, info = shortened(
        HalfPlane(), ends((-0.3, 0.3), (0.3, 0.3)), Geodesic(tolerance=1e-3, threshold=0.0)
    )
    torch.testing.assert_close(
        points.norm(dim=2), torch.full((17, 1), 0.3 * math.sqrt(2)), atol=5e-3, rtol=0
    )
    assert energies(info).sqrt().item() == pytest.approx(2 * math.asinh(1), rel=0.01)


def test_on_a_circular_ridge_it_is_as_long_as_the_arc(generator: torch.Generator) -> None:
    shell, angle = Shell(2, radius=2.0, width=0.1), 2.0
    start, end = torch.tensor([2.0, 0.0]), 2 * torch.tensor([math.cos(angle), math.sin(angle)])
    path = plan(shell, start, end, Geodesic(strength=3.0), generator=generator)
    assert arc_lengths(path.points)[-1].item() == pytest.approx(2 * angle, rel=0.03)
    assert (path.points.norm(dim=2) - 2).abs().max() < 0.15
    assert path.metrics.off_manifold.item() == 0
    assert plan(shell, start, end, "linear", generator=generator).metrics.off_manifold.item() > 0.8


def test_more_strength_leaves_the_population_less(generator: torch.Generator) -> None:
    start, end = torch.tensor([2.0, 0.3]), torch.tensor([-2.0, 0.3])
    lowest = [
        plan(arc(), start, end, Geodesic(threshold=-4.0, strength=s)).metrics.lowest_log_prob.item()
        for s in (0.0, 0.3, 3.0)
    ]
    assert lowest[0] < lowest[1] < lowest[2]


def test_the_inside_is_flat_so_a_path_is_not_dragged_to_the_mode() -> None:
    path = plan(
        StandardNormal(2),
        torch.tensor([-0.6, 0.9]),
        torch.tensor([0.6, 0.9]),
        Geodesic(threshold=-12.0),
    )
    assert path.points[8, 0, 1] > 0.85


def test_a_floor_under_every_place_makes_the_void_free() -> None:
    start, end = torch.tensor([2.0, 0.3]), torch.tensor([-2.0, 0.3])
    straight = resample(torch.stack([start, end])[:, None], 17)
    torch.testing.assert_close(
        plan(arc(), start, end, Geodesic(threshold=-1_000.0, widths=(0.0,))).points, straight
    )
    assert plan(arc(), start, end, Geodesic(threshold=-3.0, widths=(0.0,))).points[8, 0, 1] > 1


def test_ends_are_exact_and_frames_equally_far_apart(generator: torch.Generator) -> None:
    start, end = arc().sample(12, generator=generator).chunk(2)
    path = plan(arc(), start, end, "geodesic", frames=9, generator=generator)
    assert torch.equal(path.points[0], start)
    assert torch.equal(path.points[-1], end)
    steps = path.points.diff(dim=0).norm(dim=2)
    assert (
        steps.max(dim=0).values / steps.min(dim=0).values
    ).max() < 1.1  # chords of a bent polyline
    assert path.metrics.distance_left.max() == 0


def test_coarse_to_fine_finds_the_way_round_that_a_local_gradient_does_not_see(
    generator: torch.Generator,
) -> None:
    bottom = ends((-3.0, 0.0), (3.0, 0.0))
    threshold = torch.quantile(
        hairpin().log_prob(hairpin().sample(10_000, generator=generator)), 0.2
    ).item()
    (_, local), (points, annealed) = (
        shortened(
            hairpin(), bottom, Geodesic(strength=3.0, threshold=threshold, widths=widths), generator
        )
        for widths in ((0.0,), None)
    )
    assert energies(annealed) < energies(local) / 10
    assert points[..., 1].max() > 3.5
    assert annealed.converged is not None
    assert annealed.converged.all()


def test_coarse_to_fine_is_never_longer_than_without(generator: torch.Generator) -> None:
    start, end = ring().sample(40, generator=generator).chunk(2)
    both = torch.stack([start, end])
    _, local = shortened(ring(), both, Geodesic(widths=(0.0,), threshold=-2.5))
    _, annealed = shortened(ring(), both, Geodesic(threshold=-2.5))
    assert (energies(annealed) <= 1.001 * energies(local)).all()
    assert annealed.residual is not None
    assert (annealed.residual <= Geodesic().tolerance).all()


def test_the_way_round_that_it_starts_with_is_the_one_it_keeps() -> None:
    over = torch.tensor([[[-1.5, 0.0]], [[0.0, 1.5]], [[1.5, 0.0]]])
    for side in (1, -1):
        points, _ = shortened(
            ring(), over * torch.tensor([1.0, side]), Geodesic(widths=(0.0,), threshold=-2.0)
        )
        assert (side * points[1:-1, 0, 1] > 0).all()


def test_a_density_without_coarser_versions_says_so() -> None:
    with pytest.raises(UserError, match="no noise levels"):
        plan(StandardNormal(2), torch.zeros(2), torch.ones(2), Geodesic(widths=(0.5, 0.0)))


def test_the_same_path_is_found_inside_no_grad_and_inference_mode() -> None:
    start, end = torch.tensor([2.0, 0.3]), torch.tensor([-2.0, 0.3])
    expected = plan(arc(), start, end).points
    with torch.no_grad():
        assert torch.equal(plan(arc(), start, end).points, expected)
    with torch.inference_mode():
        assert torch.equal(plan(arc(), start + 0, end + 0).points, expected)


def test_too_few_iterations_are_reported_for_each_journey() -> None:
    start, end = torch.tensor([[2.0, 0.3], [2.0, 0.1]]), torch.tensor([[-2.0, 0.3], [1.9, 0.2]])
    path = plan(arc(), start, end, Geodesic(iterations=1, strength=3.0, threshold=-3.0))
    assert path.info.converged.tolist() == [False, True]
    assert path.info.residual[0] > Geodesic().tolerance
    assert "1 of 2 paths had not converged after" in path.warnings[0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strength": -1.0}, "strength is -1.0"),
        ({"share": 1.0}, "share is 1.0"),
        ({"nodes": 2}, "nodes"),
        ({"iterations": 0}, "iterations"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"widths": ()}, "coarse to fine"),
        ({"widths": (0.0, 0.5)}, "coarse to fine"),
    ],
)
def test_bad_settings_get_one_sentence(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Geodesic(**settings)
