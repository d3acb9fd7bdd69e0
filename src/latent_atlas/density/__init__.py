"""What a density is, and the densities whose formula is known.

`Density` is what paths, samples and anomaly scores are computed from: `log_prob` says how likely a
code is, `score` in which direction that grows. `density.toys` has exact test densities.
"""

from latent_atlas.density.base import (
    Density,
    DensityRatioModel,
    Divergence,
    ExactRatio,
    SamplableDensity,
    StandardNormal,
)
from latent_atlas.density.gaussian_mixture import (
    GaussianMixture,
    fit_gaussian_mixture,
    fit_scale_mixture,
)
from latent_atlas.density.kernel import KernelDensity
from latent_atlas.density.membership import Membership

__all__ = [
    "Density",
    "DensityRatioModel",
    "Divergence",
    "ExactRatio",
    "GaussianMixture",
    "KernelDensity",
    "Membership",
    "SamplableDensity",
    "StandardNormal",
    "fit_gaussian_mixture",
    "fit_scale_mixture",
]
