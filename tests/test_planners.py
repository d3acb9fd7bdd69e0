"""Planners made of others: routes over real codes that are shortened, and the best of several for each journey."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.toys import GaussianMixture, arc, ring, two_clusters
from latent_atlas.travel import PLANNERS, plan, understood
from latent_atlas.travel.path import resample
from latent_atlas.travel.planners.geodesic import Geodesic, action
from latent_atlas.travel.planners.knn_graph import Graph

RING = ring(2)
FLOOR = -4.0


def codes(generator: torch.Generator) -> Tensor:
    return RING.sample(400, generator=generator)


def opposite(generator: torch.Generator, count: int = 12) -> tuple[Tensor, Tensor]:
    """Ends on opposite sides of the ring, where the straight line crosses all of the void."""
    start = RING.sample(count, generator=generator)
    return start, -start + 0.1 * torch.randn(count, 2, generator=generator)


def test_a_refined_route_is_never_dearer_than_the_route(generator: torch.Generator) -> None:
    start, end = opposite(generator)
    settings = {"codes": codes(generator), "threshold": FLOOR, "frames": 33}
    route = plan(RING, start, end, "graph", refine=False, **settings)
    refined = plan(RING, start, end, "graph", nodes=33, **settings)
    raw, short = (
        action(path.points, RING, FLOOR, Geodesic().strength) for path in (route, refined)
    )
    assert (short <= raw * (1 + 1e-5)).all()
    assert "converged" not in route.metrics
    assert route.info["codes"] == refined.info["codes"] == 400
    assert (refined.metrics["length_ratio"] < route.metrics["length_ratio"]).all()


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
    settings = {"threshold": -4.0, "widths": (0.0,), "strength": 3.0}
    local = plan(world, start, end, "geodesic", **settings)
    over_codes = plan(world, start, end, "graph", codes=known, **settings)
    assert local.metrics["outside"].item() > 0.5
    assert over_codes.metrics["outside"].item() == 0
    best = plan(world, start, end, "auto", codes=known, **settings)
    assert best.metrics["by_graph"].item() == 1
    torch.testing.assert_close(best.points, over_codes.points)


def test_auto_is_as_good_as_the_best_of_its_candidates(generator: torch.Generator) -> None:
    start, end = opposite(generator)
    options = {"codes": codes(generator), "widths": (0.0,), "strength": 3.0}
    best = plan(RING, start, end, "auto", threshold=FLOOR, **options)
    names = ("linear", "geodesic", "graph")
    others = [
        plan(RING, start, end, name, threshold=FLOOR, **understood(name, options)) for name in names
    ]
    actions = [action(resample(path.points, 129), RING, FLOOR, 3.0) for path in (best, *others)]
    assert (actions[0] <= 1.01 * torch.stack(actions[1:]).min(dim=0).values).all()
    by = torch.stack([best.metrics[f"by_{name}"] for name in names])
    assert torch.equal(by.sum(dim=0), torch.ones(12))
    for taken, path in zip(by, others, strict=True):
        torch.testing.assert_close(best.points[:, taken == 1], path.points[:, taken == 1])


def test_auto_goes_straight_where_nothing_is_gained_by_not_doing_so() -> None:
    start, end = torch.tensor([[-2.2, 0.0]]), torch.tensor([[-1.8, 0.1]])
    path = plan(two_clusters(2, 4.0), start, end, "auto", threshold=-6.0)
    assert path.metrics["by_linear"].item() == 1
    assert "by_graph" not in path.metrics  # there were no codes
    torch.testing.assert_close(path.points, plan(two_clusters(2, 4.0), start, end, "linear").points)


def test_auto_is_planned_as_finely_whatever_the_frames(generator: torch.Generator) -> None:
    start, end = arc().sample(6, generator=generator).chunk(2)
    fine, coarse = (
        plan(arc(), start, end, "auto", threshold=-3.0, frames=frames) for frames in (17, 3)
    )
    torch.testing.assert_close(coarse.points[1], resample(fine.points, 3)[1])
    assert torch.equal(coarse.metrics["by_linear"], fine.metrics["by_linear"])


def test_without_a_floor_the_codes_say_where_the_population_ends(
    generator: torch.Generator,
) -> None:
    class Bare(Density):
        dimension = 2

        def log_prob(self, latents: Tensor) -> Tensor:
            return RING.log_prob(latents)

    start, end, known = *opposite(generator), codes(generator)
    threshold = torch.quantile(RING.log_prob(known), 0.2).item()
    for planner in ("graph", "auto"):
        bare = plan(Bare(), start, end, planner, codes=known)
        told = plan(Bare(), start, end, planner, codes=known, threshold=threshold)
        torch.testing.assert_close(bare.points, told.points)
        others = known + torch.tensor([0.0, 0.5])
        floor_of_others = torch.quantile(RING.log_prob(others), 0.2).item()
        bare = plan(Bare(), start, end, planner, codes=known, population=others)
        told = plan(Bare(), start, end, planner, codes=known, threshold=floor_of_others)
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
        "graph",
        codes=grid,
        refine=False,
        threshold=-1.0,
    )
    assert path.metrics["outside"].item() == 0


@pytest.mark.parametrize("planner", PLANNERS)
def test_a_planner_s_options_are_told_apart(planner: str) -> None:
    every = {
        "alpha": 1.0,
        "strength": 2.0,
        "codes": None,
        "population": None,
        "decode": None,
        "neighbours": 3,
    }
    expected = {
        "linear": set(),
        "slerp": set(),
        "walk": {"alpha"},
        "geodesic": {"population", "strength"},
        "string": set(),
        "graph": {"codes", "population", "strength", "neighbours"},
        "pullback": {"decode"},
        "auto": {"codes", "population", "strength", "neighbours"},
    }
    assert set(understood(planner, every)) == expected[planner]
    assert understood("teleport", every) == {}
    assert PLANNERS["graph"].options["neighbours"] == Graph().neighbours


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
    by_draws, by_means = (
        plan(world, start, end, generator=generator, **given).metrics["length_ratio"].item()
        for given in ({}, {"population": means})
    )
    assert by_draws < 1.1
    assert by_means > 1.3
