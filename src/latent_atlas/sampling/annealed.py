r"""Draws from smooth to sharp: a population noised to N(0, I) and led back along the scores of its levels.

With z_t = cos(t) z + sin(t) eps the law q_t goes from q at t = 0 to N(0, I) at π/2, and so do the codes that follow

    dz/dt = -tan(t) (grad log q_t(z) + z),

the probability flow of this diffusion; the bracket is the gradient of log q_t - log N(0, I).
"""

import itertools
import math
from functools import partial

import torch

from latent_atlas.errors import UserError
from latent_atlas.kernels import MALA_ACCEPTED, State, mala, tuned
from latent_atlas.normaliser import worth
from latent_atlas.sampling.importance import resampled
from latent_atlas.sampling.target import PIECE, Draws, Target, Whitened, round_coordinates
from latent_atlas.shapes import Latents

__all__ = ["angles_down", "annealed"]

START = 1e-3  # radians from π/2, where q_t and N(0, I) can no longer be told apart
WASTED = 10  # draws of the population for each draw that something is asked of


def angles_down(steps: int) -> list[float]:
    """Angles from nearly π/2 to 0, `steps` + 1 of them, closer to each other towards 0 where q_t changes fastest."""
    return [(math.pi / 2 - START) * (1 - k / steps) ** 2 for k in range(steps + 1)]


@torch.no_grad()
def annealed(
    target: Target, n: int, *, steps: int = 64, churn: float = 0.0, moves: int = 20, generator: torch.Generator
) -> Draws:
    """Follow the levels of the density down from N(0, I), then move by MALA on the target itself.

    The flow is integrated by Heun's method. With `churn` it is stochastic: before each step the codes are noised up by
    so many steps, which is exact and forgets errors made before. Where something is asked of the draws, ten times as
    many are resampled by how well they serve. MALA at the end mends what the steps missed, and parts repeated draws;
    without moves and churn, a code depends on its noise alone.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations, Song et al. 2021, for the flow;
        Elucidating the Design Space of Diffusion-Based Generative Models, Karras et al. 2022, for Heun and churn;
        Following a Moving Target: Monte Carlo Inference for Dynamic Bayesian Models, Gilks and Berzuini 2001, for
        moves after resampling.

    Arguments:
        target: What is drawn from; its density has levels (`blurs`).
        n: How many draws.
        steps: From level to level, 1 or more; two scores each.
        churn: Steps by which codes are noised before each, 0 or more; 0 is deterministic.
        moves: Of MALA, 0 or more; half of them tune its step.
        generator: Source of all randomness.

    Returns:
        Draws. Their info has the `levels` used; the `acceptance` of the moves, if there are any; and, where something
        is asked of them, the `effective_share` and the `effective_samples` before these moves.

    Raises:
        UserError: the density has no levels, or a setting is too small.
    """
    _check(target, steps, churn, moves)
    count = n if target.plain else WASTED * n
    level = round_coordinates(target.density, generator.device)
    w = torch.randn(count, target.dimension, generator=generator, device=generator.device)
    points = level.back(_flowed(level, w, steps, churn, generator))
    info, notes = {"levels": float(steps)}, ()
    if not target.plain:
        log_weights = torch.cat([target.log_weight(part) for part in points.split(PIECE)])
        log_weights = log_weights.nan_to_num(-math.inf, None, -math.inf)
        points = points[resampled(log_weights, n, generator=generator)]
        effective = worth(log_weights)
        info |= {"effective_share": effective / count, "effective_samples": effective}
        notes = () if effective >= 0.1 * n else (_few(effective, n),)
    if moves:
        sharp = Whitened(target, level.mean, level.factor)
        state, acceptance = _moved(sharp, level.there(points), moves, generator)
        points, info["acceptance"] = sharp.back(state.latents), acceptance
    return Draws(points, info, notes)


def _flowed(level: Whitened, w: Latents, steps: int, churn: float, generator: torch.Generator) -> Latents:
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
    blurred = level.blurred(math.tan(t))
    score = torch.cat([blurred.score(part / cos) for part in w.split(PIECE)]) / cos
    return -math.tan(t) * (score + w)


def _moved(density: Whitened, w: Latents, moves: int, generator: torch.Generator) -> tuple[State, float]:
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
    if not target.density.blurs:
        raise UserError(
            "this density has no levels from smooth to sharp, so it cannot be annealed; choose importance, mala or "
            "hmc, or a map with levels"
        )
    for name, value, least in (("steps", steps, 1), ("churn", churn, 0), ("moves", moves, 0)):
        if value < least:
            raise UserError(f"{name} is {value}; choose {least} or more")


def _few(effective: float, n: int) -> str:
    """A sentence where hardly any draw of the population is what is asked for."""
    return (
        f"what is asked for is rare: the population's draws were worth {effective:.0f} of the {n} asked for before "
        "they were moved apart, so some resemble each other; ask for fewer, or for something wider"
    )
