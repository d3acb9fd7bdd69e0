"""The toy densities that learned maps are compared with."""

import math

import torch

from latent_atlas.density.base import SamplableDensity
from latent_atlas.density.toys.clusters import clusters, ring, two_moons
from latent_atlas.density.toys.correlated import Spiralled, correlated_gaussian
from latent_atlas.density.toys.radial import Shell, StudentT

__all__ = ["catalogue"]


def catalogue(dimension: int) -> dict[str, SamplableDensity]:
    """One density of each kind, always the same, of order one in every coordinate.

    | name | what is difficult about it |
    |---|---|
    | `clusters` | four, of different weights and widths, with empty regions between them |
    | `moons` | two bent sheets in two coordinates, which the others dilute |
    | `ring` | a circle in two coordinates, hollow and thin |
    | `shell` | hollow, and no coordinate alone shows it |
    | `correlated` | one nat of divergence for every eight coordinates, in pairs |
    | `spiral` | the same, rotated by radius: as far from the prior, but not Gaussian |
    | `tails` | 5 degrees of freedom: the prior is too thin far out |

    Arguments:
        dimension: d, even.

    Raises:
        UserError: the dimension is odd.
    """
    correlated = correlated_gaussian(dimension, mutual_information=dimension / 8)
    return {
        "clusters": clusters(dimension, generator=torch.Generator().manual_seed(dimension)),
        "moons": two_moons(dimension),
        "ring": ring(dimension),
        "shell": Shell(dimension, radius=0.8 * math.sqrt(dimension), width=0.3),
        "correlated": correlated,
        "spiral": Spiralled(correlated, turn=0.5),
        "tails": StudentT(dimension, freedom=5.0),
    }
