"""Reference distributions that fake codes are drawn from.

The boundary r decides what D_z learns to tell apart from the data distribution, and log r turns its
logit into a density. A boundary is a density that can be sampled and fitted to codes; one whose
log-density is unknown still trains a D_z, but gives no `log_prob` and `score`.

| name | z_fake | log r |
|---|---|---|
| `prior` | N(0, I) | exact |
| `box` | uniform over the axis-aligned box that holds the codes | exact; -inf outside |
| `radius` | a random code and a normal displacement of root mean square length R | exact |
| `low-density` | a wide Gaussian, cut off where codes are dense | estimated constant; -inf there |
| `between` | on the line, or the turn, between two real codes | none |
| `mixture` | a weighted mix of the others | log-sum-exp, where all parts have one |
| `gaussian-diagonal`, `gaussian`, `gaussian-mixture` | fitted to the codes | exact |
"""

from latent_atlas.boundary.base import Boundary
from latent_atlas.boundary.between import BetweenBoundary
from latent_atlas.boundary.box import BoxBoundary
from latent_atlas.boundary.gaussian import DiagonalBoundary, GaussianBoundary, PriorBoundary
from latent_atlas.boundary.gaussian_mixture import GaussianMixtureBoundary
from latent_atlas.boundary.kernel import KernelBoundary
from latent_atlas.boundary.low_density import LowDensityBoundary
from latent_atlas.boundary.mixture import MixtureBoundary
from latent_atlas.boundary.registry import fit_boundary, load_boundary

__all__ = [
    "BetweenBoundary",
    "Boundary",
    "BoxBoundary",
    "DiagonalBoundary",
    "GaussianBoundary",
    "GaussianMixtureBoundary",
    "KernelBoundary",
    "LowDensityBoundary",
    "MixtureBoundary",
    "PriorBoundary",
    "fit_boundary",
    "load_boundary",
]
