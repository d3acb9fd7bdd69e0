"""How much mass a learned log-ratio claims: E_r[exp l], the integral of exp(l) r, which is 1 for an honest one."""

import math

import torch
from torch import nn

from latent_atlas.boundary.base import AffineBoundary, Boundary
from latent_atlas.boundary.gaussian_mixture import Gaussians
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import Density, ExactRatio, StandardNormal
from latent_atlas.density_ratio.noise_schedule import whitened
from latent_atlas.density_ratio.train import batched_logits
from latent_atlas.sampling.ais import log_normalising_constant
from latent_atlas.shapes import Latents, Values

__all__ = ["log_mean_exp", "log_mean_ratio", "meetings"]

MEASURED = 0.05  # nats of standard error above which chains measure the mass, and not draws alone
CHAINS, RUNGS = (
    3_000,
    40,
)  # of these, at most; 500 or a thirtieth of the draws, so that small sets are quick
PIECE = 4_096  # codes at a time


def meetings(held_out: Codes) -> int:
    """How many draws `log_mean_ratio` is worth: 4,000 to 100,000, which leave some 2 % of error on image codes."""
    return min(max(100 * len(held_out), 4_000), 100_000)


@torch.no_grad()
def log_mean_ratio(
    network: nn.Module,
    boundary: Boundary,
    population: Gaussians,
    n: int,
    *,
    generator: torch.Generator,
) -> tuple[float, float]:
    """log E_r[exp l] in nats and its standard error, by draws from where r is and from where the population is.

    Draws of r alone hardly meet a population that is some nats away, and then say 0. With m = (r + g) / 2, where g is
    roughly the population, E_r[exp l] = E_m[exp(l) r / m]. In many dimensions g is not near enough, and the few draws
    that are decide; chains that are annealed from m to exp(l) r then measure it. Where r has no density, it is draws
    of r alone.

    References:
        Weighted average importance sampling and defensive mixture distributions, Hesterberg 1995.

    Arguments:
        network: D_z in whitened coordinates.
        boundary: r.
        population: g, in whitened coordinates.
        n: Draws of each.
        generator: Source of all randomness.
    """
    fake = whitened(boundary, boundary.sample(n, generator=generator))
    r = (
        StandardNormal(boundary.dimension)
        if isinstance(boundary, AffineBoundary)
        else boundary.density
    )
    if r is None:
        return log_mean_exp(batched_logits(network, fake))
    z = torch.cat([fake, population.sample(n, generator=generator)])
    log_r, log_g = (
        torch.cat([known.log_prob(part) for part in z.split(PIECE)]) for known in (r, population)
    )
    nats, error = log_mean_exp(
        batched_logits(network, z) + log_r - torch.logaddexp(log_r, log_g) + math.log(2)
    )
    if error <= MEASURED or not isinstance(boundary, AffineBoundary):
        return nats, error
    between = ExactRatio(_Claimed(network, r), population.beside_standard_normal())
    climbed = log_normalising_constant(
        between, n=min(CHAINS, max(500, n // 30)), steps=RUNGS, generator=generator
    )
    return (climbed.nats, climbed.error) if climbed.error < error else (nats, error)


class _Claimed(Density):
    """exp(l) r: what D_z says that the population is, normalised or not."""

    def __init__(self, network: nn.Module, r: Density) -> None:
        self.network = network
        self.r = r
        self.dimension = r.dimension

    def log_prob(self, latents: Latents) -> Values:
        """l + log r, in nats."""
        return self.network(latents) + self.r.log_prob(latents)


def log_mean_exp(values: Values) -> tuple[float, float]:
    """log of the mean of exp(values), and its standard error to first order, without overflow."""
    log_mean = torch.logsumexp(values, 0) - math.log(len(values))
    relative = (values - log_mean).exp().std() / len(values) ** 0.5
    return log_mean.item(), relative.item()
