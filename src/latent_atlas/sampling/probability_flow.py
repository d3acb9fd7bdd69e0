r"""Draws from smooth to sharp: a population noised to N(0, I) and led back along the scores of its levels.

With z_t = cos(t) z + sin(t) eps the law q_t goes from q at t = 0 to N(0, I) at π/2, and so do the codes that follow

    dz/dt = -tan(t) (grad log q_t(z) + z),

the probability flow of this diffusion; the bracket is the gradient of log q_t - log N(0, I).
"""

import itertools
import math
from functools import partial

import torch
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.sampling.ais import effective_sample_size
from latent_atlas.sampling.entropy_balancing import Codes, enough, matching
from latent_atlas.sampling.importance import resampled
from latent_atlas.sampling.kernels import MALA_ACCEPTED, State, mala, tuned
from latent_atlas.sampling.target import PIECE, Samples, Target, Whitened, round_coordinates
from latent_atlas.shapes import Latents, Values

__all__ = ["angles_down", "annealed"]

START = 1e-3  # radians from π/2, where q_t and N(0, I) can no longer be told apart
WASTED = 10  # draws of the population for each draw that something is asked of
SPARE = 2  # draws of the population for each draw that is matched with codes, so that hardly any repeats


def angles_down(steps: int) -> list[float]:
    """Angles from nearly π/2 to 0, `steps` + 1 of them, closer to each other towards 0 where q_t changes fastest."""
    return [(math.pi / 2 - START) * (1 - k / steps) ** 2 for k in range(steps + 1)]


@torch.no_grad()
def annealed(
    target: Target,
    n: int,
    *,
    steps: int = 32,
    churn: float = 0.0,
    moves: int = 20,
    codes: Codes | None = None,
    generator: torch.Generator,
) -> Samples:
    """Follow the levels of the density down from N(0, I).

    The flow is integrated by Heun's method. With `churn` it is stochastic: before each step the codes are noised up by
    so many steps, which is exact and forgets errors made before. The levels lead next to the target, and moves of MALA
    on it the rest of the way. Without churn, moves and codes, a code depends on its noise alone.

    A learned density is better at telling one code from another than at how much lies where. So with real codes twice
    as many are drawn, and n of them kept so that their mean, their covariance and their shares of regions are those of
    the codes (`matching`), where n is enough to tell these from chance. Where something else is asked of the draws, ten
    times as many come down the levels and are resampled by how well they serve; the moves then part those that repeat.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations, Song et al. 2021, for the flow;
        Elucidating the Design Space of Diffusion-Based Generative Models, Karras et al. 2022, for Heun and churn;
        Following a Moving Target: Monte Carlo Inference for Dynamic Bayesian Models, Gilks and Berzuini 2001, for
        moves after resampling.

    Arguments:
        target: What is drawn from; its density has levels (`noise_levels`).
        n: How many draws.
        steps: From level to level, 1 or more; two scores each.
        churn: Steps by which codes are noised before each, 0 or more; 0 is deterministic.
        moves: Of MALA on the target itself, 0 or more; half of them tune its step.
        codes: Real ones, shape (m, d), which draws of the whole population are to match.
        generator: Source of all randomness.

    Returns:
        Draws. Their info has the `levels` used; the `acceptance` of the moves, if there are any; and, where draws were
        resampled, the `effective_share` and the `effective_samples` that they were worth.

    Raises:
        UserError: the density has no levels, or a setting is too small.
    """
    _check(target, steps, churn, moves)
    real = codes if target.plain and codes is not None and enough(SPARE * n, codes) else None
    count = n * (WASTED if not target.plain else 1 if real is None else SPARE)
    level = round_coordinates(target.density, generator.device)
    w = torch.randn(count, target.dimension, generator=generator, device=generator.device)
    points = level.back(_flowed(level, w, steps, churn, generator))
    info, notes = {"levels": float(steps)}, ()
    if not target.plain:
        log_weights, notes = _wished(target, points, n)
        points, told = _kept(points, log_weights, n, generator)
        info |= told
    if moves:
        sharp = Whitened(target, level.mean, level.factor)
        state, info["acceptance"] = _moved(sharp, level.there(points), moves, generator)
        points = sharp.back(state.latents)
    if real is not None:
        log_weights, notes = _matched(points, real, generator)
        points, told = _kept(points, log_weights, n, generator)
        info |= told
    return Samples(points, info, notes)


