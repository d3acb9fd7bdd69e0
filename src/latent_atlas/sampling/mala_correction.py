"""MALA moves after the probability flow: they remove the error of the flow's discretisation."""

from functools import partial

import torch

from latent_atlas.density.base import Density
from latent_atlas.sampling.kernels import MALA_ACCEPTED, State, mala, tuned
from latent_atlas.shapes import Latents

__all__ = ["corrected"]


def corrected(
    density: Density, latents: Latents, moves: int, *, generator: torch.Generator
) -> tuple[Latents, float]:
    """Move codes by MALA, which leaves the density invariant.

    References:
        Following a Moving Target: Monte Carlo Inference for Dynamic Bayesian Models, Gilks and
        Berzuini 2001, for moves after resampling.

    Arguments:
        density: q, normalised or not.
        latents: Where the chains start, shape (n, d).
        moves: 1 or more; the first half tunes the step size, which all chains share.
        generator: Source of all randomness.

    Returns:
        The codes, shape (n, d), and the mean acceptance probability of the second half.
    """
    step = partial(mala, density, generator=generator)
    state = State.at(density, latents)
    state, size = tuned(step, state, max(moves // 2, 1), MALA_ACCEPTED, shared=True)
    probabilities = []
    for _ in range(moves - moves // 2):
        state, probability = step(state, size)
        probabilities.append(probability.mean())
    return state.latents, torch.stack(probabilities).mean().item()
