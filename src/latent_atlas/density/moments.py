"""Mean and covariance of codes, in double precision and never singular."""

import math

import torch
from torch import Tensor

from latent_atlas.shapes import Latents

__all__ = ["cholesky", "extent"]

# Least standard deviation of a coordinate, as a share of the root mean square over coordinates, and
# of the coordinate's mean, below which differences are lost in float32.
NARROWEST, RESOLUTION = 1e-4, 1e-6
MANY, SHARES = 64, 61  # coordinates; shares of the identity that are tried
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
    as the number of codes demands, and with eigenvalues of at least 1e-6. Above 64 coordinates it
    is shrunk as far as makes one code in ten likeliest by the covariance of the others.

    References:
        A well-conditioned estimator for large-dimensional covariance matrices, Ledoit and Wolf
        2004.
    """
    mean, scales = extent(real)
    standard = (real.cpu().double() - mean) / scales
    shrunk = _likeliest if standard.shape[1] > MANY else _ledoit_wolf
    correlation = shrunk(standard)
    correlation.fill_diagonal_(1)  # also where a constant coordinate left a zero
    values, vectors = torch.linalg.eigh(correlation)
    correlation = (vectors * values.clamp(min=LEAST_EIGENVALUE)) @ vectors.T
    return mean, scales[:, None] * torch.linalg.cholesky(correlation)


def _ledoit_wolf(standard: Tensor) -> Tensor:
    # Imported here because loading it takes a second, which other boundaries need not spend.
    from sklearn.covariance import ledoit_wolf

    return torch.from_numpy(ledoit_wolf(standard.numpy(), assume_centered=True)[0])


def _likeliest(standard: Tensor) -> Tensor:
    """(1 - ρ) C + ρ I, with the ρ under which every tenth code is likeliest by the others.

    The estimate of Ledoit and Wolf has the least squared error; of many coordinates, it leaves the
    narrow directions, which decide the density, too wide.
    """
    judged = torch.arange(len(standard)) % 10 == 0
    values, vectors = torch.linalg.eigh(_second_moments(standard[~judged]))
    squares = (standard[judged] @ vectors).square().mean(dim=0)
    shares = torch.logspace(math.log10(LEAST_EIGENVALUE), 0, SHARES, dtype=torch.float64)
    shrunk = (1 - shares[:, None]) * values.clamp_min(0) + shares[:, None]
    rho = shares[(shrunk.log() + squares / shrunk).sum(dim=1).argmin()]
    identity = torch.eye(standard.shape[1], dtype=torch.float64)
    return (1 - rho) * _second_moments(standard) + rho * identity


def _second_moments(standard: Tensor) -> Tensor:
    return standard.T @ standard / len(standard)
