r"""Convergence of Markov chains: R-hat and effective sample size, both rank-normalised.

A sample's rank among all is mapped to a standard normal value, so that heavy tails do not matter.

References:
    Rank-Normalization, Folding, and Localization: An Improved R-hat for Assessing Convergence of
    MCMC, Vehtari et al. 2021.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import ArrayLike, as_floats

__all__ = ["bulk_ess", "split_r_hat"]

Halves = Float[Tensor, "half twice d"]  # each half of each chain, as a chain of its own
PerCoordinate = Float[Tensor, " d"]
FEWEST = 4  # steps of each half of a chain


def split_r_hat(trace: ArrayLike) -> PerCoordinate:
    r"""R-hat of each coordinate, shape (d,); 1 if all halves of all chains have one distribution.

    With W the mean variance within halves of N steps and B / N the variance of their means,

        R-hat = sqrt(((N - 1) / N W + B / N) / W).

    Arguments:
        trace: States of the chains, shape (steps, chains, d); 8 steps or more.

    Raises:
        UserError: there are fewer steps.

    Examples:
        >>> apart = torch.arange(3.0)[None, :, None] + 0.1 * torch.rand(20, 3, 1)
        >>> bool(split_r_hat(apart) > 2)  # three chains in three places
        True
    """
    within, between, n = _variances(_normal_scores(_halved(trace)))
    return (((n - 1) / n * within + between) / within).sqrt()


def bulk_ess(trace: ArrayLike) -> PerCoordinate:
    r"""Effective sample size of each coordinate, shape (d,), of all steps of all chains together.

        ESS = S / (1 + 2 Σ_t ρ_t),    ρ_t = 1 - (W - C_t) / var⁺,

    with S states, C_t the mean autocovariance of the chains at lag t, and var⁺ the numerator under
    R-hat's root. The sum runs over pairs of lags (2k, 2k + 1) while their sum is positive, and
    these sums are made non-increasing.

    References:
        Practical Markov Chain Monte Carlo, Geyer 1992, for the sum.

    Arguments:
        trace: As for `split_r_hat`.

    Returns:
        Shape (d,), at most S log10 S, which antithetic chains reach.
    """
    scores = _normal_scores(_halved(trace))
    within, between, n = _variances(scores)
    covariances = _autocovariances(scores).mean(dim=1) * n / (n - 1)
    total = (n - 1) / n * within + between
    correlations = 1 - (within - covariances) / total
    correlations[0] = 1
    even = len(correlations) // 2 * 2
    pairs = correlations[:even].unflatten(0, (-1, 2)).sum(dim=1)
    positive = (pairs > 0).long().cumprod(dim=0)
    time = -1 + 2 * (pairs.cummin(dim=0).values * positive).sum(dim=0)
    size = scores.shape[0] * scores.shape[1]
    return size / time.clamp_min(1 / math.log10(size))


def _halved(given: ArrayLike) -> Halves:
    """Each chain as two chains, so that a drift shows as a difference.

    Raises:
        UserError: there are too few steps.
    """
    trace = as_floats(given).detach()
    if trace.ndim != 3:
        raise UserError(
            f"chains must have shape (steps, chains, d); these have {tuple(trace.shape)}"
        )
    half = len(trace) // 2
    if half < FEWEST:
        raise UserError(
            f"{len(trace)} states of each chain are too few for R-hat; keep {2 * FEWEST} or more"
        )
    return torch.cat([trace[:half], trace[-half:]], dim=1)


def _normal_scores(halves: Halves) -> Halves:
    """Φ⁻¹((rank - 3/8) / (S + 1/4)), ranks among the S values of a coordinate; ties share one."""
    flat = halves.flatten(0, 1).cpu().double()
    ranks = torch.empty_like(flat)
    for i, column in enumerate(flat.T):
        _, groups, counts = column.unique(return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        ranks[:, i] = (last - 0.5 * (counts - 1))[groups]
    return torch.special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).unflatten(0, halves.shape[:2])


def _variances(halves: Halves) -> tuple[PerCoordinate, PerCoordinate, int]:
    """W, B / N and N; a constant coordinate has W = 1e-300."""
    within = halves.var(dim=0).mean(dim=0).clamp_min(1e-300)
    return within, halves.mean(dim=0).var(dim=0), len(halves)


def _autocovariances(halves: Halves) -> Halves:
    """Σ_i (x_i - m)(x_{i+t} - m) / N for lags t of 0 to N - 1, by FFT, shape (N, chains, d)."""
    n = len(halves)
    spectrum = torch.fft.rfft(halves - halves.mean(dim=0), n=2 * n, dim=0)
    return torch.fft.irfft(spectrum.abs().square(), n=2 * n, dim=0)[:n] / n
