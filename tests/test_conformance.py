"""Laws that every density, boundary, planner and sampler keeps, whoever made it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from latent_atlas.boundary import fit_boundary
from latent_atlas.config import BOUNDARIES, MapConfig
from latent_atlas.density.base import Density, DensityRatioModel, ExactRatio, StandardNormal
from latent_atlas.density.toys import GaussianMixture, arc
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.travel import PLANNERS, Planner, plan


class ByAutograd(Density):
    """A density that gives no score of its own."""

    dimension = 3

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        return -latents.square().square().sum(dim=1)


def mixture() -> GaussianMixture:
    means = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])
    return GaussianMixture(torch.tensor([0.2, 0.8]), means, torch.tensor([0.5, 1.5]))


@cache
def learned() -> LatentMap:
    codes = mixture().sample(200, generator=torch.Generator().manual_seed(0))
    config = MapConfig(width=8, depth=1, steps=20, check_every=10)
    return LatentMap.fit(codes, config=config, generator=torch.Generator().manual_seed(1))


DENSITIES: dict[str, Callable[[], Density]] = {
    "StandardNormal": lambda: StandardNormal(3),
    "GaussianMixture": mixture,
    "ExactRatio": lambda: ExactRatio(mixture(), StandardNormal(3)),
    "LatentMap": learned,
    "ByAutograd": ByAutograd,
}
each_density = pytest.mark.parametrize("density", DENSITIES, indirect=True)
each_ratio = pytest.mark.parametrize("density", ["ExactRatio", "LatentMap"], indirect=True)


@pytest.fixture
def density(request: pytest.FixtureRequest) -> Density:
    """The density of a name."""
    return DENSITIES[request.param]()


@each_density
def test_score_is_the_gradient_of_log_prob(density: Density, generator: torch.Generator) -> None:
    z, step = torch.randn(6, 3, generator=generator), 1e-2
    slopes = [
        (density.log_prob(z + step * a) - density.log_prob(z - step * a)) / (2 * step)
        for a in torch.eye(3)
    ]
    torch.testing.assert_close(density.score(z), torch.stack(slopes, dim=1), rtol=0.01, atol=0.01)
    both = density.log_prob_and_score(z)
    torch.testing.assert_close(both, (density.log_prob(z), density.score(z)))
    assert not any(part.requires_grad for part in both)


@each_density
def test_score_is_the_same_inside_no_grad_and_inference_mode(
    density: Density, generator: torch.Generator
) -> None:
    z = torch.randn(4, 3, generator=generator)
    expected = density.score(z)
    with torch.no_grad():
        torch.testing.assert_close(density.score(z), expected)
    with torch.inference_mode():
        torch.testing.assert_close(density.score(z + 0), expected)


@each_density
def test_a_code_s_answer_does_not_depend_on_its_neighbours(
    density: Density, generator: torch.Generator
) -> None:
    z = torch.randn(5, 3, generator=generator)
    torch.testing.assert_close(density.log_prob(z)[2:3], density.log_prob(z[2:3]))
    torch.testing.assert_close(density.score(z)[2:3], density.score(z[2:3]))


@each_ratio
def test_quantities_of_a_density_ratio_follow_their_formulas(
    density: Density, generator: torch.Generator
) -> None:
    assert isinstance(density, DensityRatioModel)
    ratio = density
    z = torch.randn(8, 3, generator=generator)
    prior = StandardNormal(3)
    logit = ratio.log_prob(z) - prior.log_prob(z)
    torch.testing.assert_close(ratio.logit(z), logit)
    calibrated = ratio.calibrated_logit(z)
    scale = (
        (calibrated[1:] - calibrated[0]) / (logit[1:] - logit[0])
    ).mean()  # 1 unless measured to be another
    torch.testing.assert_close(
        calibrated - calibrated[0], scale * (logit - logit[0]), atol=1e-4, rtol=1e-3
    )
    real = torch.sigmoid(calibrated)
    torch.testing.assert_close(ratio.realness(z), real)
    torch.testing.assert_close(ratio.energy(z), -ratio.log_prob(z))
    entropy = -(real * real.log2() + (1 - real) * (1 - real).log2())
    torch.testing.assert_close(ratio.confusion(z), entropy)
    slope = scale * (ratio.score(z) - prior.score(z))
    torch.testing.assert_close(ratio.log_realness_gradient(z), (1 - real)[:, None] * slope)
    torch.testing.assert_close(ratio.realness_gradient(z), (real * (1 - real))[:, None] * slope)


@pytest.mark.parametrize("name", BOUNDARIES)
def test_a_boundary_samples_its_own_density(name: str, generator: torch.Generator) -> None:
    boundary = fit_boundary(name, arc().sample(500, generator=generator), generator=generator)
    draws = boundary.sample(20_000, generator=generator)
    assert draws.shape == (20_000, 2)
    assert torch.equal(
        boundary.sample(3, generator=_seeded()), boundary.sample(3, generator=_seeded())
    )
    if boundary.has_log_prob:
        axis = torch.linspace(-7, 7, 281)
        grid = torch.cartesian_prod(axis, axis)
        weights = boundary.log_prob(grid).exp() * 0.05**2
        assert weights.sum().item() == pytest.approx(1, abs=0.02)  # an edge may cut through cells
        second = (weights[:, None] * grid.square()).sum(dim=0) / weights.sum()
        torch.testing.assert_close(draws.square().mean(dim=0), second, atol=0.05, rtol=0.03)


SETTINGS: dict[str, dict[str, Any]] = {
    "walk": {"arrive": True, "alpha": 0.01, "steps": 60},
    "string": {"iterations": 40},
    "graph": {"codes": mixture().sample(60, generator=torch.Generator().manual_seed(2))},
    "pullback": {"decode": lambda z: 3 * z},
    "auto": {"codes": mixture().sample(60, generator=torch.Generator().manual_seed(2))},
}


def planner_of(name: str, settings: dict[str, dict[str, Any]]) -> Planner:
    """The planner of that name with its settings."""
    return PLANNERS[name](**settings.get(name, {}))


def skip_flow_without_levels(planner: str, density: Density) -> None:
    """A flow goes through noise levels, and says so where there are none (test_typical_and_flow)."""
    if planner == "flow" and not density.noise_levels:
        pytest.skip("without noise levels there is no flow")


each_planner = pytest.mark.parametrize("planner", PLANNERS)


@each_density
@each_planner
def test_a_journey_has_its_ends_and_its_frames(
    density: Density, planner: str, generator: torch.Generator
) -> None:
    skip_flow_without_levels(planner, density)
    start, end = mixture().sample(4, generator=generator).chunk(2)
    path = plan(density, start, end, planner_of(planner, SETTINGS), frames=6, generator=generator)
    assert path.points.shape == (6, 2, 3)
    assert path.points.dtype == start.dtype
    assert not path.points.requires_grad
    assert path.points.isfinite().all()
    assert torch.equal(path.points[0], start)
    torch.testing.assert_close(path.points[-1], end, atol=1e-6 if planner == "walk" else 0, rtol=0)
    assert all(values.shape == (2,) for values in path.metrics.as_dict().values())


@each_density
@each_planner
def test_a_journey_is_the_same_whoever_asks(
    density: Density, planner: str, generator: torch.Generator
) -> None:
    skip_flow_without_levels(planner, density)
    start, end = mixture().sample(4, generator=generator).chunk(2)

    def points() -> torch.Tensor:
        how = planner_of(planner, SETTINGS)
        return plan(density, start, end, how, frames=6, generator=_seeded()).points

    expected = points()
    with torch.no_grad():
        assert torch.equal(points(), expected)
    with torch.inference_mode():
        assert torch.equal(points(), expected)


@each_planner
def test_a_journey_does_not_depend_on_the_others_in_its_batch(
    planner: str, generator: torch.Generator
) -> None:
    codes = arc().sample(200, generator=generator)
    start, end = codes[:8].chunk(2)
    settings: dict[str, dict[str, Any]] = {
        "walk": {"tolerance": 0.0, "steps": 50},
        "pullback": {"decode": lambda z: 3 * z},
    }
    settings |= {"graph": {"codes": codes[8:]}, "auto": {"codes": codes[8:]}}
    settings |= {
        name: {"threshold": 0.0, **settings.get(name, {})} for name in ("geodesic", "graph", "auto")
    }
    how = planner_of(planner, settings)
    together = plan(arc(), start, end, how, threshold=0.0)
    alone = plan(arc(), start[1], end[1], how, threshold=0.0)
    torch.testing.assert_close(together.points[:, 1:2], alone.points, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.metrics.length_ratio[1:2], alone.metrics.length_ratio)


@each_planner
def test_a_journey_turns_with_the_world(planner: str, generator: torch.Generator) -> None:
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    world = arc()
    turned = GaussianMixture(world.weights, world.means @ turn, world.scales)
    start, end = torch.tensor([1.6, 0.8]), torch.tensor([-0.3, 2.2])
    codes = world.sample(200, generator=generator)
    before = {
        "pullback": {"decode": lambda z: 3 * z},
        "geodesic": {"threshold": 0.0},
        "graph": {"codes": codes, "threshold": 0.0},
        "auto": {"codes": codes, "threshold": 0.0},
    }
    after = before | {name: {"codes": codes @ turn, "threshold": 0.0} for name in ("graph", "auto")}
    path = plan(world, start, end, planner_of(planner, before)).points
    again = plan(turned, start @ turn, end @ turn, planner_of(planner, after)).points
    torch.testing.assert_close(again, path @ turn, atol=1e-3, rtol=1e-3)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(4)
