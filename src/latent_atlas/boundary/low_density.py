"""Where codes are rare: proposals that a density estimate of the codes finds unlikely."""

import math

import torch
from torch import Tensor

from latent_atlas.boundary.base import AffineNormal, Boundary
from latent_atlas.boundary.gaussian import GaussianBoundary
from latent_atlas.boundary.gaussian_mixture import Gaussians, fit_gaussians
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import Density
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Mask, Values

__all__ = ["LowDensity", "LowDensityBoundary"]

QUANTILE = 0.05  # of real codes lie in the outskirts
INFLATION = (
    2.0  # of the codes' variances: wide enough to surround them, in 64 dimensions 6 nats from them
)
HELD_OUT = 0.2  # of the codes, by which the threshold is found
PROPOSALS = 100_000  # on which the normaliser is measured
LEAST_ACCEPTANCE = 0.01
_BATCH = 10_000  # proposals judged at once


class LowDensity(Density):
    r"""r(z) = g(z) [q̂(z) < τ] / a: the proposal g where the estimate q̂ is under the threshold τ, and 0 elsewhere."""

    def __init__(
        self, proposal: GaussianBoundary, estimate: Gaussians, threshold: Tensor, acceptance: Tensor
    ) -> None:
        """Arguments: g; q̂; log τ in nats, shape (); and a, the share of proposals under it, in (0, 1], shape ()."""
        self.proposal = proposal
        self.estimate = estimate
        self.threshold = threshold
        self.acceptance = acceptance
        self.dimension = proposal.dimension

    def accepts(self, latents: Latents) -> Mask:
        """Whether each code lies in the outskirts, q̂(z) < τ, shape (n,)."""
        return self.estimate.log_prob(latents) < self.threshold

    def log_prob(self, latents: Latents) -> Values:
        """log g(z) - log a in the outskirts, -inf elsewhere, where the gradient is 0."""
        inside = AffineNormal(self.proposal).log_prob(latents) - self.acceptance.log()
        return torch.where(self.accepts(latents), inside, -math.inf)


class LowDensityBoundary(Boundary):
    """r is a wide Gaussian's draws, accepted only where an estimate of the codes' density is under a quantile.

    The proposal has twice the codes' covariance. The estimate is `fit_gaussians` of 80 % of the codes, and its
    threshold the quantile, 5 % by default, of its values at the other 20 %.
    """

    name = "density"
    covers = False

    def __init__(self, outskirts: LowDensity, proposals: Tensor) -> None:
        """Arguments: outskirts is r; proposals, shape (), is how many draws measured its acceptance."""
        self.outskirts = outskirts
        self.proposals = proposals
        self.dimension = outskirts.dimension
        self.density = outskirts
        share = outskirts.acceptance.item()
        error = math.sqrt((1 - share) / (share * proposals.item()))
        self.note = (
            f"log r is approximate: its normaliser is a Monte Carlo estimate from {proposals.item():.0f} proposals, "
            f"with a relative standard error of {error:.2%}; and r is 0 where the codes are dense, so alone it "
            "gives no log q there"
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
        fitted = GaussianBoundary.fit(real, config, generator=generator)
        proposal = GaussianBoundary(fitted.mean, math.sqrt(INFLATION) * fitted.factor)
        estimate = fit_gaussians(real[order[count:]], generator=generator)
        threshold = estimate.log_prob(real[order[:count]]).quantile(quantile)
        outskirts = LowDensity(proposal, estimate, threshold, torch.ones_like(threshold))
        draws = (proposal.sample(_BATCH, generator=generator) for _ in range(PROPOSALS // _BATCH))
        outskirts.acceptance = torch.stack(
            [outskirts.accepts(z).to(real).mean() for z in draws]
        ).mean()
        if outskirts.acceptance < LEAST_ACCEPTANCE:
            raise UserError(
                f"only {outskirts.acceptance.item():.2%} of the proposals are less likely than the quantile {quantile} "
                "of the codes, too few to draw from; raise map.quantile"
            )
        return cls(outskirts, torch.tensor(float(PROPOSALS)).to(real))

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "LowDensityBoundary":
        """Rebuild from proposal, estimate, threshold and acceptance."""
        t = tensors
        proposal = GaussianBoundary(t["mean"], t["factor"])
        estimate = Gaussians(t["weights"], t["means"], t["factors"])
        return cls(LowDensity(proposal, estimate, t["threshold"], t["acceptance"]), t["proposals"])

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """The first `n` proposals that are accepted, drawn as many at a time as should be enough."""
        found = torch.empty(0, self.dimension, device=generator.device)
        while len(found) < n:
            count = math.ceil(1.1 * (n - len(found)) / self.outskirts.acceptance.item()) + 10
            z = self.outskirts.proposal.sample(min(count, _BATCH), generator=generator)
            found = torch.cat([found, z[self.outskirts.accepts(z)]])
        return found[:n]

    def tensors(self) -> dict[str, Tensor]:
        """Proposal, estimate, threshold, acceptance and how it was measured."""
        r = self.outskirts
        estimate = {
            "weights": r.estimate.weights,
            "means": r.estimate.means,
            "factors": r.estimate.factors,
        }
        measured = {
            "threshold": r.threshold,
            "acceptance": r.acceptance,
            "proposals": self.proposals,
        }
        return r.proposal.tensors() | estimate | measured
