"""What a journey is: points from start towards end, who planned them, and what can be said of them."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.shapes import Films, Images, Latents, Mask, Points, Trace, Values

__all__ = ["LatentPath", "Relaxed", "arc_lengths", "interpolate", "resample"]


@dataclass(frozen=True)
class LatentPath:
    """n journeys, all of as many frames.

    Attributes:
        points: Codes, shape (frames, n, d); the first frame is the start.
        end: Where each journey was to arrive, shape (n, d).
        planner: Name of the planner.
        info: What the planner says of its work, by name.
        metrics: Numbers per journey, shape (n,) each; see `travel.metrics.measure`. Planners that move whole paths add
            `converged`, 1 or 0.
        notes: What should be known of the journeys before they are believed, a sentence each.
        images: The decoded frames, shape (frames, n, c, h, w); None until an atlas decodes them.
    """

    points: Points
    end: Latents
    planner: str
    info: dict[str, float | bool] = field(default_factory=dict)
    metrics: dict[str, Values] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    images: Films | None = None

    def strip(self, journey: int = 0) -> Images:
        """The decoded frames of one journey, shape (frames, c, h, w).

        Raises:
            ValueError: the path has not been decoded; `Atlas.travel` does that.
        """
        if self.images is None:
            raise ValueError("this path has no images; Atlas.travel decodes its frames")
        return self.images[:, journey]

    def with_metrics(self, metrics: dict[str, Values]) -> "LatentPath":
        """The same path with numbers added."""
        return replace(self, metrics=self.metrics | metrics)


@dataclass(frozen=True)
class Relaxed:
    """n paths that were moved as a whole until they came to rest.

    Attributes:
        points: Shape (nodes, n, d), with both ends where they were.
        converged: Whether each journey came to rest, shape (n,).
        residual: How far each is from rest, shape (n,), as its planner measures it.
        iterations: How many the journey that took longest was given, from the coarsest width to the finest.
        history: What the planner lowers, at the start and after each iteration of the finest width, (k + 1, n).
    """

    points: Trace
    converged: Mask
    residual: Values
    iterations: int
    history: Tensor


def arc_lengths(points: Trace) -> Tensor:
    """Length travelled from the start to each point, shape (steps, n)."""
    steps = points.diff(dim=0).norm(dim=2)
    return torch.cat([torch.zeros_like(points[:1, :, 0]), steps.cumsum(dim=0)])


def interpolate(
    points: Trace, travelled: Float[Tensor, "steps n"], wanted: Float[Tensor, "frames n"]
) -> Float[Tensor, "frames n d"]:
    """The places on each polyline at which `travelled`, which never falls on the way, has the `wanted` values.

    Examples:
        >>> line = torch.tensor([[[0.0]], [[1.0]], [[4.0]]])
        >>> interpolate(line, torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[1.0], [3.0]])).flatten()
        tensor([0.5000, 2.5000])
    """
    lengths = travelled.T.contiguous()  # (n, steps)
    right = torch.searchsorted(lengths, wanted.T.contiguous()).clamp(1, len(points) - 1)
    before, after = lengths.gather(1, right - 1), lengths.gather(1, right)
    share = (
        (wanted.T - before) / (after - before).clamp_min(torch.finfo(points.dtype).tiny)
    ).clamp(0, 1)
    rows = points.transpose(0, 1)  # (n, steps, d)
    index = right[..., None].expand(-1, -1, points.shape[2])
    return torch.lerp(rows.gather(1, index - 1), rows.gather(1, index), share[..., None]).transpose(
        0, 1
    )


def resample(points: Trace, frames: int) -> Points:
    """Place `frames` points at equal distances along each polyline; both ends stay where they are.

    Examples:
        >>> resample(torch.tensor([[[0.0]], [[1.0]], [[4.0]]]), 3).flatten()
        tensor([0., 2., 4.])
    """
    lengths = arc_lengths(points)
    shares = torch.linspace(0, 1, frames, device=points.device, dtype=points.dtype)
    placed = interpolate(points, lengths, shares[:, None] * lengths[-1])
    placed[0], placed[-1] = points[0], points[-1]
    return placed
