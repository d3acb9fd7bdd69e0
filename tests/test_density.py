"""What every density answers for itself, and the two forms of a Gaussian mixture."""

import math

import pytest
import torch
from torch import Tensor, nn

from latent_atlas.boundary import DiagonalBoundary, GaussianBoundary, PriorBoundary
from latent_atlas.density import (
    Density,
    ExactRatio,
    GaussianMixture,
    KernelDensity,
    SamplableDensity,
    StandardNormal,
    fit_scale_mixture,
)
from latent_atlas.density.affine_normal import AffineNormal
from latent_atlas.density.base import gradient
from latent_atlas.density.toys import StudentT
from latent_atlas.errors import UserError
from latent_atlas.nn.early_stopping import EarlyStopping

MEANS = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]])
WEIGHTS = torch.tensor([0.2, 0.8])
SCALES = torch.tensor([[0.5, 1.0, 2.0], [1.5, 0.7, 0.3]])
DIAGONAL = GaussianMixture(WEIGHTS, MEANS, SCALES)
FULL = GaussianMixture(WEIGHTS, MEANS, torch.diag_embed(SCALES))
FACTORS = torch.diag_embed(SCALES) + torch.tensor([[0.0, 0, 0], [0.4, 0, 0], [-0.3, 0.6, 0]])
TILTED = GaussianMixture(WEIGHTS, MEANS, FACTORS)
FACTOR = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, -0.5, 0.3]])
AFFINE: list[AffineNormal] = [
    PriorBoundary(3),
    DiagonalBoundary(torch.tensor([3.0, 0.0, 1.0]), torch.tensor([2.0, 0.5, 1.0])),
    GaussianBoundary(torch.tensor([3.0, 0.0, 1.0]), FACTOR),
]


class Bare(Density):
    """A density that only has a formula."""

    def __init__(self) -> None:
        self.dimension = 3

    def log_prob(self, latents: Tensor) -> Tensor:
        return -latents.square().sum(dim=1)


class Forgetful(Bare):
    """A density that does not say how many coordinates its codes have."""

    def __init__(self) -> None:
        pass


def test_a_forgotten_dimension_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"Forgetful does not set `dimension`, .* in its __init__"):
        ExactRatio(Forgetful(), StandardNormal(3))


def test_a_dimension_may_be_of_the_class() -> None:
    class Plane(Bare):
        dimension = 2

        def __init__(self) -> None:
            pass

    assert Plane().dimension == 2


def test_a_bare_density_answers_every_question(generator: torch.Generator) -> None:
    density, z = Bare(), torch.randn(4, 3, generator=generator)
    assert (density.has_log_prob, density.noise_levels) == (True, False)
    assert density.threshold(0.05, generator=generator) is None
    assert density.noised(0.0) is density
    assert torch.equal(density.unwhiten(density.whiten(z)), z)
    with pytest.raises(UserError, match="Bare has no noise levels; choose a width of 0"):
        density.noised(0.1)


@pytest.mark.parametrize("density", [StandardNormal(2), DIAGONAL, TILTED, *AFFINE])
def test_a_threshold_is_a_quantile_of_the_log_density(
    density: SamplableDensity, generator: torch.Generator
) -> None:
    assert density.threshold(0.2) is None
    threshold = density.threshold(0.2, generator=generator)
    assert threshold is not None
    fresh = density.log_prob(density.sample(20_000, generator=generator))
    assert (fresh < threshold).float().mean().item() == pytest.approx(0.2, abs=0.02)
    ratio = ExactRatio(density, StandardNormal(density.dimension))
    assert ratio.threshold(0.2, generator=generator) == pytest.approx(threshold, abs=0.1)


