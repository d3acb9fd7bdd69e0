r"""The probability flow from N(0, I) to a density with noise levels.

With z_t = cos(t) z + sin(t) eps, eps ~ N(0, I), the distribution q_t goes from q at t = 0 to
N(0, I) at t = π/2, and so does the distribution of codes that follow

    dz/dt = -tan(t) (grad log q_t(z) + z),

the probability flow of this diffusion; the bracket is the gradient of log q_t - log N(0, I).

References:
    Score-Based Generative Modeling through Stochastic Differential Equations, Song et al. 2021;
    Elucidating the Design Space of Diffusion-Based Generative Models, Karras et al. 2022, for
    Heun's method and churn.
"""

import itertools
import math

import torch

from latent_atlas import progress
from latent_atlas.density.base import Density
from latent_atlas.sampling.whitened import PIECE
from latent_atlas.shapes import Latents, batched

__all__ = ["angles_down", "flow_down"]

START = 1e-3  # radians below π/2, where q_t and N(0, I) cannot be told apart


def angles_down(steps: int) -> list[float]:
    """`steps` + 1 angles from nearly π/2 to 0, denser towards 0 where q_t changes fastest."""
    return [(math.pi / 2 - START) * (1 - k / steps) ** 2 for k in range(steps + 1)]


def flow_down(
    density: Density, w: Latents, *, steps: int, churn: float = 0.0, generator: torch.Generator
) -> Latents:
    """Codes of the density from noise, along the probability flow.

    Arguments:
        density: q, in coordinates in which its noise levels add N(0, σ² I).
        w: Samples of N(0, I), shape (n, d).
        steps: Steps of Heun's method, 1 or more.
        churn: Before each step, noise is added that amounts to so many steps, 0 or more; 0 is
            deterministic.
        generator: Source of the churn.

    Returns:
        Codes, shape (n, d).
    """
    angles = angles_down(steps)
    for t, lower in progress.steps("flow", [*itertools.pairwise(angles)]):
        top = min(t + churn * (t - lower), angles[0])
        if top > t:
            w = _noised(w, t, top, generator)
        w = heun_step(density, w, top, lower)
    return w


def heun_step(density: Density, w: Latents, t: float, lower: float) -> Latents:
    """One step of Heun's method, of order 2: w' = w + h/2 (f(w, t) + f(w + h f(w, t), t + h))."""
    h = lower - t
    drift = _drift(density, w, t)
    # At t = 0 the drift is 0, since tan(0) is.
    second = _drift(density, w + h * drift, lower) if lower > 0 else torch.zeros_like(w)
    return w + 0.5 * h * (drift + second)


def _noised(w: Latents, t: float, top: float, generator: torch.Generator) -> Latents:
    """Codes of q_t with noise added until they are of q_top: cos(top) = cos(t) cos(a)."""
    cos = math.cos(top) / math.cos(t)
    eps = torch.randn(w.shape, generator=generator, device=generator.device)
    return cos * w + math.sqrt(1 - cos**2) * eps


def _drift(density: Density, w: Latents, t: float) -> Latents:
    """-tan(t) (grad log q_t(w) + w); q_t is the density of cos(t) (z + tan(t) eps)."""
    cos = math.cos(t)
    noised = density.noised(math.tan(t))
    score = batched(noised.score, w / cos, PIECE) / cos
    return -math.tan(t) * (score + w)
