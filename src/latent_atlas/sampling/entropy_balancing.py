r"""Weights that bring draws to what is known of real codes as a whole, and otherwise leave them as they are.

A learned density tells one code from another, and its score leads to where codes are; how much lies here and how much
there it knows less well, since between separate regions no score says it. Real codes do: by their mean, their
covariance, and the share of them in each of K cells about their k-means. Of all reweighted draws that have these
statistics φ, those of least divergence from the draws have the weights

    w_i ∝ exp(a · φ(z_i)),    φ(z) = (z, z zᵀ, 1[z in cell k]),    a = argmin log Σ_i exp(a · (φ(z_i) - E φ)),

an exponential tilt, which is the maximum-likelihood fit of such a tilt of the density to the codes.

References:
    Entropy Balancing for Causal Effects, Hainmueller 2012.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.shapes import Latents, Values

__all__ = ["Codes", "cells_for", "enough", "matching"]

NEWTON, SHORTEST = 30, 1e-3  # steps, and the share of one that is taken if nothing longer helps
EXACT = 1e-6  # of a statistic of standardised codes
DRAWS_PER_STATISTIC = 8  # fewer, and the weights would follow the draws' own chance
CODES_PER_CELL = 400  # so that the share of a cell is known to 5 % of itself
MOST_CELLS = 100

Codes = Float[Tensor, "m d"]
Statistics = Float[Tensor, "n p"]


def cells_for(m: int) -> int:
    """K, as many cells as m codes can tell the shares of, 1 to 100."""
    return min(max(m // CODES_PER_CELL, 1), MOST_CELLS)


def enough(n: int, codes: Codes) -> bool:
    """Whether n draws tell the statistics of codes from chance: 8 or more for each of d + d (d + 1) / 2 + K - 1."""
    m, d = codes.shape
    return n >= DRAWS_PER_STATISTIC * (d + d * (d + 1) // 2 + cells_for(m) - 1)


@torch.no_grad()
def matching(
    points: Latents, codes: Codes, *, cells: int | None = None, generator: torch.Generator
) -> Values | None:
    """Log-weights of draws, shape (n,), under which they have the mean, covariance and cell shares of the codes.

    Arguments:
        points: Draws, shape (n, d); see `enough`.
        codes: Real ones, shape (m, d).
        cells: K, 1 to m; None is `cells_for`.
        generator: Source of where k-means starts.

    Returns:
        The log-weights up to a constant, on the draws' device; or None where no weights do it, as where some moment of
        the codes is beyond that of every draw.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> draws, codes = (torch.randn(4_000, 2, generator=generator) + shift for shift in (0.0, 0.3))
        >>> shares = matching(draws, codes, cells=4, generator=generator).softmax(0)
        >>> bool(((shares @ draws - codes.mean(dim=0)).abs() < 1e-4).all())
        True
    """
    draws, real = (
        z.cpu().double() for z in (points, codes)
    )  # not every device has double precision
    scale, mean = torch.std_mean(real, dim=0)
    draws, real = ((z - mean) / scale.clamp_min(1e-12) for z in (draws, real))
    centres = _centres(real, cells or cells_for(len(codes)), generator)
    centres = centres[
        _nearest(draws, centres).unique()
    ]  # a cell without draws has no weights to give
    seen, wanted = (_statistics(z, centres) for z in (draws, real))
    away = seen - wanted.mean(dim=0)
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
    from sklearn.cluster import (
        MiniBatchKMeans,  # here, because loading it takes a second that others save
    )

    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    means = MiniBatchKMeans(cells, random_state=seed).fit(standard.numpy())
    return torch.from_numpy(means.cluster_centers_)


def _statistics(standard: Latents, centres: Tensor) -> Statistics:
    """φ(z): coordinates, their products, each once, and all cells but the first, shape (n, p)."""
    i, j = torch.triu_indices(standard.shape[1], standard.shape[1])
    cells = F.one_hot(_nearest(standard, centres), len(centres))[
        :, 1:
    ]  # the first has what the others leave
    return torch.cat([standard, standard[:, i] * standard[:, j], cells.to(standard)], dim=1)


def _nearest(standard: Latents, centres: Tensor) -> Tensor:
    """The cell of each code, shape (n,)."""
    return torch.cdist(standard, centres).argmin(dim=1)


def _lower(away: Statistics, tilt: Tensor, direction: Tensor) -> Tensor:
    """Newton's step, halved until log Σ exp(a · (φ - E φ)) falls."""
    before, share = (away @ tilt).logsumexp(dim=0), 1.0
    while share > SHORTEST and (away @ (tilt - share * direction)).logsumexp(dim=0) >= before:
        share /= 2
    return tilt - share * direction
