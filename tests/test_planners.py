"""Planners made of others: routes over real codes that are shortened, and the best of several for each journey."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latent_atlas.density.base import Density, ExactRatio, StandardNormal
from latent_atlas.density.membership import Membership
from latent_atlas.density.toys import GaussianMixture, arc, ring, two_clusters
from latent_atlas.travel import Auto, Geodesic, Graph, Linear, Planner, Walk, plan
from latent_atlas.travel.planners.base import Resources
from latent_atlas.travel.planners.geodesic import action
from latent_atlas.travel.polyline import resample

RING = ring(2)
FLOOR = -4.0


def codes(generator: torch.Generator) -> Tensor:
    return RING.sample(400, generator=generator)


def opposite(generator: torch.Generator, count: int = 12) -> tuple[Tensor, Tensor]:
    """Ends on opposite sides of the ring, where the straight line crosses all of the void."""
    start = RING.sample(count, generator=generator)
    return start, -start + 0.1 * torch.randn(count, 2, generator=generator)


def test_a_refined_route_is_never_costlier_than_the_route(generator: torch.Generator) -> None:
    start, end = opposite(generator)
    planner = Graph(codes=codes(generator), threshold=FLOOR, nodes=33)
    route = plan(RING, start, end, replace(planner, refine=False), frames=33)
    refined = plan(RING, start, end, planner, frames=33)
    raw, short = (
        action(path.points, RING, FLOOR, Geodesic().strength) for path in (route, refined)
    )
    assert (short <= raw * (1 + 1e-5)).all()
    assert route.info.converged is None
    assert route.info.graph == refined.info.graph
    assert route.info.graph is not None
    assert route.info.graph.codes == 400
    assert (refined.metrics.length_ratio < route.metrics.length_ratio).all()


def hairpin() -> GaussianMixture:
    """A narrow U upside down: from foot to foot, it is shorter to leap than to go round."""
    turn, leg = torch.linspace(0, math.pi, 25), torch.linspace(0, 3, 13)
    bend = torch.stack([3 * turn.cos(), 3 + 3 * turn.sin()], dim=1)
    legs = [torch.stack([torch.full_like(leg, side), leg], dim=1) for side in (-3.0, 3.0)]
    means = torch.cat([bend, *legs])
    return GaussianMixture(
        torch.full((len(means),), 1 / len(means)), means, torch.full((len(means),), 0.25)
    )


def test_a_route_finds_the_way_round_that_a_local_gradient_does_not_see(
    generator: torch.Generator,
) -> None:
    world, start, end = hairpin(), torch.tensor([-3.0, 0.0]), torch.tensor([3.0, 0.0])
    known = world.sample(400, generator=generator)
    settings: dict[str, Any] = {"threshold": -4.0, "widths": (0.0,), "strength": 3.0}
    local = plan(world, start, end, Geodesic(**settings), threshold=-4.0)
    over_codes = plan(world, start, end, Graph(codes=known, **settings), threshold=-4.0)
    assert local.metrics.off_manifold.item() > 0.5
    assert over_codes.metrics.off_manifold.item() == 0
    best = plan(world, start, end, Auto(codes=known, **settings), threshold=-4.0)
    assert best.info.chosen == ("graph",)
    torch.testing.assert_close(best.points, over_codes.points)


def test_auto_is_as_good_as_the_best_of_its_candidates(generator: torch.Generator) -> None:
    start, end = opposite(generator)
    settings: dict[str, Any] = {"threshold": FLOOR, "widths": (0.0,), "strength": 3.0}
    known = codes(generator)
    best = plan(RING, start, end, Auto(codes=known, **settings))
    planners = (Linear(), Geodesic(**settings), Graph(codes=known, **settings))
    others = {planner.name: plan(RING, start, end, planner) for planner in planners}
    actions = [
        action(resample(path.points, 129), RING, FLOOR, 3.0) for path in (best, *others.values())
    ]
    assert (actions[0] <= 1.01 * torch.stack(actions[1:]).min(dim=0).values).all()
    assert best.info.chosen is not None
    assert len(best.info.chosen) == 12
    for number, name in enumerate(best.info.chosen):
        torch.testing.assert_close(best.points[:, number], others[name].points[:, number])


def test_auto_prefers_frames_that_look_like_real_codes(generator: torch.Generator) -> None:
    """In 40 dimensions the middle between two normal codes is likelier than either, and no code."""
    normal = StandardNormal(40)
    known = normal.sample(500, generator=generator)
    membership = Membership.fit(normal, known, generator=generator)
    start, far = known[:20].chunk(2)
    near = torch.lerp(start, far, 0.1)
    how = Auto(membership=membership)
    path = plan(normal, start.repeat(2, 1), torch.cat([far, near]), how)
    assert path.info.chosen is not None
    assert path.info.chosen[:10].count("typical") >= 8
    assert path.info.chosen[10:] == ("linear",) * 10
    alone = plan(normal, start, far, "typical").points
    for number in (k for k, name in enumerate(path.info.chosen) if name == "typical"):
        torch.testing.assert_close(path.points[:, number], alone[:, number], atol=1e-4, rtol=0)
    inner = path.points[1:-1, :10].flatten(0, 1)
    straight = plan(normal, start, far, "linear").points[1:-1].flatten(0, 1)
    members, fewer = ((membership.p_value(z) >= 0.05).sum() for z in (inner, straight))
    assert members > fewer
    assert plan(normal, start[0], far[0], Auto()).info.chosen == ("linear",)


def test_auto_goes_straight_where_nothing_is_gained_by_not_doing_so() -> None:
    start, end = torch.tensor([[-2.2, 0.0]]), torch.tensor([[-1.8, 0.1]])
    path = plan(two_clusters(2, 4.0), start, end, Auto(threshold=-6.0))
    assert path.info.chosen == ("linear",)
    assert path.info.graph is None  # there were no codes
    torch.testing.assert_close(path.points, plan(two_clusters(2, 4.0), start, end, "linear").points)


def test_auto_is_planned_as_finely_whatever_the_frames(generator: torch.Generator) -> None:
    start, end = arc().sample(6, generator=generator).chunk(2)
    fine, coarse = (
        plan(arc(), start, end, Auto(threshold=-3.0), frames=frames) for frames in (17, 3)
    )
    torch.testing.assert_close(coarse.points[1], resample(fine.points, 3)[1])
    assert coarse.info.chosen == fine.info.chosen


def test_without_a_floor_the_codes_say_where_the_population_ends(
    generator: torch.Generator,
) -> None:
    class Bare(Density):
        dimension = 2

        def log_prob(self, latents: Tensor) -> Tensor:
            return RING.log_prob(latents)

    start, end, known = *opposite(generator), codes(generator)
    threshold = torch.quantile(RING.log_prob(known), 0.2).item()
    for kind in (Graph, Auto):
        bare = plan(Bare(), start, end, kind(codes=known))
        told = plan(Bare(), start, end, kind(codes=known, threshold=threshold))
        torch.testing.assert_close(bare.points, told.points)


def test_codes_where_the_density_is_zero_are_gone_round() -> None:
    class Wall(Density):
        dimension = 2

        def log_prob(self, latents: Tensor) -> Tensor:
            inside = latents[:, 0].abs() < 0.5
            return torch.where(inside & (latents[:, 1] < 1), -math.inf, 0.0) + 0 * latents.sum(
                dim=1
            )

    grid = torch.cartesian_prod(torch.linspace(-2, 2, 17), torch.linspace(-2, 2, 17))
    path = plan(
        Wall(),
        torch.tensor([-2.0, 0.0]),
        torch.tensor([2.0, 0.0]),
        Graph(codes=grid, refine=False, threshold=-1.0),
        threshold=-1.0,
    )
    assert path.metrics.off_manifold.item() == 0


def test_the_floor_is_that_of_the_codes_that_are_travelled_between(
    generator: torch.Generator,
) -> None:
    # Means lie in the plane of the ring; the density is of draws around them, which in 64 dimensions are all so much
    # less likely that by their measure even the middle of the ring is inside.
    world = ring(64)
    means = world.sample(500, generator=generator)
    means[:, 2:] = 0
    start, end = torch.zeros(2, 64)
    start[0], end[0] = 1.5, -1.5
    planners: tuple[Planner, Planner] = (
        Geodesic(),
        Geodesic(share=0.4).completed(world, Resources(held_out=means)),
    )
    by_draws, by_means = (
        plan(world, start, end, planner, generator=generator).metrics.length_ratio.item()
        for planner in planners
    )
    assert by_draws < 1.1
    assert by_means > 1.3


def test_a_walk_follows_another_discriminator_and_is_measured_by_the_density() -> None:
    normal, ratio = StandardNormal(2), ExactRatio(two_clusters(2, 4.0), StandardNormal(2))
    start, end = torch.tensor([-2.0, 0.5]), torch.tensor([2.0, -0.5])
    other = plan(normal, start, end, Walk(ratio=ratio))
    assert torch.equal(other.points, plan(ratio, start, end, Walk()).points)
    assert not torch.equal(other.points, plan(normal, start, end, Walk()).points)
    lowest = normal.log_prob(other.points.flatten(0, 1)).min()
    torch.testing.assert_close(other.metrics.lowest_log_prob[0], lowest)
