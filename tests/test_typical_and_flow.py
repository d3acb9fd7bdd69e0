"""Typical paths keep to places where real codes are; flows keep to their distribution."""

import pytest
import torch
from scipy.stats import kstest

from latent_atlas.density import GaussianMixture
from latent_atlas.density.base import Density, SamplableDensity, StandardNormal
from latent_atlas.density.toys import ring, two_clusters, two_moons
from latent_atlas.errors import UserError
from latent_atlas.travel import Flow, Geodesic, Typical, plan
from latent_atlas.travel.planners.base import Resources
from latent_atlas.travel.planners.flow import turn_of_normals
from latent_atlas.travel.planners.typical import denoised, paced, turn


class Blurred(StandardNormal):
    """N(0, I), which with noise of standard deviation w is N(0, (1 + w²) I)."""

    noise_levels = True

    def __init__(self, dimension: int, width: float = 0.0) -> None:
        super().__init__(dimension)
        self.variance = 1 + width**2

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        return -0.5 * latents.square().sum(dim=1) / self.variance

    def score(self, latents: torch.Tensor) -> torch.Tensor:
        return -latents / self.variance

    def noised(self, width: float) -> Density:
        return Blurred(self.dimension, width)


def test_a_turn_goes_evenly_from_one_squared_distance_to_the_other(
    generator: torch.Generator,
) -> None:
    a, b = torch.randn(2, 5, 4, generator=generator)
    centre = torch.tensor([1.0, 0.0, -1.0, 0.5])
    squares = (turn(a, b, 9, centre) - centre).square().sum(dim=2)
    torch.testing.assert_close(squares.diff(dim=0), ((squares[-1] - squares[0]) / 8).expand(8, 5))


def test_a_turn_between_opposite_codes_has_finite_frames() -> None:
    a = torch.tensor([[1.0, 2.0, -1.0]])
    assert plan(StandardNormal(3), a, -a, "typical", frames=5).points.isfinite().all()


def test_denoising_gives_the_mean_of_the_codes_that_a_frame_may_come_from(
    generator: torch.Generator,
) -> None:
    """For N(0, I) it is z / (1 + w²); what it takes from an end fades up to the middle."""
    points, width = torch.randn(9, 3, 2, generator=generator), 0.5
    found = denoised(points, Blurred(2, width), width)
    torch.testing.assert_close(found[4], points[4] / (1 + width**2))
    torch.testing.assert_close(found[[0, -1]], points[[0, -1]])
    torch.testing.assert_close(
        found[2] - points[2] / (1 + width**2), points[0] * (1 - 1 / 1.25) / 2
    )


def test_no_step_of_a_paced_path_is_longer_than_the_pace_allows() -> None:
    """All but one piece of it are short."""
    points = torch.cat([torch.linspace(0, 1, 9), torch.tensor([9.0])])[:, None, None]
    steps = paced(points, 17, 1.2).diff(dim=0).norm(dim=2)
    assert steps.max() <= 1.2 * steps.mean() * 1.001
    torch.testing.assert_close(steps.sum(), torch.tensor(9.0))


@pytest.mark.parametrize("world", [two_moons(2), ring(8), two_clusters(2, 4.0)])
def test_a_typical_path_is_nowhere_far_below_the_geodesic(
    world: SamplableDensity, generator: torch.Generator
) -> None:
    a, b = world.sample(12, generator=generator).chunk(2)
    typical, geodesic = (
        plan(world, a, b, how, frames=129, generator=generator, threshold=-9.0)
        for how in (Typical(), Geodesic())
    )
    assert torch.equal(typical.points[0], a)
    assert torch.equal(typical.points[-1], b)
    # By a tenth of a nat at most, unless both are above the threshold of the cost.
    tau = world.threshold(0.2, generator=generator)
    assert tau is not None
    lost = geodesic.metrics.lowest_log_prob.clamp_max(tau) - typical.metrics.lowest_log_prob
    assert lost.max() < 0.15


def test_near_codes_are_hardly_denoised(generator: torch.Generator) -> None:
    """A path between neighbours is no detour, though denoising would move its frames far."""
    a = torch.randn(20, 16, generator=generator)
    near = plan(
        Blurred(16), a, a + 0.1 * torch.randn(20, 16, generator=generator), Typical(), threshold=-60
    )
    assert near.metrics.length_ratio.max() < 1.01


def test_bending_raises_the_least_likely_place() -> None:
    """Turned round another centre than the ring's, a path leaves the ring. The geodesic is straight here."""
    around = ring(2)
    world = GaussianMixture(around.weights, around.means + 0.6, around.scales)
    a, b = around.means[:1] + 0.6, around.means[len(around.means) // 3][None] + 0.6
    lowest = [
        plan(world, a, b, Typical(bend=bend, width=0.0, strength=0.0)).metrics.lowest_log_prob
        for bend in (0.0, 5.0)
    ]
    assert lowest[1] > lowest[0] + 0.5


def test_each_path_says_which_planner_it_is_from(generator: torch.Generator) -> None:
    a, b = torch.randn(2, 3, 8, generator=generator)
    assert plan(StandardNormal(8), a, b, "typical").info.chosen == ("typical",) * 3


def test_a_typical_path_is_as_far_from_the_mean_as_real_codes_are(
    generator: torch.Generator,
) -> None:
    a, b = torch.randn(2, 50, 32, generator=generator)
    middle = {
        how.name: plan(Blurred(32), a, b, how, threshold=-60.0).points[8].norm(dim=1).mean()
        for how in (Typical(width=0.0), Geodesic())
    }
    real = a.norm(dim=1).mean()
    assert abs(middle["typical"] / real - 1) < 0.06
    assert middle["geodesic"] / real < 0.8


def test_a_typical_path_takes_the_threshold_of_held_out_codes(generator: torch.Generator) -> None:
    known = Resources(held_out=torch.randn(100, 2, generator=generator))
    assert Typical().completed(StandardNormal(2), known).threshold is not None


@pytest.mark.parametrize(
    "settings", [{"bend": -1.0}, {"width": -0.1}, {"pace": 1.0}, {"strength": -1.0}]
)
def test_settings_without_a_path_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match="choose"):
        Typical(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("world", [two_moons(2), ring(8)])
def test_frames_of_the_flow_between_independent_codes_are_samples(
    world: SamplableDensity, generator: torch.Generator
) -> None:
    """Kolmogorov-Smirnov, by log q and by each of two coordinates, in the middle of the path."""
    a, b, more = world.sample(1_200, generator=generator).chunk(3)
    path = plan(world, a, b, Flow(steps=16), frames=5, threshold=-9.0)
    assert torch.equal(path.points[-1], b)
    for value in (world.log_prob, lambda z: z[:, 0], lambda z: z[:, 1]):
        assert kstest(value(path.points[2]).numpy(), value(more).numpy()).pvalue > 0.005


def test_turns_of_normal_codes_are_normal(generator: torch.Generator) -> None:
    a, b = torch.randn(2, 4_000, 3, generator=generator)
    for frame in turn_of_normals(a, b, 5):
        assert kstest(frame.square().sum(dim=1).numpy(), "chi2", (3,)).pvalue > 0.01


def test_a_flow_needs_noise_levels_and_steps() -> None:
    with pytest.raises(UserError, match="a map with levels"):
        plan(StandardNormal(2), torch.zeros(2), torch.ones(2), "flow")
    with pytest.raises(UserError, match="choose 1 or more"):
        Flow(steps=0)
