"""Is the space easy to handle: dense, continuous, locally Euclidean; and do two sets overlap in it.

Everything is measured on a density, real codes and a decoder given as a function, of any
origin.
"""

from latent_atlas.geometry.distances import ByRadius, correlations, distances_by_radius
from latent_atlas.geometry.jacobian import Spectrum, estimated_spectrum, exact_spectrum, spectrum
from latent_atlas.geometry.prior_coverage import active_units, kl_per_image, prior_inside
from latent_atlas.geometry.smoothness import largest_steps, path_lengths
from latent_atlas.geometry.summary import Band, Geometry, Number, measure

__all__ = [
    "Band",
    "ByRadius",
    "Geometry",
    "Number",
    "Spectrum",
    "active_units",
    "correlations",
    "distances_by_radius",
    "estimated_spectrum",
    "exact_spectrum",
    "kl_per_image",
    "largest_steps",
    "measure",
    "path_lengths",
    "prior_inside",
    "spectrum",
]
