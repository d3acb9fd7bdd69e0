"""Draws from any density: `draw(density, n, sampler=...)` returns `Draws`; `log_normaliser` integrates one."""

from latent_atlas.sampling.ais import Normaliser, log_normaliser
from latent_atlas.sampling.convergence import bulk_ess, split_r_hat
from latent_atlas.sampling.registry import BASELINES, CHAINS, SAMPLERS, Draws, chosen, draw, options_of

__all__ = [
    "BASELINES",
    "CHAINS",
    "SAMPLERS",
    "Draws",
    "Normaliser",
    "bulk_ess",
    "chosen",
    "draw",
    "log_normaliser",
    "options_of",
    "split_r_hat",
]
