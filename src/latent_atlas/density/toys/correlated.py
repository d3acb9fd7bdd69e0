"""Densities whose coordinates depend on each other in pairs: (0, 1), (2, 3), ..."""

import math

import torch

from latent_atlas.density.base import Divergence, SamplableDensity
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values

__all__ = ["CorrelatedGaussian", "Spiralled", "correlated_gaussian"]


class CorrelatedGaussian(SamplableDensity):
    """Independent pairs (x, y) ~ N(0, [[1, ρ], [ρ, 1]]): each coordinate alone is N(0, 1).

    Examples:
        >>> world = CorrelatedGaussian(2, correlation=0.6)
        >>> world.log_prob(torch.zeros(1, 2)).exp()  # 1 / 2π sqrt(1 - ρ²)
        tensor([0.1989])
    """

    def __init__(self, dimension: int, correlation: float) -> None:
        """Arguments: dimension, d, is even; correlation, ρ, is in (-1, 1).

        Raises:
            UserError: either is not.
        """
        _check_pairs(dimension)
        if not -1 < correlation < 1:
            raise UserError(
                f"a correlation lies between -1 and 1, both excluded; {correlation} does not"
            )
        self.dimension = dimension
        self.correlation = correlation

    def log_prob(self, latents: Latents) -> Values:
        """½ z · grad log q(z) - d / 4 log(1 - ρ²) - d / 2 log 2π."""
        log_volume = 0.25 * self.dimension * math.log(1 - self.correlation**2)
        log_volume += 0.5 * self.dimension * math.log(2 * math.pi)
        return 0.5 * (latents * self.score(latents)).sum(dim=1) - log_volume

    def score(self, latents: Latents) -> Latents:
        """-(x - ρ y, y - ρ x) / (1 - ρ²) for each pair."""
        partners = latents.unflatten(1, (-1, 2)).flip(2).flatten(1)
        return (self.correlation * partners - latents) / (1 - self.correlation**2)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """y = ρ x + sqrt(1 - ρ²) ε with x and ε from N(0, 1), shape (n, d)."""
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        x, e = noise[:, 0::2], noise[:, 1::2]
        y = self.correlation * x + math.sqrt(1 - self.correlation**2) * e
        return torch.stack([x, y], dim=2).flatten(1)

    def kl_to_prior(self, *, generator: torch.Generator, samples: int = 50_000) -> Divergence:
        """KL(q || p) = -d / 4 log(1 - ρ²), exactly: the pairs' mutual information."""
        return Divergence(-0.25 * self.dimension * math.log(1 - self.correlation**2))


def correlated_gaussian(dimension: int, mutual_information: float) -> CorrelatedGaussian:
    """The correlated Gaussian whose divergence from N(0, I) is `mutual_information`.

    ρ = sqrt(1 - exp(-4 I / d)), from I = -d / 4 log(1 - ρ²).

    References:
        Telescoping Density-Ratio Estimation, Rhodes et al. 2020, section 4.2.

    Arguments:
        dimension: d, even.
        mutual_information: I in nats, summed over the d / 2 pairs; 0 is N(0, I).

    Raises:
        UserError: the dimension is odd or the information negative.

    Examples:
        >>> world = correlated_gaussian(8, mutual_information=3.0)
        >>> round(world.kl_to_prior(generator=torch.Generator()).nats, 6)
        3.0
    """
    if mutual_information < 0:
        raise UserError(
            f"mutual information is never negative; {mutual_information} nats were asked for"
        )
    return CorrelatedGaussian(
        dimension, math.sqrt(-math.expm1(-4 * mutual_information / dimension))
    )


class Spiralled(SamplableDensity):
    r"""The image of q_0 under f(z) = R(t |z_i|²) z_i for each pair z_i, R(a) the rotation by a.

    Each pair is rotated by an angle that grows with its squared radius. |det Df| = 1 and f maps
    N(0, I) to itself, so log q(z) = log q_0(f⁻¹(z)), and the divergence from N(0, I) is that of
    q_0, but the image of a Gaussian is no longer one.

    Examples:
        >>> stirred = Spiralled(correlated_gaussian(2, mutual_information=1.0), turn=0.5)
        >>> stirred.kl_to_prior(generator=torch.Generator()).exact
        True
    """

    def __init__(self, world: SamplableDensity, turn: float) -> None:
        """Arguments: world, q_0, of even dimension; turn, t, in radians per unit squared radius.

        Raises:
            UserError: the dimension is odd.
        """
        _check_pairs(world.dimension)
        self.world = world
        self.turn = turn
        self.dimension = world.dimension

    def forward(self, latents: Latents) -> Latents:
        """f(z), shape (n, d): from q_0 to this density."""
        return _stir(latents, self.turn)

    def inverse(self, latents: Latents) -> Latents:
        """f⁻¹(z), shape (n, d): f keeps every radius, so the opposite rotation undoes it."""
        return _stir(latents, -self.turn)

    def log_prob(self, latents: Latents) -> Values:
        """log q_0(f⁻¹(z))."""
        return self.world.log_prob(self.inverse(latents))

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """f(z) with z ~ q_0; shape (n, d), on the generator's device."""
        return self.forward(self.world.sample(n, generator=generator))

    def kl_to_prior(self, *, generator: torch.Generator, samples: int = 50_000) -> Divergence:
        """KL(q || p) = KL(q_0 || p), since f maps q_0 to q and p to itself."""
        return self.world.kl_to_prior(generator=generator, samples=samples)


def _stir(latents: Latents, turn: float) -> Latents:
    """Each pair (x, y) rotated by turn (x² + y²) radians."""
    x, y = latents[:, 0::2], latents[:, 1::2]
    angle = turn * (x.square() + y.square())
    return torch.stack(
        [angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y], dim=2
    ).flatten(1)


def _check_pairs(dimension: int) -> None:
    if dimension < 2 or dimension % 2:
        raise UserError(
            f"coordinates pair up in an even dimension of 2 or more, not in {dimension}"
        )
