"""From a density to codes: the samplers by name."""

from dataclasses import dataclass

import torch

from latent_atlas.density import Density, ExactMembership, Membership, StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents

__all__ = ["SAMPLERS", "Draws", "draw"]

SAMPLERS = ("importance", "prior")
PROPOSALS = 50  # draws per wanted code
BATCH = 65_536  # proposals weighed at a time


@dataclass(frozen=True)
class Draws:
    """Codes drawn from a density.

    Attributes:
        points: Shape (n, d).
        info: What the sampler says of its work, by name.
    """

    points: Latents
    info: dict[str, float]


@torch.no_grad()
def draw(density: Density, n: int, sampler: str = "importance", *, generator: torch.Generator) -> Draws:
    """Draw `n` codes.

    importance: draw 50 n codes of the boundary r, or of the prior where the density has none, and keep n of them, each
    with probability in proportion to q / r (sampling importance resampling); `info` tells the effective share of the
    proposals, in (0, 1], and how many codes that is worth: where it is less than n, draws repeat.
    prior: N(0, I), which does not look at the density: the baseline.

    References:
        Using the SIR algorithm to simulate posterior distributions, Rubin 1988.

    Raises:
        UserError: n < 1, or there is no sampler of that name.
    """
    if n < 1:
        raise UserError(f"{n} samples were asked for; choose 1 or more")
    prior = StandardNormal(density.dimension)
    if sampler == "prior":
        return Draws(prior.sample(n, generator=generator), {})
    if sampler != "importance":
        raise UserError(f"no sampler '{sampler}'; choose {', '.join(SAMPLERS)}")
    if not isinstance(density, Membership):
        density = ExactMembership(density, prior)
    proposals = density.propose(PROPOSALS * n, generator=generator)
    weights = torch.cat([density.logit(part) for part in proposals.split(BATCH)]).softmax(dim=0)
    kept = _systematic(weights, n, generator)
    worth = (1 / weights.square().sum()).item()
    return Draws(proposals[kept], {"effective_share": worth / len(weights), "effective_samples": worth})


def _systematic(weights: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
    """Systematic resampling: n indices, index i drawn n · weights[i] times give or take one, in random order.

    References:
        Comparison of Resampling Schemes for Particle Filtering, Douc and Cappé 2005.
    """
    offset = torch.rand((), generator=generator, device=generator.device)
    ticks = (torch.arange(n, device=weights.device) + offset) / n
    indices = torch.searchsorted(weights.cumsum(0), ticks.to(weights.dtype)).clamp(max=len(weights) - 1)
    return indices[torch.randperm(n, generator=generator, device=generator.device)]
