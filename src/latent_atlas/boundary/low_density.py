"""Codes where the data distribution is thin: a wide Gaussian, cut off where codes are dense."""

import math

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.gaussian_mixture import GaussianMixture, fit_gaussian_mixture
from latent_atlas.density.moments import cholesky
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Mask, Values

__all__ = ["LowDensityBoundary"]

QUANTILE = 0.05  # share of real codes under the threshold
# Of the codes' variances: wide enough to surround them; 6 nats from them in 64 dimensions.
INFLATION = 2.0
HELD_OUT = 0.2  # share of the codes that the threshold is measured on
PROPOSALS = 100_000  # that the acceptance is measured on
LEAST_ACCEPTANCE = 0.01
_BATCH = 10_000  # proposals at a time


class LowDensityBoundary(Boundary):
    r"""r(z) = g(z) [q̂(z) < τ] / a: a wide Gaussian g, cut off where an estimate q̂ is above τ.

    Fitted, g has the mean and twice the covariance of the codes, q̂ is `fit_gaussian_mixture` of
    80 % of them, and τ a quantile, 5 % by default, of its values at the other 20 %.
    """

    name = "low-density"
    covers = False

    def __init__(
        self,
        proposal: GaussianMixture,
        estimate: GaussianMixture,
        threshold: Tensor,
        acceptance: Tensor,
    ) -> None:
        """Build r from its parts.

        Arguments:
            proposal: g, a mixture of one.
            estimate: q̂.
            threshold: log τ in nats, shape ().
            acceptance: a, the share of 100,000 proposals where q̂ < τ, in (0, 1], shape ().
        """
        self.proposal = proposal
        self.estimate = estimate
        self.log_threshold = threshold
        self.acceptance = acceptance
        self.dimension = proposal.dimension
        share = acceptance.item()
        error = math.sqrt((1 - share) / (share * PROPOSALS))
        self.warning = (
            "log r is approximate: its normalising constant is a Monte Carlo estimate from "
            f"{PROPOSALS} proposals, with a relative standard error of {error:.2%}; and r is 0 "
            "where the codes are dense, so alone it gives no log q there"
        )

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "LowDensityBoundary":
        """Fit proposal and estimate, find the threshold, and measure the acceptance.

        Raises:
            UserError: fewer than 1 % of the proposals are accepted.
        """
        order = torch.randperm(len(real), generator=generator, device=generator.device)
        count = max(round(HELD_OUT * len(real)), 5)
        quantile = QUANTILE if config.quantile is None else config.quantile
        mean, factor = (part.to(real) for part in cholesky(real))
        proposal = _gaussian(mean, math.sqrt(INFLATION) * factor)
        estimate = fit_gaussian_mixture(real[order[count:]], generator=generator)
        threshold = estimate.log_prob(real[order[:count]]).quantile(quantile)
        draws = (proposal.sample(_BATCH, generator=generator) for _ in range(PROPOSALS // _BATCH))
        accepted = [(estimate.log_prob(z) < threshold).to(real).mean() for z in draws]
        acceptance = torch.stack(accepted).mean()
        if acceptance < LEAST_ACCEPTANCE:
            raise UserError(
                f"only {acceptance.item():.2%} of the proposals have a density under the quantile "
                f"{quantile} of the codes, too few to draw from; raise map.quantile"
            )
        return cls(proposal, estimate, threshold, acceptance)

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "LowDensityBoundary":
        """Rebuild from proposal, estimate, threshold and acceptance."""
        t = tensors
        proposal = _gaussian(t["mean"], t["factor"])
        estimate = GaussianMixture(t["weights"], t["means"], t["scales"])
        return cls(proposal, estimate, t["threshold"], t["acceptance"])

    def accepts(self, latents: Latents) -> Mask:
        """Whether q̂(z) < τ, shape (n,)."""
        return self.estimate.log_prob(latents) < self.log_threshold

    def log_prob(self, latents: Latents) -> Values:
        """log g(z) - log a where q̂(z) < τ, and -inf elsewhere, where the gradient is 0."""
        inside = self.proposal.log_prob(latents) - self.acceptance.log()
        return torch.where(self.accepts(latents), inside, -math.inf)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """The first `n` accepted proposals, drawn as many at a time as should be enough."""
        found = torch.empty(0, self.dimension, device=generator.device)
        while len(found) < n:
            count = math.ceil(1.1 * (n - len(found)) / self.acceptance.item()) + 10
            z = self.proposal.sample(min(count, _BATCH), generator=generator)
            found = torch.cat([found, z[self.accepts(z)]])
        return found[:n]

    def tensors(self) -> dict[str, Tensor]:
        """Proposal, estimate, threshold and acceptance."""
        return {
            "mean": self.proposal.means[0],
            "factor": self.proposal.scales[0],
            "weights": self.estimate.weights,
            "means": self.estimate.means,
            "scales": self.estimate.scales,
            "threshold": self.log_threshold,
            "acceptance": self.acceptance,
        }


def _gaussian(mean: Tensor, factor: Tensor) -> GaussianMixture:
    """N(m, L Lᵀ) for m (d,) and L (d, d)."""
    return GaussianMixture(torch.ones(1).to(mean), mean[None], factor[None])
