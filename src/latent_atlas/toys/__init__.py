"""Exact worlds: densities with closed-form log_prob, score and sample.

A learned map is compared with these before it is believed, and journeys are tested on them with no network
in sight. Each follows its inputs: codes of either precision on any device are answered in kind.
"""

from latent_atlas.toys.arrangements import arc, clusters, ring, two_clusters, two_moons
from latent_atlas.toys.catalogue import catalogue
from latent_atlas.toys.mixture import GaussianMixture
from latent_atlas.toys.pairs import CorrelatedGaussian, Spiralled, correlated_gaussian
from latent_atlas.toys.radial import Shell, StudentT
from latent_atlas.toys.world import Divergence, World

__all__ = [
    "CorrelatedGaussian",
    "Divergence",
    "GaussianMixture",
    "Shell",
    "Spiralled",
    "StudentT",
    "World",
    "arc",
    "catalogue",
    "clusters",
    "correlated_gaussian",
    "ring",
    "two_clusters",
    "two_moons",
]
