"""Toy densities with closed-form log_prob, score and sample.

Learned maps are compared with these, and paths are tested on them without any network. Each gives
its results in the precision and on the device of its inputs.
"""

from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.density.toys.clusters import arc, clusters, ring, two_clusters, two_moons
from latent_atlas.density.toys.correlated import CorrelatedGaussian, Spiralled, correlated_gaussian
from latent_atlas.density.toys.radial import Shell, StudentT
from latent_atlas.density.toys.suite import catalogue

__all__ = [
    "CorrelatedGaussian",
    "GaussianMixture",
    "Shell",
    "Spiralled",
    "StudentT",
    "arc",
    "catalogue",
    "clusters",
    "correlated_gaussian",
    "ring",
    "two_clusters",
    "two_moons",
]
