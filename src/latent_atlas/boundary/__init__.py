"""Where z_fake comes from.

The boundary r decides what D_z learns to tell apart from the population, and log r turns its logit into a
density. A boundary whose log-density is unknown still trains a D_z; only `log_prob` and `score` are then closed.

| name | z_fake | log r |
|---|---|---|
| `prior` | N(0, I) | exact |
| `box` | uniform over the axis-aligned box that holds the codes | exact; -inf outside |
| `radius` | a random code and a normal displacement of root mean square length R | exact |
| `density` | a wide Gaussian's draws where codes are rare | a Monte Carlo normaliser; -inf elsewhere |
| `mixture` | a weighted mix of the others | log-sum-exp, where all parts have one |
| `gaussian-diagonal`, `gaussian`, `gaussian-mixture` | fitted to the codes | exact |
"""

from latent_atlas.boundary.base import AffineBoundary, Boundary
from latent_atlas.boundary.box import BoxBoundary
from latent_atlas.boundary.gaussian import DiagonalBoundary, GaussianBoundary, PriorBoundary
from latent_atlas.boundary.gaussian_mixture import Gaussians, GaussiansBoundary, fit_gaussians
from latent_atlas.boundary.kernel import KernelBoundary
from latent_atlas.boundary.low_density import LowDensityBoundary
from latent_atlas.boundary.mixture import MixtureBoundary
from latent_atlas.boundary.registry import fit_boundary, load_boundary

__all__ = [
    "AffineBoundary",
    "Boundary",
    "BoxBoundary",
    "DiagonalBoundary",
    "GaussianBoundary",
    "Gaussians",
    "GaussiansBoundary",
    "KernelBoundary",
    "LowDensityBoundary",
    "MixtureBoundary",
    "PriorBoundary",
    "fit_boundary",
    "fit_gaussians",
    "load_boundary",
]
