"""Draws by weighing or refusing proposals from what is known: importance resampling and rejection."""

import math

import torch

from latent_atlas.density.base import gradient
from latent_atlas.errors import UserError
from latent_atlas.sampling.ais import effective_sample_size
from latent_atlas.sampling.target import Samples, Target
from latent_atlas.shapes import Latents, Values

__all__ = ["importance", "rejection", "resampled"]

PILOT = 16_384  # proposals by which rejection finds its bound and its cost
BATCH = 65_536  # proposals tried at a time
CLIMBERS, CLIMB = 64, 100  # proposals from which the highest weight is sought, and steps of each
MARGIN = 0.01  # nats above what they find
OTHERS = "choose importance, annealed, mala or hmc"


def importance(
    target: Target, n: int, *, proposals: int = 50, generator: torch.Generator
) -> Samples:
    """Keep n of many proposals, each with probability in proportion to target / proposal.

    References:
        Using the SIR algorithm to simulate posterior distributions, Rubin 1988.

    Arguments:
        target: What is drawn from; it knows what to propose from.
        n: How many draws.
        proposals: For each draw, 1 or more.
        generator: Source of all randomness.

    Returns:
        Draws. Their info has the `effective_share` of the proposals, in (0, 1], and the `effective_samples` that they
        are worth: where that is less than n draws repeat, and a note says so.
    """
    if proposals < 1:
        raise UserError(f"{proposals} proposals for each draw were asked for; choose 1 or more")
    points = target.propose(proposals * n, generator=generator)
    log_weights = target.log_ratio(points)
    kept = resampled(log_weights, n, generator=generator)
    effective = effective_sample_size(log_weights)
    info = {"effective_share": effective / len(points), "effective_samples": effective}
    notes = () if effective >= n else (_collapsed(len(points), effective, n),)
    return Samples(points[kept], info, notes)


def rejection(
    target: Target,
    n: int,
    *,
    bound: float | None = None,
    most: int = 20_000_000,
    generator: torch.Generator,
) -> Samples:
    """Accept each proposal with probability w(z) / M, where w = target / proposal and M bounds it.

    Exact where M does. Without a bound, M is the highest w that climbing from the best of some proposals finds; should
    a higher one be met all the same, what was accepted before is kept with probability M_old / M_new, and M is raised.
    It costs M / E w proposals for each draw, which grows exponentially with the divergence in nats; so the cost is
    estimated first, and refused if it is too high.

    References:
        Empirical supremum rejection sampling, Caffo, Booth and Davis 2002.

    Arguments:
        target: What is drawn from; it knows what to propose from.
        n: How many draws.
        bound: log M in nats, if it is known: of a map, its highest logit.
        most: Proposals that may be spent.
        generator: Source of all randomness.

    Returns:
        Draws. Their info has the `proposals` made, their `acceptance` and the `log_bound`; a note says if it was
        exceeded.

    Raises:
        UserError: it would take, or took, too many proposals.
    """
    pilot = target.propose(PILOT, generator=generator)
    log_weights = target.log_ratio(pilot)
    log_bound = _highest(target, pilot, log_weights) if bound is None else bound
    _check_cost(log_weights, log_bound, n, most)
    kept, made, exceeded = pilot[:0], 0, 0
    while len(kept) < n:
        if made >= most:
            raise UserError(
                f"{made} proposals gave {len(kept)} of {n} draws, at a bound of {log_bound:.1f} nats; {OTHERS}"
            )
        points = target.propose(BATCH, generator=generator)
        log_weights = target.log_ratio(points)
        made += len(points)
        excess = log_weights.max().item() - log_bound
        if excess > 0:
            exceeded += 1
            kept = kept[_coins(kept[:, 0], generator) < math.exp(-excess)]
            log_bound += excess
        kept = torch.cat(
            [kept, points[_coins(log_weights, generator).log() < log_weights - log_bound]]
        )
    info = {"proposals": float(made), "acceptance": len(kept) / made, "log_bound": log_bound}
    return Samples(kept[:n], info, (_exceeded(exceeded, log_bound),) if exceeded else ())


def resampled(log_weights: Values, n: int, *, generator: torch.Generator) -> torch.Tensor:
    """Systematic resampling: n indices, index i drawn n · w_i / Σ w times give or take one, in random order.

    References:
        Comparison of Resampling Schemes for Particle Filtering, Douc and Cappé 2005.

    Raises:
        UserError: no weight is above 0.
    """
    if log_weights.max() == -math.inf:
        raise UserError(
            f"none of {len(log_weights)} proposals is what is asked for; ask for a class or a range that the "
            "population has, or for a wider one"
        )
    shares = (
        log_weights.cpu().double().softmax(dim=0)
    )  # sums of many in single precision would lose the last ones
    offset = torch.rand((), generator=generator, device=generator.device).item()
    ticks = (torch.arange(n, dtype=shares.dtype) + offset) / n
    indices = (
        torch.searchsorted(shares.cumsum(0), ticks)
        .clamp(max=len(shares) - 1)
        .to(log_weights.device)
    )
    return indices[torch.randperm(n, generator=generator, device=generator.device)]


def _collapsed(proposals: int, effective: float, n: int) -> str:
    """A sentence where the weights lie on too few proposals."""
    return (
        f"importance weights collapse: {proposals} proposals are worth {effective:.0f} draws, fewer than the {n} asked "
        "for, so draws repeat; choose annealed, or give more proposals"
    )


def _check_cost(pilot: Values, log_bound: float, n: int, most: int) -> None:
    """One sentence where rejection would take too long; E w is estimated by the pilot's proposals."""
    log_mean = pilot.logsumexp(0).item() - math.log(len(pilot))
    if log_bound == -math.inf or log_bound - log_mean + math.log(n) > math.log(most):
        cost = math.exp(min(log_bound - log_mean, 700.0)) if log_bound > -math.inf else math.inf
        raise UserError(
            f"rejection takes about {cost:.2g} proposals for each draw (the bound is {log_bound:.1f} nats), so {n} "
            f"draws would take more than the {most} allowed; {OTHERS}"
        )


def _highest(target: Target, points: Latents, log_weights: Values) -> float:
    """The highest log-weight in nats that ever shorter steps up its slope find, from the best of some proposals."""
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
    """A sentence where a larger weight than the bound was met."""
    return (
        f"the bound was exceeded in {times} batches and raised to {log_bound:.2f} nats, so the draws are only nearly "
        "exact: too few lie where the ratio is highest, or it has no highest value"
    )


def _coins(like: Values, generator: torch.Generator) -> Values:
    """Uniform numbers in [0, 1), one for each."""
    return torch.rand(len(like), generator=generator, device=generator.device)
