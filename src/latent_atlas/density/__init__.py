"""What a density is, and the densities whose formula is known.

`Density` is what everything that travels, samples or scores images asks: how likely is a place, `log_prob`, and
which way does that grow, `score`. `density.toys` has exact test densities.
"""

from latent_atlas.density.base import Density, Divergence, ExactMembership, Membership, Source, StandardNormal
from latent_atlas.density.gaussian_mixture import GaussianMixture

__all__ = [
    "Density",
    "Divergence",
    "ExactMembership",
    "GaussianMixture",
    "Membership",
    "Source",
    "StandardNormal",
]
