"""Importance weights: their effective sample size, and resampling by them."""

import math

import torch

from latent_atlas.errors import UserError
from latent_atlas.shapes import Values

__all__ = ["effective_sample_size", "resampled"]


def effective_sample_size(log_weights: Values) -> float:
    """Effective sample size (Σ w)² / Σ w² of log-weights (n,), in [1, n], without overflow."""
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item()


def resampled(log_weights: Values, n: int, *, generator: torch.Generator) -> torch.Tensor:
    """Systematic resampling: n indices in random order, index i about n · w_i / Σ w times.

    References:
        Comparison of Resampling Schemes for Particle Filtering, Douc and Cappé 2005.

    Raises:
        UserError: no weight is above 0.
    """
    if log_weights.max() == -math.inf:
        raise UserError(
            f"none of {len(log_weights)} proposals meets the conditions; ask for a class or a "
            "range that the data has, or for a wider one"
        )
    # A cumulative sum of many shares in single precision would lose the last ones.
    shares = log_weights.cpu().double().softmax(dim=0)
    offset = torch.rand((), generator=generator, device=generator.device).item()
    ticks = (torch.arange(n, dtype=shares.dtype) + offset) / n
    indices = torch.searchsorted(shares.cumsum(0), ticks).clamp(max=len(shares) - 1)
    order = torch.randperm(n, generator=generator, device=generator.device)
    return indices.to(log_weights.device)[order]
