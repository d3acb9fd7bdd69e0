"""Climbing back into the population: up, to the target, and to the side that a blur sees."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.density.toys import GaussianMixture, Shell, StudentT, arc, two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel.ascent import project

DIMENSION = 4
DENSITIES: dict[str, Density] = {
    "StandardNormal": StandardNormal(DIMENSION),
    "GaussianMixture": two_clusters(DIMENSION, distance=4.0),
    "Shell": Shell(DIMENSION, radius=2.0, width=0.3),
    "StudentT": StudentT(DIMENSION, freedom=5.0),
}
each_density = pytest.mark.parametrize("density", DENSITIES.values(), ids=DENSITIES)


def typical(density: Density, share: float) -> float:
    draws = density.sample(4_000, generator=torch.Generator().manual_seed(9))  # pyright: ignore
    return torch.quantile(density.log_prob(draws), share).item()


@each_density
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_codes_end_at_the_target_and_those_above_it_stay(
    density: Density, share: float, generator: torch.Generator
) -> None:
    target = typical(density, share)
    lost = 4 * torch.randn(50, DIMENSION, generator=generator)
    found = density.sample(50, generator=generator)  # pyright: ignore
    climb = project(density, torch.cat([lost, found]), target)
    above = density.log_prob(torch.cat([lost, found])) >= target
    assert climb.converged.all()
    assert (climb.log_probs >= target).all()
    assert (climb.log_probs[~above] - target < 1e-3).all()
    assert torch.equal(climb.points[above], torch.cat([lost, found])[above])
    assert (climb.moved[above] == 0).all()
    torch.testing.assert_close(climb.log_probs, density.log_prob(climb.points))


@each_density
def test_log_prob_never_falls_on_the_way(density: Density, generator: torch.Generator) -> None:
    lost = 3 * torch.randn(30, DIMENSION, generator=generator)
    heights = [density.log_prob(lost)]
    for steps in range(1, 30):
        climb = project(density, lost, math.inf, steps=steps, widths=())
        assert (climb.log_probs >= heights[-1]).all()
        heights.append(climb.log_probs)
    assert (heights[-1] > heights[0] + 0.1).float().mean() > 0.9


def test_the_way_up_a_gaussian_is_the_straight_one_to_its_level() -> None:
    lost = torch.tensor([[3.0, 4.0], [0.0, -9.0]])
    climb = project(StandardNormal(2), lost, target=-math.log(2 * math.pi) - 0.5)  # |z| = 1
    torch.testing.assert_close(
        climb.points, torch.tensor([[0.6, 0.8], [0.0, -1.0]]), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(climb.moved, torch.tensor([4.0, 8.0]), atol=1e-3, rtol=0)


def test_a_target_above_the_top_ends_at_the_top_and_says_so() -> None:
    climb = project(StandardNormal(2), torch.tensor([[3.0, 4.0]]), target=0.0)
    assert not climb.converged.any()
    torch.testing.assert_close(climb.points, torch.zeros(1, 2), atol=1e-3, rtol=0)


class Islands(GaussianMixture):
    """A sharp density that is flat and nearly empty far from its centres, as a learned one may be."""

    def log_prob(self, latents: Tensor) -> Tensor:
        return torch.logaddexp(super().log_prob(latents), torch.tensor(-20.0))

    def score(self, latents: Tensor) -> Tensor:
        return Density.score(self, latents)


def islands() -> Islands:
    means = torch.tensor([[-4.0, 0.0], [4.0, 0.0]])
    return Islands(torch.tensor([0.5, 0.5]), means, torch.tensor([0.3, 0.3]))


def test_a_blur_sees_the_nearer_of_two_regions_where_a_local_gradient_sees_none() -> None:
    lost = torch.tensor([[-1.5, 2.0], [0.5, -2.0], [9.0, 3.0], [-4.0, 7.0]])
    blind = project(islands(), lost, -3.0, widths=())
    assert not blind.converged.any()
    assert (blind.moved < 0.1).all()
    seeing = project(islands(), lost, -3.0)
    assert seeing.converged.all()
    sides = islands().means[[0, 1, 1, 0]]
    torch.testing.assert_close(seeing.points, sides, atol=1.0, rtol=0)
    nearest = (lost - sides).norm(dim=1)
    assert (seeing.moved < nearest).all()


def test_a_code_close_by_climbs_to_the_region_next_to_it_and_no_further() -> None:
    world = GaussianMixture(
        torch.tensor([0.05, 0.95]), torch.tensor([[0.0, 0.0], [6.0, 0.0]]), torch.tensor([0.3, 0.3])
    )
    climb = project(world, torch.tensor([[0.0, 1.5]]), -5.0)
    assert climb.converged.all()
    assert climb.points[0, 0].abs() < 0.1
    assert climb.points[0, 1] > 0.3


def test_a_code_does_not_depend_on_the_others(generator: torch.Generator) -> None:
    lost = 4 * torch.randn(6, 2, generator=generator)
    target = torch.linspace(-4, -2, 6)
    together, alone = project(arc(), lost, target), project(arc(), lost[3:4], target[3:4])
    torch.testing.assert_close(together.points[3:4], alone.points)
    assert together.steps[3] == alone.steps[0]


def test_it_climbs_whoever_calls_it() -> None:
    lost = torch.tensor([[9.0, 9.0]])
    with torch.inference_mode():
        assert project(islands(), lost, -3.0).converged.all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"latents": torch.zeros(1, 3)}, "2 coordinates; these have 3"),
        ({"latents": torch.full((1, 2), math.nan)}, "not finite"),
        ({"widths": (0.5, 1.0)}, "from coarse to fine"),
        ({"widths": (0.5, 0.0)}, "choose positive ones"),
    ],
)
def test_bad_climbs_get_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {"latents": torch.ones(1, 2), "target": -1.0} | change
    with pytest.raises(UserError, match=sentence):
        project(StandardNormal(2), **arguments)
