"""The real codes nearest to a code."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import ArrayLike, as_rows

__all__ = ["Neighbours", "nearest_codes"]

PIECE = 65_536  # real codes per batch


@dataclass(frozen=True)
class Neighbours:
    """The k real codes nearest to each of n codes, the nearest first.

    Attributes:
        distances: Euclidean distances in Z, shape (n, k).
        rows: Row numbers of the real codes, shape (n, k).
    """

    distances: Float[Tensor, "n k"]
    rows: Int[Tensor, "n k"]


@torch.no_grad()
def nearest_codes(latents: ArrayLike, real: ArrayLike, k: int) -> Neighbours:
    """The `k` real codes nearest to each code, or all if there are fewer.

    Arguments:
        latents: Codes, shape (n, d).
        real: Real codes, shape (m, d), on the same device.
        k: 1 or more.

    Raises:
        UserError: k is less than 1.

    Examples:
        >>> found = nearest_codes(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [1.0, 0.0]]), k=2)
        >>> found.distances, found.rows
        (tensor([[1., 5.]]), tensor([[1, 0]]))
    """
    if k < 1:
        raise UserError(f"{k} neighbours were asked for; choose 1 or more")
    latents = as_rows(latents)
    real = as_rows(real, latents.shape[1]).to(latents)
    distances = latents.new_empty(len(latents), 0)
    rows = torch.empty(len(latents), 0, dtype=torch.long, device=latents.device)
    for start, part in zip(range(0, len(real), PIECE), real.split(PIECE), strict=True):
        # By matrix products, distances of nearly equal codes would be lost to rounding.
        apart = torch.cdist(latents, part, compute_mode="donot_use_mm_for_euclid_dist")
        found = apart.topk(min(k, len(part)), dim=1, largest=False)
        rows = torch.cat([rows, start + found.indices], dim=1)
        distances = torch.cat([distances, found.values], dim=1)
        distances, order = distances.topk(min(k, distances.shape[1]), dim=1, largest=False)
        rows = rows.gather(1, order)
    return Neighbours(distances, rows)
