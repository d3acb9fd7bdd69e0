"""Levels: what noise leaves alone, what it says of the score, and how far a population is measured to be."""

import math

import pytest
import torch

from latent_atlas.boundary import DiagonalBoundary, GaussianBoundary, PriorBoundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.toys import GaussianMixture, correlated_gaussian
from latent_atlas.density_ratio.kl_estimate import estimate_kl
from latent_atlas.density_ratio.noise_schedule import choose_levels, noise_codes
from latent_atlas.nn.latent_discriminator import angle_of, place_of


def test_places_and_angles_are_inverse_to_each_other() -> None:
    angles = torch.linspace(0, math.pi / 2, 50)
    torch.testing.assert_close(angle_of(place_of(angles)), angles, atol=1e-3, rtol=0)
    places = place_of(angles)
    assert (places[0], places[-1]) == (0, 1)
    assert (places.diff() > 0).all()


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, math.pi / 2])
def test_noise_leaves_the_standard_normal_as_it_is(
    angle: float, generator: torch.Generator
) -> None:
    codes = Codes(StandardNormal(2).sample(50_000, generator=generator))
    z = noise_codes(
        codes, PriorBoundary(2), torch.full((50_000,), angle), generator=generator
    ).latents
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(2), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(2), atol=0.03, rtol=0)
    assert z.pow(4).mean().item() == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("spread", [False, True])
def test_noised_codes_have_the_mixture_s_law_of_their_level(
    spread: bool, generator: torch.Generator
) -> None:
    angle, sigma = 0.6, 0.5
    means = torch.tensor([[2.0, 0.0], [-1.0, 1.0]])
    codes = Codes(means, torch.full_like(means, 2 * math.log(sigma)) if spread else None)
    drawn = noise_codes(codes, PriorBoundary(2), torch.full((100_000,), angle), generator=generator)
    root = (
        math.sqrt(math.sin(angle) ** 2 + (math.cos(angle) * sigma) ** 2)
        if spread
        else math.sin(angle)
    )
    torch.testing.assert_close(drawn.root.unique(), torch.tensor([root]))
    exact = GaussianMixture(
        torch.tensor([0.5, 0.5]), math.cos(angle) * means, torch.full((2,), root)
    )
    # The noise found behind z, over the root, is on average minus the score.
    x = drawn.latents
    for moment in (exact.score(x), x):
        left = (-drawn.noise / drawn.root * moment).mean(dim=0)
        torch.testing.assert_close(left, (exact.score(x) * moment).mean(dim=0), atol=0.1, rtol=0)


def test_a_known_spread_tells_of_the_score_without_noise(generator: torch.Generator) -> None:
    codes = Codes(torch.zeros(5, 2), torch.full((5, 2), math.log(0.25)))
    drawn = noise_codes(codes, PriorBoundary(2), torch.zeros(100), generator=generator)
    torch.testing.assert_close(drawn.root, torch.full((100, 2), 0.5))
    torch.testing.assert_close(drawn.latents, 0.5 * drawn.noise)


def test_a_diagonal_boundary_keeps_the_spread_and_a_full_one_draws_it(
    generator: torch.Generator,
) -> None:
    codes = Codes(torch.full((5, 2), 3.0), torch.zeros(5, 2))
    diagonal = DiagonalBoundary(torch.full((2,), 3.0), torch.tensor([2.0, 4.0]))
    drawn = noise_codes(codes, diagonal, torch.zeros(4), generator=generator)
    torch.testing.assert_close(drawn.root, torch.tensor([0.5, 0.25]).repeat(4, 1))
    full = GaussianBoundary(torch.full((2,), 3.0), torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
    drawn = noise_codes(codes, full, torch.zeros(20_000), generator=generator)
    assert drawn.root.abs().max() == 0
    torch.testing.assert_close(
        torch.cov(full.unwhiten(drawn.latents).T), torch.eye(2), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("dimension", [2, 8])
def test_the_measured_divergence_is_near_the_exact_one(
    dimension: int, generator: torch.Generator
) -> None:
    world = correlated_gaussian(dimension, mutual_information=2.0)
    codes = Codes(world.sample(4_000, generator=generator))
    assert estimate_kl(codes, PriorBoundary(dimension), generator=generator) == pytest.approx(
        2.0, abs=0.3
    )


def test_the_measured_divergence_sees_what_moments_do_not(generator: torch.Generator) -> None:
    narrow = GaussianMixture(
        torch.full((4,), 0.25),
        torch.tensor([[1.0, 1], [-1, 1], [1, -1], [-1, -1]]),
        torch.full((4,), 0.05),
    )
    exact = narrow.kl_to_prior(generator=generator).nats
    codes = Codes(narrow.sample(4_000, generator=generator))
    assert estimate_kl(codes, PriorBoundary(2), generator=generator) == pytest.approx(
        exact, abs=0.3
    )


def test_the_prior_itself_is_measured_to_be_near(generator: torch.Generator) -> None:
    codes = Codes(StandardNormal(4).sample(4_000, generator=generator))
    assert estimate_kl(codes, PriorBoundary(4), generator=generator) < 0.1


def test_a_wider_gap_gets_more_levels() -> None:
    assert [choose_levels(kl) for kl in (0.0, 10.0, 20.0, 61.0, 1e6)] == [4, 4, 5, 16, 64]


def test_the_divergence_of_codes_far_away_and_close_together_is_finite(
    generator: torch.Generator,
) -> None:
    codes = Codes(1_000 + 1e-3 * StandardNormal(2).sample(500, generator=generator))
    exact = 0.5 * (2 * 1_000**2 + 2 * (1e-6 - 1 - math.log(1e-6)))
    assert estimate_kl(codes, PriorBoundary(2), generator=generator) == pytest.approx(
        exact, rel=0.01
    )
