"""Radially symmetric densities: they depend on |z| alone."""

import math

import torch
from torch import Tensor

from latent_atlas.density.base import Divergence, SamplableDensity
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values

__all__ = ["Shell", "StudentT"]


class Shell(SamplableDensity):
    r"""A hollow shell: the radius |z| is about R ± w, and the direction is uniform.

    |z| / s follows the chi law of m degrees of freedom, with s² = 2 w² and m = 1 + R² / s², so

        q(z) ∝ |z|^(m - d) exp(-|z|² / 2 s²).

    The density of the radius is largest at R, where the second derivative of its logarithm is
    -1 / w². At m = d, which is R = sqrt(d - 1) and w = 1 / sqrt(2), the shell is N(0, I); a larger
    width would make the density infinite at 0.

    Examples:
        >>> world = Shell(2, radius=2.0, width=0.3)
        >>> world.log_prob(torch.tensor([[0.5, 0.0], [2.0, 0.0], [3.5, 0.0]]))
        tensor([-21.2458,  -2.2422, -13.2826])
    """

    def __init__(self, dimension: int, radius: float, width: float) -> None:
        """Build the shell.

        Arguments:
            dimension: d, 2 or more.
            radius: R, positive.
            width: w, in (0, R / sqrt(2 (d - 1))].

        Raises:
            UserError: any of them is not.
        """
        widest = radius / math.sqrt(2 * max(dimension - 1, 1))
        # The bound itself is N(0, I), and must not be refused for a rounding error.
        if dimension < 2 or not 0 < width <= widest * (1 + 1e-9):
            raise UserError(
                f"a shell of radius {radius} in {dimension} dimensions needs 2 dimensions or more "
                f"and a width over 0 and up to {widest:.3g}, not {width}"
            )
        self.dimension = dimension
        self.radius = radius
        self.width = width
        self.variance = 2 * width**2
        self.freedom = 1 + radius**2 / self.variance

    def _log_constant(self) -> float:
        """log ∫ |z|^(m - d) exp(-|z|² / 2 s²) dz.

        It is m / 2 log 2 s² + log Γ(m / 2) - log Γ(d / 2) + d / 2 log π.
        """
        m, d = self.freedom, self.dimension
        log_radial = 0.5 * m * math.log(2 * self.variance) + math.lgamma(0.5 * m)
        return log_radial - math.lgamma(0.5 * d) + 0.5 * d * math.log(math.pi)

    def _squared_radii(self, latents: Latents) -> Values:
        """|z|², bounded below: a straight line may pass through 0, where log q would be -inf."""
        return latents.square().sum(dim=1).clamp_min(torch.finfo(latents.dtype).eps ** 2)

    def log_prob(self, latents: Latents) -> Values:
        """(m - d) log |z| - |z|² / 2 s² - log constant."""
        squares = self._squared_radii(latents)
        hollow = 0.5 * (self.freedom - self.dimension) * squares.log()
        return hollow - 0.5 * squares / self.variance - self._log_constant()

    def score(self, latents: Latents) -> Latents:
        """((m - d) / |z|² - 1 / s²) z."""
        pull = (self.freedom - self.dimension) / self._squared_radii(latents) - 1 / self.variance
        return pull[:, None] * latents

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d), on the generator's device; |z|² / 2 s² is Gamma."""
        directions = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        radii = (2 * self.variance * _gamma(0.5 * self.freedom, n, generator=generator)).sqrt()
        return radii[:, None] * directions / directions.norm(dim=1, keepdim=True)

    def kl_to_prior(self, *, generator: torch.Generator, samples: int = 50_000) -> Divergence:
        """KL(q || p), exactly, from E|z|² = m s² and E log |z|² = log 2 s² + ψ(m / 2)."""
        m, d = self.freedom, self.dimension
        log_square = math.log(2 * self.variance) + _digamma(0.5 * m)
        log_world = 0.5 * (m - d) * log_square - 0.5 * m - self._log_constant()
        log_prior = -0.5 * m * self.variance - 0.5 * d * math.log(2 * math.pi)
        return Divergence(log_world - log_prior)


