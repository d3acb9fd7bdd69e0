"""Draws from any density: `draw(density, n, sampler=...)` returns `Samples`; `log_normalising_constant` integrates one."""

from latent_atlas.sampling.ais import NormalisingConstant, log_normalising_constant
from latent_atlas.sampling.convergence import bulk_ess, split_r_hat
from latent_atlas.sampling.registry import (
    BASELINES,
    CHAINS,
    SAMPLERS,
    Samples,
    chosen,
    draw,
    options_of,
)

__all__ = [
    "BASELINES",
    "CHAINS",
    "SAMPLERS",
    "NormalisingConstant",
    "Samples",
    "bulk_ess",
    "chosen",
    "draw",
    "log_normalising_constant",
    "options_of",
    "split_r_hat",
]
