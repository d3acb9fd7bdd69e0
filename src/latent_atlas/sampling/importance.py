"""Importance resampling and rejection sampling, with proposals from a known distribution."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from latent_atlas.density.base import gradient
from latent_atlas.errors import UserError, checked
from latent_atlas.progress import doing
from latent_atlas.sampling.base import Sampler, SamplerInfo, Samples, check_least
from latent_atlas.sampling.target import Target
from latent_atlas.sampling.weights import effective_sample_size, resampled
from latent_atlas.shapes import Latents, Values

__all__ = ["Importance", "Rejection"]

PILOT = 16_384  # proposals that estimate the bound and the cost of rejection sampling
BATCH = 65_536  # proposals per round
CLIMBERS, CLIMB = 64, 100  # gradient ascents that search for the highest weight; steps of each
MARGIN = 0.01  # nats added to the highest weight found
OTHERS = "choose importance, diffusion or smc"


@checked
@dataclass(frozen=True)
class Importance(Sampler):
    """Sampling-importance resampling: keep n of many proposals, by the weights target / proposal.

    Exact as the number of proposals grows. Samples repeat where the effective sample size of the
    proposals is below n; a warning says so.

    References:
        Using the SIR algorithm to simulate posterior distributions, Rubin 1988.

    Attributes:
        proposals: Proposals for each sample, 1 or more.
    """

    name: ClassVar[str] = "importance"
    proposals: int = 50

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: there are no proposals.
        """
        check_least(1, proposals=self.proposals)

    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes; the info has the effective sample size of all proposals."""
        points = target.propose(self.proposals * n, generator=generator)
        log_weights = target.log_ratio(points)
        kept = resampled(log_weights, n, generator=generator)
        effective = effective_sample_size(log_weights)
        info = SamplerInfo(
            sampler=self.name,
            effective_sample_size=effective,
            effective_share=effective / len(points),
        )
        collapsed = (
            f"the importance weights collapse: {len(points)} proposals have an effective sample "
            f"size of {effective:.0f}, fewer than the {n} samples asked for, so samples repeat; "
            "choose diffusion or smc, or give more proposals"
        )
        return Samples(points[kept], info, () if effective >= n else (collapsed,))


@checked
@dataclass(frozen=True)
class Rejection(Sampler):
    """Rejection sampling: accept a proposal with probability w(z) / M, w = target / proposal ≤ M.

    Exact where M is a bound. Without one, M is the highest w that gradient ascent from the best of
    some proposals finds. If a higher w is met later, the samples accepted before are kept with
    probability M_old / M_new and M is raised. The cost is M / E w proposals for each sample, which
    grows exponentially with the divergence in nats, so it is estimated first.

    References:
        Empirical supremum rejection sampling, Caffo, Booth and Davis 2002.

    Attributes:
        bound: log M in nats, such as the highest logit of a map; None estimates it.
        most: Largest number of proposals to draw before giving up, 1 or more.
    """

    name: ClassVar[str] = "rejection"
    bound: float | None = None
    most: int = 20_000_000

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: no proposals are allowed.
        """
        check_least(1, most=self.most)

    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes; the info has the number of proposals, their acceptance and log M.

        Raises:
            UserError: it would take, or took, more proposals than `most`.
        """
        pilot = target.propose(PILOT, generator=generator)
        log_weights = target.log_ratio(pilot)
        log_bound = (
            _highest(target, pilot, log_weights) if self.bound is None else float(self.bound)
        )
        _check_cost(log_weights, log_bound, n, self.most)
        kept, made, exceeded = pilot[:0], 0, 0
        while len(kept) < n:
            doing("samples", len(kept), n)
            if made >= self.most:
                raise UserError(
                    f"{made} proposals gave {len(kept)} of {n} samples at a bound of "
                    f"{log_bound:.1f} nats; {OTHERS}"
                )
            points = target.propose(BATCH, generator=generator)
            log_weights = target.log_ratio(points)
            made += len(points)
            excess = log_weights.max().item() - log_bound
            if excess > 0:
                exceeded += 1
                kept = kept[_uniform(kept[:, 0], generator) < math.exp(-excess)]
                log_bound += excess
            accepted = _uniform(log_weights, generator).log() < log_weights - log_bound
            kept = torch.cat([kept, points[accepted]])
        info = SamplerInfo(
            sampler=self.name, acceptance=len(kept) / made, proposals=made, log_bound=log_bound
        )
        return Samples(kept[:n], info, (_exceeded(exceeded, log_bound),) if exceeded else ())


def _check_cost(pilot: Values, log_bound: float, n: int, most: int) -> None:
    """Check that rejection sampling is affordable; the pilot's proposals estimate E w.

    Raises:
        UserError: it is not.
    """
    log_mean = pilot.logsumexp(0).item() - math.log(len(pilot))
    if log_bound == -math.inf or log_bound - log_mean + math.log(n) > math.log(most):
        cost = math.exp(min(log_bound - log_mean, 700.0)) if log_bound > -math.inf else math.inf
        raise UserError(
            f"rejection takes about {cost:.2g} proposals for each sample (the bound is "
            f"{log_bound:.1f} nats), so {n} samples would take more than the {most} proposals "
            f"allowed; {OTHERS}"
        )


def _highest(target: Target, points: Latents, log_weights: Values) -> float:
    """The highest log-weight in nats that gradient ascent with shrinking steps finds."""
    order = log_weights.argsort(descending=True)
    z, reach = points[order[:CLIMBERS]], 0.1 * points.std().item()
    highest = log_weights.max().item()
    for k in range(CLIMB):
        slope = gradient(target.log_ratio, z).nan_to_num(0)
        length = slope.norm(dim=1, keepdim=True).clamp_min(1e-12)
        z = z + reach * (1 - k / CLIMB) * slope / length
        highest = max(highest, target.log_ratio(z).max().item())
    return highest + MARGIN


def _exceeded(times: int, log_bound: float) -> str:
    """The warning that a weight exceeded the bound."""
    return (
        f"the bound was exceeded in {times} batches and raised to {log_bound:.2f} nats, so the "
        "samples are only nearly exact: too few lie where the ratio is highest, or the ratio has "
        "no maximum"
    )


def _uniform(like: Values, generator: torch.Generator) -> Values:
    """A uniform number in [0, 1) for each element."""
    return torch.rand(len(like), generator=generator, device=generator.device)
