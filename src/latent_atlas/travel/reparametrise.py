"""Reparametrisation by arc length in features: frames at equal perceived steps."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import Points, Trace, Values, batched
from latent_atlas.travel.polyline import arc_lengths, points_at

__all__ = ["Reparametrised", "reparametrise", "reparametrise_legs"]

BATCH = 1_024  # codes whose features are computed at a time: they may be of decoded images
ROUNDS = 20  # each divides the unevenness by several times


@dataclass(frozen=True)
class Reparametrised:
    """Paths with frames at equal steps of features.

    Attributes:
        points: Shape (frames, n, d).
        feature_step: Mean distance of neighbouring frames in features, shape (n,).
        uneven: By how much of it the largest distance exceeds it, shape (n,); 0 at constant speed.
    """

    points: Points
    feature_step: Values
    uneven: Values


@checked
@torch.no_grad()
def reparametrise(
    points: Points, features: Callable[[Tensor], Tensor], *, pieces: int = 16
) -> Reparametrised:
    """Move the frames along their own path until neighbours differ equally in features.

    The curve of the features is sampled by `pieces` straight pieces between frames. Frames at equal
    arc lengths on it are only about as far from each other, since it bends. Each round therefore
    stretches it so that the distances C between the frames of the round before become equal:
    u' = u(C_total k / K) at frame k of 0..K.

    References:
        Simplified and improved string method, E et al. 2007, for the same reparametrisation.

    Arguments:
        points: Paths, shape (frames, n, d).
        features: Maps codes (m, d) to features (m, f), such as a classifier's of decoded images.
        pieces: Straight pieces between frames, 1 or more; features are computed at each.

    Returns:
        The paths with their ends where they were. If the features never change, the frames are at
        equal distances in Z.

    Raises:
        UserError: pieces < 1, or the features are not one row per code.
    """
    if pieces < 1:
        raise UserError(f"pieces is {pieces}; choose 1 or more between frames")
    whole = _subdivided(points, pieces)
    seen = _read(features, whole)
    lengths = arc_lengths(seen)
    lengths = torch.where(lengths[-1] > 0, lengths, arc_lengths(whole))
    places = _equal(lengths[-1], len(points))
    for _ in range(ROUNDS):
        apart = arc_lengths(points_at(seen, lengths, places))
        changes = apart[-1] > 0  # false where the features are constant, or return to a value
        spread = points_at(places[..., None], apart, _equal(apart[-1], len(points)))[..., 0]
        places = torch.where(changes, spread, places)
    moved = points_at(whole, lengths, places)
    moved[0], moved[-1] = points[0], points[-1]
    steps = _steps(moved, features)
    mean = steps.mean(dim=0)
    excess = steps.max(dim=0).values / mean.clamp_min(torch.finfo(mean.dtype).tiny) - 1
    return Reparametrised(moved, mean, torch.where(mean > 0, excess, 0))


def reparametrise_legs(
    points: Points, features: Callable[[Tensor], Tensor], waypoints: Int[Tensor, "k n"]
) -> Reparametrised:
    """Reparametrise each leg of a path by itself, so that waypoints stay the frames that they are.

    Arguments:
        points, features: As for `reparametrise`.
        waypoints: Numbers of the frames that are waypoints, the first and the last among them.

    Returns:
        As `reparametrise`, with the largest `uneven` of each path's legs.
    """
    placed, uneven = points.clone(), torch.zeros_like(points[0, :, 0])
    for path in range(points.shape[1]):
        for first, last in pairwise(waypoints[:, path].tolist()):
            leg = (slice(first, last + 1), slice(path, path + 1))
            found = reparametrise(points[leg], features)
            placed[leg] = found.points
            uneven[path] = uneven[path].maximum(found.uneven[0])
    return Reparametrised(placed, _steps(placed, features).mean(dim=0), uneven)


def _steps(points: Points, features: Callable[[Tensor], Tensor]) -> Float[Tensor, "steps n"]:
    """Distances of neighbouring frames in features."""
    return _read(features, points).diff(dim=0).norm(dim=2)


def _equal(total: Values, frames: int) -> Float[Tensor, "frames n"]:
    """From 0 to each total in equal steps."""
    return torch.linspace(0, 1, frames, device=total.device, dtype=total.dtype)[:, None] * total


def _subdivided(points: Points, pieces: int) -> Trace:
    """Each step of the path in `pieces` equal ones, shape ((frames - 1) pieces + 1, n, d)."""
    shares = torch.arange(pieces, device=points.device, dtype=points.dtype)[:, None, None] / pieces
    inner = torch.lerp(points[:-1, None], points[1:, None], shares)  # (frames - 1, pieces, n, d)
    return torch.cat([inner.flatten(0, 1), points[-1:]])


def _read(features: Callable[[Tensor], Tensor], trace: Trace) -> Float[Tensor, "steps n f"]:
    """Features of every point, shape (steps, n, f)."""
    rows = trace.flatten(0, 1)
    seen = batched(features, rows, BATCH)
    if seen.ndim != 2 or len(seen) != len(rows):
        raise UserError(
            "features must map codes (m, d) to (m, f); "
            f"for {tuple(rows.shape)} they gave {tuple(seen.shape)}"
        )
    return seen.to(trace.dtype).unflatten(0, trace.shape[:2])
