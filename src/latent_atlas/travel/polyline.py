"""Polylines: their lengths, the points at given lengths, and frames at equal distances."""

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.shapes import Points, Trace

__all__ = ["arc_lengths", "points_at", "resample"]


def arc_lengths(points: Trace) -> Tensor:
    """Length of each polyline from its start to each of its points, shape (steps, n)."""
    steps = points.diff(dim=0).norm(dim=2)
    return torch.cat([torch.zeros_like(points[:1, :, 0]), steps.cumsum(dim=0)])


def points_at(
    points: Trace, lengths: Float[Tensor, "steps n"], wanted: Float[Tensor, "frames n"]
) -> Float[Tensor, "frames n d"]:
    """The points of each polyline where `lengths`, which never decrease, have the wanted values.

    Examples:
        >>> line = torch.tensor([[[0.0]], [[1.0]], [[4.0]]])
        >>> lengths, wanted = torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[1.0], [3.0]])
        >>> points_at(line, lengths, wanted).flatten()
        tensor([0.5000, 2.5000])
    """
    known = lengths.T.contiguous()  # (n, steps)
    right = torch.searchsorted(known, wanted.T.contiguous()).clamp(1, len(points) - 1)
    before, after = known.gather(1, right - 1), known.gather(1, right)
    tiny = torch.finfo(points.dtype).tiny
    share = ((wanted.T - before) / (after - before).clamp_min(tiny)).clamp(0, 1)
    rows = points.transpose(0, 1)  # (n, steps, d)
    index = right[..., None].expand(-1, -1, points.shape[2])
    found = torch.lerp(rows.gather(1, index - 1), rows.gather(1, index), share[..., None])
    return found.transpose(0, 1)


def resample(points: Trace, frames: int) -> Points:
    """Place `frames` points at equal distances along each polyline; both ends stay where they are.

    Examples:
        >>> resample(torch.tensor([[[0.0]], [[1.0]], [[4.0]]]), 3).flatten()
        tensor([0., 2., 4.])
    """
    lengths = arc_lengths(points)
    shares = torch.linspace(0, 1, frames, device=points.device, dtype=points.dtype)
    placed = points_at(points, lengths, shares[:, None] * lengths[-1])
    placed[0], placed[-1] = points[0], points[-1]
    return placed
