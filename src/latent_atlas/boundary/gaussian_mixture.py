"""A mixture of Gaussians with full covariances: a density, its fit, and the boundary that draws from it."""

import math
import warnings

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import SamplableDensity
from latent_atlas.density.moments import cholesky, extent
from latent_atlas.shapes import Latents, Values

__all__ = ["Gaussians", "GaussiansBoundary", "fit_gaussians"]

COMPONENTS = (1, 2, 4, 8)
MOST_CODES = 20_000  # more would only cost time
CODES_PER_COMPONENT = (
    10  # and per dimension: with fewer, a component shrinks onto single codes and wins every BIC
)
LEAST_VARIANCE = 1e-3  # of a component, where each coordinate of the population has variance 1


class Gaussians(SamplableDensity):
    r"""q(z) = Σ_k w_k N(z; m_k, L_k L_kᵀ)."""

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        """Arguments: w (k,), positive with sum 1; m (k, d); L (k, d, d), lower-triangular with positive diagonals."""
        self.weights = weights
        self.means = means
        self.factors = factors
        self.dimension = means.shape[1]

    def beside_standard_normal(self) -> "Gaussians":
        """(q + N(0, I)) / 2, which is nowhere far below either."""
        origin, identity = (
            torch.zeros_like(self.means[:1]),
            torch.eye(self.dimension).to(self.factors)[None],
        )
        weights = torch.cat([self.weights.sum()[None], self.weights]) / 2
        return Gaussians(
            weights, torch.cat([origin, self.means]), torch.cat([identity, self.factors])
        )

    def _whitened(self, latents: Latents) -> Tensor:
        """L_k⁻¹ (z - m_k), shape (k, n, d)."""
        offsets = latents - self.means[:, None]
        return torch.linalg.solve_triangular(self.factors.to(offsets), offsets.mT, upper=False).mT

    def _log_parts(self, whitened: Tensor) -> Tensor:
        """log w_k N(z; m_k, L_k L_kᵀ), shape (k, n)."""
        log_volumes = self.factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        log_heights = (
            self.weights.log() - log_volumes - 0.5 * self.dimension * math.log(2 * math.pi)
        )
        return log_heights[:, None] - 0.5 * whitened.square().sum(dim=2)

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over the parts."""
        return self._log_parts(self._whitened(latents)).logsumexp(dim=0)

    def score(self, latents: Latents) -> Latents:
        """Σ_k P(k|z) L_k⁻ᵀ L_k⁻¹ (m_k - z)."""
        whitened = self._whitened(latents)
        slopes = torch.linalg.solve_triangular(
            self.factors.to(whitened).mT, -whitened.mT, upper=True
        ).mT
        return (self._log_parts(whitened).softmax(dim=0)[..., None] * slopes).sum(dim=0)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d), on the generator's device."""
        part = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        codes = torch.empty_like(noise)
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            codes[part == k] = mean + noise[part == k] @ factor.T
        return codes


def fit_gaussians(real: Latents, *, generator: torch.Generator) -> Gaussians:
    """Fit 1, 2, 4 or 8 Gaussians by expectation maximisation: as many as still lower the BIC.

    At most 20,000 random codes are used, and k components are only tried where there are 10 k d codes or more. The fit
    happens in coordinates of variance 1, where no component's variance may fall below 1e-3 in any direction.
    A single component is the Gaussian of boundary `gaussian`.

    References:
        Estimating the dimension of a model, Schwarz 1978.

    Arguments:
        real: Codes, shape (n, d), not all equal.
        generator: Chooses the codes and where the components start.
    """
    order = torch.randperm(len(real), generator=generator, device=generator.device)
    codes = real[order[:MOST_CODES]]
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    mean, scales = extent(codes)
    # Not whitened: whitening shrinks the distances between clusters to those within, and hides where to start.
    fitted = _expectation_maximisation((codes.cpu().double() - mean) / scales, seed)
    if fitted is None:
        mean, factor = cholesky(codes)
        return Gaussians(torch.ones(1).to(real), mean[None].to(real), factor[None].to(real))
    weights, means, factors = fitted
    return Gaussians(
        weights.to(real), (mean + scales * means).to(real), (scales[:, None] * factors).to(real)
    )


def _expectation_maximisation(standard: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Weights (k,), means (k, d) and factors (k, d, d) for codes of variance 1; None where one Gaussian is enough."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import (
        GaussianMixture,  # here, because loading it takes a second that other boundaries save
    )

    codes, (n, d) = standard.numpy(), standard.shape
    best, lowest = None, math.inf
    for k in COMPONENTS:
        if n < CODES_PER_COMPONENT * k * d:
            break
        mixture = GaussianMixture(k, reg_covar=LEAST_VARIANCE, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # where it stopped is a density as good as any
            bic = mixture.fit(codes).bic(codes)
        if bic >= lowest:
            break
        lowest = bic
        if k > 1:
            weights, means, spreads = map(
                torch.from_numpy, (mixture.weights_, mixture.means_, mixture.covariances_)
            )
            best = (weights, means, torch.linalg.cholesky(spreads))
    return best


class GaussiansBoundary(Boundary):
    """r is a mixture of Gaussians fitted to the codes."""

    name = "gaussian-mixture"

    def __init__(self, gaussians: Gaussians) -> None:
        """Arguments: gaussians is r."""
        self.gaussians = gaussians
        self.density = gaussians
        self.dimension = gaussians.dimension

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "GaussiansBoundary":
        """See `fit_gaussians`."""
        return cls(fit_gaussians(real, generator=generator))

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "GaussiansBoundary":
        """Rebuild from weights, means and factors."""
        return cls(Gaussians(**tensors))

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """A random component's draw."""
        return self.gaussians.sample(n, generator=generator)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, means and factors."""
        g = self.gaussians
        return {"weights": g.weights, "means": g.means, "factors": g.factors}