class StudentT(SamplableDensity):
    r"""Student's multivariate t with ν degrees of freedom and covariance v I: heavy tails.

    q(z) ∝ (1 + |z|² / a)^(-(ν + d) / 2) with a = (ν - 2) v.

    References:
        Multivariate t Distributions and Their Applications, Kotz and Nadarajah 2004.

    Examples:
        >>> StudentT(2, freedom=4.0).log_prob(torch.zeros(1, 2)).exp()  # ν / 2π a
        tensor([0.3183])
    """

    def __init__(self, dimension: int, freedom: float, variance: float = 1.0) -> None:
        """Build the density.

        Arguments:
            dimension: d, 1 or more.
            freedom: ν, over 2.
            variance: v, of each coordinate, positive.

        Raises:
            UserError: the freedom is 2 or less, where there is no covariance.
        """
        if not freedom > 2:
            raise UserError(
                f"Student's t has a covariance only with more than 2 degrees of freedom, not with "
                f"{freedom}"
            )
        self.dimension = dimension
        self.freedom = freedom
        self.variance = variance
        self.spread = (freedom - 2) * variance

    def _log_peak(self) -> float:
        """log q(0) = log Γ((ν + d) / 2) - log Γ(ν / 2) - d / 2 log π a."""
        log_gammas = math.lgamma(0.5 * (self.freedom + self.dimension)) - math.lgamma(
            0.5 * self.freedom
        )
        return log_gammas - 0.5 * self.dimension * math.log(math.pi * self.spread)

    def log_prob(self, latents: Latents) -> Values:
        """log q(0) - (ν + d) / 2 log(1 + |z|² / a)."""
        squares = latents.square().sum(dim=1)
        return (
            self._log_peak()
            - 0.5 * (self.freedom + self.dimension) * (squares / self.spread).log1p()
        )

    def score(self, latents: Latents) -> Latents:
        """-(ν + d) z / (a + |z|²)."""
        squares = latents.square().sum(dim=1, keepdim=True)
        return -(self.freedom + self.dimension) * latents / (self.spread + squares)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """sqrt(a / χ²) ε with ε ~ N(0, I) and χ² of ν degrees of freedom, shape (n, d)."""
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        chi_square = 2 * _gamma(0.5 * self.freedom, n, generator=generator)
        return (self.spread / chi_square).sqrt()[:, None] * noise

    def kl_to_prior(self, *, generator: torch.Generator, samples: int = 50_000) -> Divergence:
        """KL(q || p), exactly.

        By E|z|² = d v and E log(1 + |z|² / a) = ψ((ν + d) / 2) - ψ(ν / 2).
        """
        total, d = self.freedom + self.dimension, self.dimension
        log_world = self._log_peak() - 0.5 * total * (
            _digamma(0.5 * total) - _digamma(0.5 * self.freedom)
        )
        log_prior = -0.5 * d * self.variance - 0.5 * d * math.log(2 * math.pi)
        return Divergence(log_world - log_prior)


def _gamma(shape: float, n: int, *, generator: torch.Generator) -> Tensor:
    """Draw `n` values of the Gamma law of `shape`, 1 or more, and unit rate, exactly, by rejection.

    a v with v = (1 + x / sqrt(9 a))³, x ~ N(0, 1) and a = shape - 1/3 is kept where
    log u < x² / 2 + a (1 - v + log v), u ~ U(0, 1): more than 19 times out of 20.

    References:
        A Simple Method for Generating Gamma Variables, Marsaglia and Tsang 2000.
    """
    a = shape - 1 / 3
    draws = torch.empty(0, device=generator.device)
    while len(draws) < n:
        x = torch.randn(n, generator=generator, device=generator.device)
        u = torch.rand(n, generator=generator, device=generator.device)
        v = (1 + x / math.sqrt(9 * a)) ** 3
        kept = u.log() < 0.5 * x.square() + a * (
            1 - v + v.log()
        )  # false where v < 0, whose logarithm is nan
        draws = torch.cat([draws, a * v[kept]])
    return draws[:n]


def _digamma(x: float) -> float:
    """ψ(x), the derivative of log Γ."""
    return torch.digamma(torch.tensor(x, dtype=torch.float64)).item()
