r"""Weights under which samples have the mean, covariance and region shares of real codes.

The score of a learned density leads to where codes are, but it does not determine how much
probability separate regions have. Real codes do, by statistics φ: their mean, their covariance,
and their shares in K cells around k-means. Of all reweighted samples that have these statistics,
those of the least Kullback-Leibler divergence from the samples have the weights

    w_i ∝ exp(a · φ(z_i)),    φ(z) = (z, z zᵀ, 1[z in cell k]),
    a = argmin log Σ_i exp(a · (φ(z_i) - E φ)),

an exponential tilt: the maximum-likelihood fit of such a tilt of the density to the codes.

References:
    Entropy Balancing for Causal Effects, Hainmueller 2012.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.errors import checked
from latent_atlas.shapes import Latents, Values

__all__ = ["Codes", "cells_for", "enough", "matching"]

NEWTON, SHORTEST = 30, 1e-3  # Newton steps; the smallest fraction of one in the line search
EXACT = 1e-6  # largest difference of a statistic of standardised codes
SAMPLES_PER_STATISTIC = 8  # with fewer, the weights would fit the samples' noise
CODES_PER_CELL = 400  # so that the relative error of the share of a cell is 5 %
MOST_CELLS = 100

Codes = Float[Tensor, "m d"]
Statistics = Float[Tensor, "n p"]


def cells_for(m: int) -> int:
    """K, the number of cells whose shares m codes can estimate, 1 to 100."""
    return min(max(m // CODES_PER_CELL, 1), MOST_CELLS)


def enough(n: int, codes: Codes) -> bool:
    """Whether n samples suffice: 8 or more for each of the d + d (d + 1) / 2 + K - 1 statistics."""
    m, d = codes.shape
    return n >= SAMPLES_PER_STATISTIC * (d + d * (d + 1) // 2 + cells_for(m) - 1)


@checked
@torch.no_grad()
def matching(
    points: Latents, codes: Codes, *, cells: int | None = None, generator: torch.Generator
) -> Values | None:
    """Log-weights, shape (n,), that give samples the mean, covariance and cell shares of codes.

    Arguments:
        points: Samples, shape (n, d); see `enough`.
        codes: Real codes, shape (m, d).
        cells: K, 1 to m; None is `cells_for(m)`.
        generator: Source of the initial centres of k-means.

    Returns:
        The log-weights up to a constant, on the samples' device; None if no weights exist, for
        instance because the mean of the codes lies outside all samples.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> points = torch.randn(4_000, 2, generator=generator)
        >>> codes = torch.randn(4_000, 2, generator=generator) + 0.3
        >>> shares = matching(points, codes, cells=4, generator=generator).softmax(0)
        >>> bool(((shares @ points - codes.mean(dim=0)).abs() < 1e-4).all())
        True
    """
    # On the CPU, since not every device has double precision.
    samples, real = (z.cpu().double() for z in (points, codes))
    scale, mean = torch.std_mean(real, dim=0)
    samples, real = ((z - mean) / scale.clamp_min(1e-12) for z in (samples, real))
    centres = _centres(real, cells or cells_for(len(codes)), generator)
    centres = centres[_nearest(samples, centres).unique()]  # an empty cell has no weights to give
    have, wanted = (_statistics(z, centres) for z in (samples, real))
    away = have - wanted.mean(dim=0)
    tilt = away.new_zeros(away.shape[1])
    for _ in range(NEWTON):
        shares = (away @ tilt).softmax(dim=0)
        slope = shares @ away
        if slope.abs().max() < EXACT:
            return (away @ tilt).to(points)
        curvature = (away * shares[:, None]).T @ away - torch.outer(slope, slope)
        direction, failed = torch.linalg.solve_ex(curvature, slope)
        if failed or not direction.isfinite().all():
            break
        tilt = _lower(away, tilt, direction)
    return None


def _centres(standard: Codes, cells: int, generator: torch.Generator) -> Tensor:
    """Centres of the cells, shape (K, d), by k-means on standardised codes."""
    from sklearn.cluster import MiniBatchKMeans  # imported here, since loading it takes a second

    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    means = MiniBatchKMeans(cells, random_state=seed).fit(standard.numpy())
    return torch.from_numpy(means.cluster_centers_)


def _statistics(standard: Latents, centres: Tensor) -> Statistics:
    """φ(z), shape (n, p): coordinates, products of two, and all cells but the first."""
    i, j = torch.triu_indices(standard.shape[1], standard.shape[1])
    # The share of the first cell follows from the others.
    cells = F.one_hot(_nearest(standard, centres), len(centres))[:, 1:]
    return torch.cat([standard, standard[:, i] * standard[:, j], cells.to(standard)], dim=1)


def _nearest(standard: Latents, centres: Tensor) -> Tensor:
    """The cell of each code, shape (n,)."""
    return torch.cdist(standard, centres).argmin(dim=1)


def _lower(away: Statistics, tilt: Tensor, direction: Tensor) -> Tensor:
    """A Newton step, halved until log Σ exp(a · (φ - E φ)) decreases."""
    before, share = (away @ tilt).logsumexp(dim=0), 1.0
    while share > SHORTEST and (away @ (tilt - share * direction)).logsumexp(dim=0) >= before:
        share /= 2
    return tilt - share * direction