def _kept(
    points: Latents, log_weights: Values, n: int, generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The n draws that are kept by their weights, and how many all of them are worth."""
    effective = effective_sample_size(log_weights)
    kept = points[resampled(log_weights, n, generator=generator)]
    return kept, {"effective_share": effective / len(points), "effective_samples": effective}


def _flowed(
    level: Whitened, w: Latents, steps: int, churn: float, generator: torch.Generator
) -> Latents:
    """Codes of N(0, I) led down to t = 0; the drift there is 0, since tan(0) is."""
    angles = angles_down(steps)
    for t, lower in itertools.pairwise(angles):
        top = min(t + churn * (t - lower), angles[0])
        if top > t:  # cos(top) = cos(t) cos(a): noising by a leads from t to top
            cos = math.cos(top) / math.cos(t)
            eps = torch.randn(w.shape, generator=generator, device=generator.device)
            w = cos * w + math.sqrt(1 - cos**2) * eps
        drift = _drift(level, w, top)
        there = w + (lower - top) * drift
        if lower > 0:
            w = w + (lower - top) * 0.5 * (drift + _drift(level, there, lower))
        else:
            w = w + (lower - top) * 0.5 * drift
    return w


def _drift(level: Whitened, w: Latents, t: float) -> Latents:
    """-tan(t) (grad log q_t(w) + w); q_t is the density blurred by tan t and shrunk by cos t."""
    cos = math.cos(t)
    noised = level.noised(math.tan(t))
    score = torch.cat([noised.score(part / cos) for part in w.split(PIECE)]) / cos
    return -math.tan(t) * (score + w)


def _moved(
    density: Whitened, w: Latents, moves: int, generator: torch.Generator
) -> tuple[State, float]:
    """Some moves of MALA, the first half of which finds its step; and how many of the others were accepted."""
    step = partial(mala, density, generator=generator)
    state, size = tuned(step, State.at(density, w), max(moves // 2, 1), MALA_ACCEPTED, shared=True)
    chances = []
    for _ in range(moves - moves // 2):
        state, chance = step(state, size)
        chances.append(chance.mean())
    return state, torch.stack(chances).mean().item()


def _check(target: Target, steps: int, churn: float, moves: int) -> None:
    """One sentence on what cannot be annealed."""
    if not target.density.noise_levels:
        raise UserError(
            "this density has no levels from smooth to sharp, so it cannot be annealed; choose importance, mala or "
            "hmc, or a map with levels"
        )
    for name, value, least in (("steps", steps, 1), ("churn", churn, 0), ("moves", moves, 0)):
        if value < least:
            raise UserError(f"{name} is {value}; choose {least} or more")


def _wished(target: Target, points: Latents, n: int) -> tuple[Values, tuple[str, ...]]:
    """How well draws of the population serve, in nats, and a sentence where hardly any of them do."""
    log_weights = torch.cat([target.log_weight(part) for part in points.split(PIECE)])
    log_weights = log_weights.nan_to_num(-math.inf, None, -math.inf)
    effective = effective_sample_size(log_weights)
    few = (
        f"what is asked for is rare: the population's draws were worth {effective:.0f} of the {n} asked for before "
        "they were moved apart, so some resemble each other; ask for fewer, or for something wider"
    )
    return log_weights, () if effective >= 0.1 * n else (few,)


def _matched(
    points: Latents, codes: Codes, generator: torch.Generator
) -> tuple[Values, tuple[str, ...]]:
    """Log-weights that match what is known of codes, and a sentence where none do."""
    log_weights = matching(points, codes, generator=generator)
    if log_weights is not None:
        return log_weights, ()
    note = (
        "the draws are as the map has them: no weights bring their mean and covariance to those of the real codes, so "
        "the map is far from these; train it longer"
    )
    return points.new_zeros(len(points)), (note,)
