"""Draws by Markov chains: ULA, MALA and HMC, many at once, tuned in a warm-up and judged by R-hat."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.moments import cholesky
from latent_atlas.errors import UserError
from latent_atlas.sampling.convergence import bulk_ess, split_r_hat
from latent_atlas.sampling.importance import importance, resampled
from latent_atlas.sampling.kernels import MALA_ACCEPTED, State, hmc, mala, tuned, ula
from latent_atlas.sampling.probability_flow import annealed
from latent_atlas.sampling.target import Samples, Target, Whitened
from latent_atlas.shapes import Latents, Values

__all__ = ["HMC", "MALA", "ULA", "Method", "chains"]

MIXED = 1.05  # R-hat above which chains are said not to have mixed
MOST = 10_000  # chains, if their number is not given
FEWEST = 4
JUDGED = 50  # states that are kept of each chain, or more: fewer say nothing of it
JITTER = 0.2  # share by which HMC's step varies, lest its orbits close


@dataclass(frozen=True)
class Method:
    """A kernel to draw with, and the share of its moves that its step is tuned to accept."""

    name: str
    kernel: Callable[..., tuple[State, Values]]
    accepted: float


def _jittered_hmc(
    density: Density, state: State, step: Values, *, generator: torch.Generator
) -> tuple[State, Values]:
    """HMC whose step length is drawn anew each time, whatever the state, which leaves the density as it is."""
    draws = torch.rand(len(step), generator=generator, device=generator.device).to(step)
    return hmc(density, state, step * (1 + JITTER * (2 * draws - 1)), generator=generator)


ULA = Method("ula", ula, 0.95)
MALA = Method("mala", mala, MALA_ACCEPTED)
HMC = Method("hmc", _jittered_hmc, 0.8)


@torch.no_grad()
def chains(
    method: Method,
    target: Target,
    n: int,
    *,
    chains: int | None = None,
    warmup: int = 100,
    thin: int | None = None,
    codes: Tensor | None = None,
    generator: torch.Generator,
) -> Samples:
    """Run many chains in coordinates in which their starts are round, and keep every `thin`-th state.

    The step is tuned in the warm-up by the mean acceptance of all chains, and fixed from then on. The chains start from
    real codes if they are given, else from `annealed` draws where the density has levels, else from `importance` draws;
    near a code, always from the latter.

    Arguments:
        method: ULA, MALA or HMC.
        target: What is drawn from.
        n: How many draws.
        chains: How many; by default n, from 4 to 10,000: chains that do not mix are worth one draw each.
        warmup: Steps that tune the step and are forgotten, 10 or more.
        thin: Steps from one kept state to the next, 1 or more; by default 5, and 20 near a code, where the proposals
            that the chains start from are often worth few draws.
        codes: Real codes to start from, shape (m, d).
        generator: Source of all randomness.

    Returns:
        Draws, spread evenly over the kept states of all chains. Their info has the `acceptance`; the `step` a in
        squared standard deviations of the starts; `r_hat`, the largest of any coordinate and of log q; the
        `effective_samples` that the n draws are worth at least, and the `effective_share` of all kept states that they
        are; how many `chains` there were; and whether they `converged`, 1 or 0: a note says if not.

    Raises:
        UserError: a setting is too small, or the codes are not the density's.
    """
    count = min(max(n, FEWEST), MOST) if chains is None else chains
    thin = (5 if target.near is None else 20) if thin is None else thin
    for name, value, least in (("chains", count, 1), ("warmup", warmup, 10), ("thin", thin, 1)):
        if value < least:
            raise UserError(f"{name} is {value}; choose {least} or more")
    start, notes = _starts(target, count, codes, generator)
    mean, factor = (moment.to(start) for moment in cholesky(start))
    density = Whitened(target, mean, factor)
    kernel = partial(method.kernel, density, generator=generator)
    state = State.at(density, density.there(start))
    state, step = tuned(kernel, state, warmup, method.accepted, shared=True)
    each = -(-n // count)
    kept, chances = [], []
    for k in range(1, thin * max(each, JUDGED) + 1):
        state, chance = kernel(state, step)
        chances.append(chance.mean())
        if k % thin == 0:
            kept.append(torch.cat([state.latents, state.log_probs[:, None]], dim=1))
    trace = torch.stack(kept)
    points = density.back(_evenly(trace[..., :-1], n, each, generator))
    info = {
        "acceptance": torch.stack(chances).mean().item(),
        "step": step.mean().item(),
        **_judged(trace, n),
    }
    # Chains that have mixed have forgotten where they started.
    return Samples(
        points, info, () if info["converged"] else (*notes, _unmixed(info["r_hat"], target))
    )


def _starts(
    target: Target, n: int, codes: Tensor | None, generator: torch.Generator
) -> tuple[Latents, tuple[str, ...]]:
    """Where n chains start, shape (n, d), and what should be known of it."""
    if codes is not None:
        if codes.ndim != 2 or codes.shape[1] != target.dimension or not codes.isfinite().all():
            raise UserError(
                f"codes to start from are finite and of shape (m, {target.dimension}); these are {tuple(codes.shape)}"
            )
        log_weights = target.log_weight(codes).nan_to_num(-math.inf, None, -math.inf)
        return codes[resampled(log_weights, n, generator=generator)], ()
    if target.density.noise_levels and target.near is None:
        draws = annealed(target, n, moves=0, generator=generator)
    else:
        draws = importance(target, n, generator=generator)
    return draws.points, tuple(f"the chains' starts: {note}" for note in draws.notes)


def _evenly(trace: Tensor, n: int, each: int, generator: torch.Generator) -> Latents:
    """`n` of the states (steps, chains, d), `each` of a chain or one fewer, as far apart as they can be."""
    rows = len(trace) - 1 - (len(trace) // each) * torch.arange(each, device=trace.device)
    order = torch.randperm(trace.shape[1], generator=generator, device=generator.device)
    return trace[rows][:, order].flatten(0, 1)[:n]


def _judged(trace: Tensor, n: int) -> dict[str, float]:
    """R-hat and effective sample size, the worst of any coordinate and of log q."""
    steps, count, _ = trace.shape
    r_hat, effective = split_r_hat(trace).max().item(), bulk_ess(trace).min().item()
    share = min(effective / (steps * count), 1.0)
    return {
        "r_hat": r_hat,
        "effective_share": share,
        "effective_samples": share * n,
        "chains": float(count),
        "converged": float(r_hat <= MIXED),
    }


def _unmixed(r_hat: float, target: Target) -> str:
    """A sentence where chains in different places do not visit the same places."""
    otherwise = "choose annealed" if target.near is None else "choose a smaller width"
    return (
        f"the chains have not mixed (R-hat {r_hat:.2f}, above {MIXED}): each stays near its start, so the shares of "
        f"separate clusters are those of the starts; thin more, or {otherwise}"
    )
