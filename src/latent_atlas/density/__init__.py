"""What a density is, and the densities whose formula is known.

`Density` is what everything that travels, samples or scores images asks: how likely is a place, `log_prob`, and
which way does that grow, `score`. `density.toys` has exact test densities.
"""

from latent_atlas.density.base import (
    Density,
    DensityRatioModel,
    Divergence,
    ExactRatio,
    SamplableDensity,
    StandardNormal,
)
from latent_atlas.density.gaussian_mixture import GaussianMixture

__all__ = [
    "Density",
    "DensityRatioModel",
    "Divergence",
    "ExactRatio",
    "GaussianMixture",
    "SamplableDensity",
    "StandardNormal",
]
