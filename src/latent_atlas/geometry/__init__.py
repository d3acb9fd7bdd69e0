"""Is the space easy to handle: dense, continuous, locally Euclidean; and do two sets overlap in it.

Everything is measured on a density, real codes and a decoder given as a function, of any
origin.
"""

from latent_atlas.geometry.comparison import Comparison, compare, kernel_test
from latent_atlas.geometry.distances import ByRadius, correlations, distances_by_radius
from latent_atlas.geometry.jacobian import Spectrum, estimated_spectrum, exact_spectrum, spectrum
from latent_atlas.geometry.manifold import Manifold, Overlap, manifold_of, overlap
from latent_atlas.geometry.prior_coverage import active_units, kl_per_image, prior_inside
from latent_atlas.geometry.smoothness import largest_steps, path_lengths
from latent_atlas.geometry.summary import Band, Geometry, Number, measure

__all__ = [
    "Band",
    "ByRadius",
    "Comparison",
    "Geometry",
    "Manifold",
    "Number",
    "Overlap",
    "Spectrum",
    "active_units",
    "compare",
    "correlations",
    "distances_by_radius",
    "estimated_spectrum",
    "exact_spectrum",
    "kernel_test",
    "kl_per_image",
    "largest_steps",
    "manifold_of",
    "measure",
    "overlap",
    "path_lengths",
    "prior_inside",
    "spectrum",
]
