"""Draws from any density: `draw(density, n, sampler=...)` returns `Draws`; `log_normaliser` integrates one."""

from latent_atlas.normaliser import Normaliser, log_normaliser
from latent_atlas.sampling.diagnostics import bulk_ess, split_r_hat
from latent_atlas.sampling.draw import BASELINES, CHAINS, SAMPLERS, Draws, chosen, draw, options_of

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
