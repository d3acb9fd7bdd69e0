"""E_r[exp l] against ratios whose integral is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from latent_atlas.boundary import PriorBoundary
from latent_atlas.density import GaussianMixture, StandardNormal
from latent_atlas.density.base import value_and_gradient
from latent_atlas.density.toys import two_clusters
from latent_atlas.density_ratio.normalising_constant import (
    PRECISE,
    _with_standard_normal,
    log_mean_ratio,
)
from latent_atlas.nn.latent_discriminator import Ensemble

pytestmark = pytest.mark.calibration

D, NATS = 12, 0.3
WORLD = two_clusters(D, distance=4.0)


class Exact(nn.Module):
    """log q - log p of a known world, with so many nats too much everywhere."""

    def forward(self, latents: Tensor, angles: Tensor | None = None) -> Tensor:
        return WORLD.log_prob(latents) - StandardNormal(D).log_prob(latents) + NATS

    def at(self, angle: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        return lambda latents: value_and_gradient(self, latents)


def outline(spread: float) -> GaussianMixture:
    """A single Gaussian around both clusters."""
    return GaussianMixture(torch.ones(1), torch.zeros(1, D), spread * torch.eye(D)[None])


@pytest.mark.parametrize("spread", [0.5, 3.0], ids=["near", "far"])
def test_the_mass_of_a_known_ratio_is_found_however_rough_the_outline(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    nats, error = log_mean_ratio(
        Ensemble([Exact()]), PriorBoundary(D), outline(spread), 4_000, generator=generator
    )
    assert abs(nats - NATS) < 4 * error
    assert error < 2 * PRECISE


def test_a_mixture_beside_the_standard_normal_is_the_mean_of_both() -> None:
    population, z = outline(0.5), torch.randn(50, D, generator=torch.Generator().manual_seed(1))
    expected = (population.log_prob(z).exp() + StandardNormal(D).log_prob(z).exp()) / 2
    mean = _with_standard_normal(population)
    assert torch.allclose(mean.log_prob(z).exp(), expected, rtol=1e-4)
