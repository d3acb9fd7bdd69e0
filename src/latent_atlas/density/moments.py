"""Mean and covariance of codes, in double precision and never singular."""

import torch
from torch import Tensor

from latent_atlas.shapes import Latents

__all__ = ["cholesky", "extent"]

# Least standard deviation of a coordinate, as a share of the root mean square over coordinates, and
# of the coordinate's mean, below which differences are lost in float32.
NARROWEST, RESOLUTION = 1e-4, 1e-6
LEAST_EIGENVALUE = 1e-6  # of the correlation matrix, also where coordinates depend on each other


def extent(real: Latents) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate, both (d,), the latter bounded below.

    The bound is 1e-4 of the root mean square standard deviation over all coordinates, or 1e-6 of
    the coordinate's mean if that is more, so that a constant coordinate has a density as well.
    """
    codes = real.cpu().double()
    mean, variances = codes.mean(dim=0), codes.var(dim=0, correction=0)
    least = torch.maximum(NARROWEST * variances.mean().sqrt(), RESOLUTION * mean.abs())
    scales = torch.maximum(variances.sqrt(), least)
    return mean, torch.where(scales > 0, scales, 1.0)  # codes that are all at the origin


def cholesky(real: Latents) -> tuple[Tensor, Tensor]:
    """Mean (d,) and lower-triangular factor L (d, d) of the covariance Σ = L Lᵀ, for any n.

    Σ = S C S, with S the diagonal of `extent` and C the correlation matrix, shrunk towards I as far
    as the number of codes demands, and with eigenvalues of at least 1e-6.

    References:
        A well-conditioned estimator for large-dimensional covariance matrices, Ledoit and Wolf
        2004.
    """
    # Imported here because loading it takes a second, which other boundaries need not spend.
    from sklearn.covariance import ledoit_wolf

    mean, scales = extent(real)
    standard = (real.cpu().double() - mean) / scales
    correlation = torch.from_numpy(ledoit_wolf(standard.numpy(), assume_centered=True)[0])
    correlation.fill_diagonal_(1)  # also where a constant coordinate left a zero
    values, vectors = torch.linalg.eigh(correlation)
    correlation = (vectors * values.clamp(min=LEAST_EIGENVALUE)) @ vectors.T
    return mean, scales[:, None] * torch.linalg.cholesky(correlation)
