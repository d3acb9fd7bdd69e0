"""Mean and covariance of codes, in double precision and never singular."""

import math

import torch
from torch import Tensor

from latent_atlas.shapes import Latents, Values

__all__ = ["cholesky", "extent", "squared_lengths"]

# Least standard deviation of a coordinate, as a share of the root mean square over coordinates, and
# of the coordinate's mean, below which differences are lost in float32.
NARROWEST, RESOLUTION = 1e-4, 1e-6
MANY, SHARES = 64, 61  # coordinates; shares of the identity that are tried
LEAST_LENGTH = 1e-30  # squared, of codes that are all the same
PASSES, RIDGE = 2, 0.1  # in which codes are weighted; share of the identity in them
LEAST_EIGENVALUE = 1e-6  # of the correlation matrix, also where coordinates depend on each other


def extent(real: Latents, weights: Values | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate, both (d,), the latter bounded below.

    The bound is 1e-4 of the root mean square standard deviation over all coordinates, or 1e-6 of
    the coordinate's mean if that is more, so that a constant coordinate has a density as well.

    Arguments:
        real: Codes, shape (n, d).
        weights: How much each counts, shape (n,), of mean 1.
    """
    codes = real.cpu().double()
    weights = torch.ones_like(codes[:, 0]) if weights is None else weights
    mean = weights @ codes / len(codes)
    variances = weights @ (codes - mean).square() / len(codes)
    least = torch.maximum(NARROWEST * variances.mean().sqrt(), RESOLUTION * mean.abs())
    scales = torch.maximum(variances.sqrt(), least)
    return mean, torch.where(scales > 0, scales, 1.0)  # codes that are all at the origin


def cholesky(real: Latents) -> tuple[Tensor, Tensor]:
    """Mean (d,) and lower-triangular factor L (d, d) of the covariance Σ = L Lᵀ, for any n.

    Σ = S C S, with S the diagonal of `extent` and C the correlation matrix, shrunk towards I as far
    as the number of codes demands, and with eigenvalues of at least 1e-6.

    Above 64 coordinates, codes count by their directions and not by their lengths, which differ
    more than a Gaussian's do. C is then shrunk as far as makes one code in ten likeliest by the
    others, and Σ has the scale at which all codes count alike.

    References:
        A well-conditioned estimator for large-dimensional covariance matrices, Ledoit and Wolf
        2004.
        A distribution-free M-estimator of multivariate scatter, Tyler 1987.
    """
    codes = real.cpu().double()
    weights, many = torch.ones_like(codes[:, 0]), codes.shape[1] > MANY
    mean, scales = extent(codes)
    if many:
        weights = _inverse_lengths((codes - mean) / scales)
        mean, scales = extent(codes, weights)
    standard = weights.sqrt()[:, None] * (codes - mean) / scales
    correlation = _likeliest(standard) if many else _ledoit_wolf(standard)
    correlation.fill_diagonal_(1)  # also where a constant coordinate left a zero
    values, vectors = torch.linalg.eigh(correlation)
    correlation = (vectors * values.clamp(min=LEAST_EIGENVALUE)) @ vectors.T
    factor = scales[:, None] * torch.linalg.cholesky(correlation)
    lengths = squared_lengths(codes - mean, factor).clamp_min(LEAST_LENGTH)
    return mean, factor * (lengths.mean() / (weights * lengths).mean()).sqrt()


def _inverse_lengths(standard: Tensor) -> Values:
    """Weights (n,) of mean 1: inverse squared lengths, by the covariance of codes that count so."""
    codes = standard.float()
    weights, identity = torch.ones_like(codes[:, 0]), torch.eye(codes.shape[1])
    for _ in range(PASSES):
        covariance = (codes.T * weights) @ codes / len(codes)
        lengths = squared_lengths(codes, torch.linalg.cholesky(covariance.lerp(identity, RIDGE)))
        weights = 1 / (1 + lengths)  # a code at the mean has no length
        weights /= weights.mean()
    return weights.double()


def squared_lengths(offsets: Tensor, factor: Tensor) -> Values:
    """Squared lengths (n,) of L⁻¹ z."""
    return torch.linalg.solve_triangular(factor, offsets.T, upper=False).square().sum(dim=0)


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
