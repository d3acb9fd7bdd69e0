"""Mixtures of Student's multivariate t, whose tails are heavier than those of Gaussians."""

import math

import torch
from torch import Tensor

from latent_atlas.density.base import SamplableDensity
from latent_atlas.shapes import ArrayLike, Latents, Values, as_floats, as_rows

__all__ = ["StudentMixture"]


class StudentMixture(SamplableDensity):
    r"""q(z) = Σ_k w_k t_ν(z; m_k, S_k) of ν degrees of freedom, with scale matrices S_k = L_k L_kᵀ.

    t_ν(z; m, S) ∝ (1 + u / ν)^(-(ν + d) / 2) with u = (z - m)ᵀ S⁻¹ (z - m); it tends to N(m, S) as
    ν grows, and its covariance is ν / (ν - 2) S.

    References:
        Multivariate t Distributions and Their Applications, Kotz and Nadarajah 2004.

    Examples:
        >>> world = StudentMixture([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]], freedom=4)
        >>> world.log_prob(torch.zeros(1, 2)).exp()  # 1 / 2π
        tensor([0.1592])
    """

    def __init__(
        self, weights: ArrayLike, means: ArrayLike, factors: ArrayLike, *, freedom: int
    ) -> None:
        """Build the mixture.

        Arguments:
            weights: w, shape (k,), positive with sum 1.
            means: m, shape (k, d).
            factors: L, shape (k, d, d), lower-triangular with positive diagonals.
            freedom: ν, a whole number of 1 or more.
        """
        self.weights, self.means, self.factors = (
            as_floats(weights),
            as_rows(means),
            as_floats(factors),
        )
        self.freedom = freedom
        self.dimension = self.means.shape[1]
        identity = torch.eye(self.dimension, dtype=torch.float64).to(self.factors.device)
        self._inverses = torch.linalg.solve_triangular(
            self.factors.double(), identity, upper=False
        ).to(self.factors)

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over the components."""
        return self._parts(latents)[0].logsumexp(dim=1)

    def score(self, latents: Latents) -> Latents:
        """-Σ_k P(k|z) (ν + d) / (ν + u_k) S_k⁻¹ (z - m_k)."""
        return self.log_prob_and_score(latents)[1]

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """Both, from one evaluation of the components."""
        parts, squares, white = self._parts(latents)
        pulls = parts.softmax(dim=1) * (self.freedom + self.dimension) / (self.freedom + squares)
        slopes = (pulls.T[..., None] * white) @ self._inverses.to(latents)
        return parts.logsumexp(dim=1), -slopes.sum(dim=0)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """m_k + sqrt(ν / χ²) L_k ε with ε ~ N(0, I) and χ² of ν degrees of freedom, (n, d)."""
        device = generator.device
        part = torch.multinomial(self.weights.to(device), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dimension, generator=generator, device=device)
        chi_square = (
            torch.randn(n, self.freedom, generator=generator, device=device).square().sum(1)
        )
        noise = noise * (self.freedom / chi_square).sqrt()[:, None]
        codes = torch.empty_like(noise)
        for k, factor in enumerate(self.factors.to(noise)):
            codes[part == k] = self.means[k].to(noise) + noise[part == k] @ factor.T
        return codes

    def _parts(self, latents: Latents) -> tuple[Tensor, Tensor, Tensor]:
        """log w_k t_ν (n, k), the squared lengths u_k (n, k), and L_k⁻¹ (z - m_k) (k, n, d)."""
        nu, d = self.freedom, self.dimension
        white = (latents - self.means.to(latents)[:, None]) @ self._inverses.to(latents).mT
        squares = white.square().sum(dim=2).T
        log_volumes = self.factors.to(latents).diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constant = (
            math.lgamma(0.5 * (nu + d)) - math.lgamma(0.5 * nu) - 0.5 * d * math.log(nu * math.pi)
        )
        log_weights = self.weights.to(latents).log() - log_volumes + constant
        return log_weights - 0.5 * (nu + d) * (squares / nu).log1p(), squares, white
