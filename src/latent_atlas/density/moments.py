"""Centre and extent of a set of codes, in double precision and never singular."""

import torch
from torch import Tensor

from latent_atlas.shapes import Latents

__all__ = ["cholesky", "extent"]

NARROWEST = 1e-4  # of the codes' root mean square standard deviation: what a constant coordinate is taken to have
RESOLUTION = 1e-6  # of a coordinate's mean, likewise: finer differences are lost in float32
LEAST_EIGENVALUE = (
    1e-6  # of the correlation matrix: what coordinates that determine each other are taken to leave
)


def extent(real: Latents) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate, both (d,), the latter above a floor.

    The floor is 1e-4 of the root mean square standard deviation over all coordinates, or 1e-6 of the coordinate's
    mean if that is more, so that a constant coordinate has a density as well.
    """
    codes = real.cpu().double()
    mean, variances = codes.mean(dim=0), codes.var(dim=0, correction=0)
    floor = torch.maximum(NARROWEST * variances.mean().sqrt(), RESOLUTION * mean.abs())
    return mean, torch.maximum(variances.sqrt(), floor)


def cholesky(real: Latents) -> tuple[Tensor, Tensor]:
    """Mean (d,) and lower-triangular factor L (d, d) of the covariance Σ = L Lᵀ of codes, however few.

    Σ = S C S, with S the diagonal of `extent` and C the correlation matrix, shrunk towards I as far as the number of
    codes demands, and with eigenvalues of at least 1e-6.

    References:
        A well-conditioned estimator for large-dimensional covariance matrices, Ledoit and Wolf 2004.
    """
    from sklearn.covariance import (
        ledoit_wolf,  # here, because loading it takes a second that other boundaries save
    )

    mean, scales = extent(real)
    standard = (real.cpu().double() - mean) / scales
    correlation = torch.from_numpy(ledoit_wolf(standard.numpy(), assume_centered=True)[0])
    correlation.fill_diagonal_(1)  # also where a constant coordinate left a zero
    values, vectors = torch.linalg.eigh(correlation)
    correlation = (vectors * values.clamp(min=LEAST_EIGENVALUE)) @ vectors.T
    return mean, scales[:, None] * torch.linalg.cholesky(correlation)