def test_diagonal_and_full_covariances_are_one_mixture(generator: torch.Generator) -> None:
    z = 2 * torch.randn(50, 3, generator=generator)
    torch.testing.assert_close(FULL.log_prob(z), DIAGONAL.log_prob(z), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(FULL.score(z), DIAGONAL.score(z), rtol=1e-4, atol=1e-4)
    for width in (0.0, 0.7):
        full, diagonal = FULL.noised(width), DIAGONAL.noised(width)
        torch.testing.assert_close(full.log_prob(z), diagonal.log_prob(z), rtol=1e-4, atol=1e-4)
    draws = [
        mixture.sample(100, generator=torch.Generator().manual_seed(1))
        for mixture in (FULL, DIAGONAL)
    ]
    torch.testing.assert_close(*draws)


@pytest.mark.parametrize("width", [0.0, 0.6])
def test_a_full_mixture_is_that_of_torch(width: float, generator: torch.Generator) -> None:
    z = 2 * torch.randn(50, 3, generator=generator)
    covariances = FACTORS @ FACTORS.mT + width**2 * torch.eye(3)
    parts = torch.distributions.MultivariateNormal(MEANS, covariances)
    exact = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(WEIGHTS), parts)
    noised = TILTED.noised(width)
    torch.testing.assert_close(noised.log_prob(z), exact.log_prob(z), rtol=1e-4, atol=1e-4)
    slope = gradient(noised.log_prob, z)
    torch.testing.assert_close(noised.score(z), slope, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("d", [1, 8, 32])
def test_a_scale_mixture_has_the_tails_of_the_codes(d: int, generator: torch.Generator) -> None:
    world = StudentT(d, freedom=5.0)
    turn = 3 * torch.randn(d, d, generator=generator)
    codes, fresh = (world.sample(n, generator=generator) for n in (10_000, 5_000))
    fitted = fit_scale_mixture(codes @ turn + 7)
    exact = world.log_prob(fresh) - torch.linalg.slogdet(turn)[1]
    # A Gaussian of their moments loses .047 nats in one dimension, and more in others.
    assert (exact - fitted.log_prob(fresh @ turn + 7)).mean() < 0.02 * d**0.5


def test_a_scale_mixture_of_codes_on_a_plane_is_finite(generator: torch.Generator) -> None:
    plane = torch.randn(500, 2, generator=generator) @ torch.randn(2, 5, generator=generator)
    plane[:100] = plane[0]  # some of them the same
    constant = torch.ones(500, 1)
    codes = torch.cat([plane, constant], dim=1)
    assert fit_scale_mixture(codes).log_prob(codes).isfinite().all()


@pytest.mark.parametrize("density", AFFINE)
def test_noise_is_added_in_the_whitened_coordinates(
    density: AffineNormal, generator: torch.Generator
) -> None:
    z = density.sample(50, generator=generator)
    w, width = density.whiten(z), 0.7
    variance = 1 + width**2
    expected = -0.5 * w.square().sum(dim=1) / variance - 1.5 * math.log(2 * math.pi * variance)
    noised = density.noised(width)
    torch.testing.assert_close(noised.log_prob(z), expected - density.log_scale)
    torch.testing.assert_close(noised.unwhiten(noised.whiten(z)), z, rtol=1e-4, atol=1e-4)
    twice = noised.noised(0.3).log_prob(z)
    torch.testing.assert_close(twice, density.noised(math.hypot(width, 0.3)).log_prob(z))


def test_a_kernel_density_draws_what_it_says(generator: torch.Generator) -> None:
    kernels = KernelDensity(MEANS, torch.tensor(0.5))
    mixture = GaussianMixture(torch.full((2,), 0.5), MEANS, torch.full((2,), 0.5))
    draws = kernels.sample(2_000, generator=generator)
    torch.testing.assert_close(kernels.log_prob(draws), mixture.log_prob(draws))
    entropy = -kernels.log_prob(draws).mean().item()
    exact = -mixture.log_prob(mixture.sample(20_000, generator=generator)).mean().item()
    assert entropy == pytest.approx(exact, abs=0.1)


def test_early_stopping_keeps_the_weights_of_the_least_loss() -> None:
    network, best = nn.Linear(1, 1, bias=False), EarlyStopping(20)
    for step, loss in ((10, 3.0), (20, math.nan), (30, 1.0), (40, 2.0)):
        nn.init.constant_(network.weight, step)
        assert best.improves(step, loss, network) == (loss in (3.0, 1.0))
    assert (best.loss, best.step) == (1.0, 30)
    assert not best.should_stop(49)
    assert best.should_stop(50)
    best.restore(network)
    assert network.weight.item() == 30
