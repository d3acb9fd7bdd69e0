"""Exact worlds: densities with closed-form log_prob, score and sample.

A learned map is compared with these before it is believed, and journeys are tested on them with no network
in sight. Each follows its inputs: codes of either precision on any device are answered in kind.
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
