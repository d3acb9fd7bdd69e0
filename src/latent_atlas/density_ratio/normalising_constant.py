"""E_r[exp l], the integral of exp(l) r for a learned logit l: 1 for a normalised density."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import Density, ExactRatio, StandardNormal
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.nn.latent_discriminator import Ensemble, batched_logits
from latent_atlas.sampling.adaptive import log_normalising_constant
from latent_atlas.shapes import Angles, Latents, Values, batched

__all__ = ["LogConstant", "log_mean_exp", "log_mean_ratio", "samples_for"]

PRECISE = 0.05  # nats of standard error above which particles are tempered, if not told otherwise
# Particles: 500, and up to 3,000 if these leave an error above it.
FEW, MANY = 500, 3_000
BATCH = 4_096  # codes at a time
NUMBERS = 2**27  # coordinates of all samples


class LogConstant(NamedTuple):
    """An estimate of log E_r[exp l].

    Attributes:
        nats: Its value.
        error: Its standard error in nats.
    """

    nats: float
    error: float


def samples_for(held_out: Codes) -> int:
    """Samples for `log_mean_ratio`: 4,000 to 100,000, for an error of 2 % on image codes.

    Of codes of over 1,342 coordinates they are fewer, so that they fit into 512 MiB.
    """
    return max(4_000, min(100 * len(held_out), 100_000, NUMBERS // held_out.means.shape[1]))


@torch.no_grad()
def log_mean_ratio(
    network: Ensemble,
    boundary: Boundary,
    outline: GaussianMixture,
    n: int,
    *,
    precise: float = PRECISE,
    generator: torch.Generator,
) -> LogConstant:
    """log E_r[exp l], by samples of r and of a rough estimate g of q.

    Samples of r alone hardly ever lie where q is if the two are some nats apart, and then the
    estimate is 0. With m = (r + g) / 2, E_r[exp l] = E_m[exp(l) r / m]. In many dimensions g is not
    near enough, and a few samples dominate; particles that are tempered to exp(l) r then
    estimate it. Where r has no log-density, samples of r alone are used.

    References:
        Weighted average importance sampling and defensive mixture distributions, Hesterberg 1995.

    Arguments:
        network: D_z in whitened coordinates.
        boundary: r.
        outline: g, in whitened coordinates.
        n: Samples of each.
        precise: Error in nats, above which particles are tempered.
        generator: Source of all randomness.
    """
    fake = boundary.whiten(boundary.sample(n, generator=generator))
    if not boundary.has_log_prob:
        return log_mean_exp(batched_logits(network, fake))
    # r in whitened coordinates, which are z itself where the boundary is not affine.
    r = StandardNormal(boundary.dimension) if boundary.affine else boundary
    z = torch.cat([fake, outline.sample(n, generator=generator)])
    log_r, log_g = (batched(known.log_prob, z, BATCH) for known in (r, outline))
    log_m = torch.logaddexp(log_r, log_g) - math.log(2)
    found = log_mean_exp(batched_logits(network, z) + log_r - log_m)
    if found.error <= precise or not boundary.affine:
        return found
    claimed = _Unnormalised(network, boundary.dimension, z.new_zeros(1))
    ratio = ExactRatio(claimed, _with_standard_normal(outline))
    particles = FEW
    while found.error > precise:
        tempered = log_normalising_constant(ratio, n=particles, generator=generator)
        better = LogConstant(tempered.nats, tempered.error)
        found = min(found, better, key=lambda one: one.error)
        # As many as the samples allow, if they can be expected to be better.
        more = min(MANY, n // 30)
        if particles >= more or better.error * (particles / more) ** 0.5 > found.error:
            break
        particles = more
    return found


class _Unnormalised(Density):
    """exp(l) N(0, I): the density that D_z claims, normalised or not."""

    def __init__(self, network: Ensemble, dimension: int, angle: Angles) -> None:
        """Arguments: D_z; d; the noise angle t = 0, shape (1,), on the device."""
        self.network = network
        self.dimension = dimension
        self.r = StandardNormal(dimension)
        self._sloped = network.at(angle)

    def log_prob(self, latents: Latents) -> Values:
        """l + log r, in nats."""
        return self.network(latents) + self.r.log_prob(latents)

    def score(self, latents: Latents) -> Latents:
        """Its gradient."""
        return self.log_prob_and_score(latents)[1]

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """Both, without autograd."""
        logit, slope = self._sloped(latents)
        return logit + self.r.log_prob(latents), slope - latents


def _with_standard_normal(outline: GaussianMixture) -> GaussianMixture:
    """(g + N(0, I)) / 2 for a g of full covariances: it is nowhere far below either."""
    identity = torch.eye(outline.dimension).to(outline.scales)[None]
    weights = torch.cat([outline.weights.sum()[None], outline.weights]) / 2
    means = torch.cat([torch.zeros_like(outline.means[:1]), outline.means])
    return GaussianMixture(weights, means, torch.cat([identity, outline.scales]))


def log_mean_exp(values: Tensor) -> LogConstant:
    """log of the mean of exp(values), shape (n,), without overflow; the error is to first order."""
    log_mean = torch.logsumexp(values, 0) - math.log(len(values))
    relative = (values - log_mean).exp().std() / len(values) ** 0.5
    return LogConstant(log_mean.item(), relative.item())
