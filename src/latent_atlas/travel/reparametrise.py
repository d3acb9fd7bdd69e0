"""Constant perceived speed: frames as far apart for the eye, or for whatever the features stand for."""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import Points, Trace, Values
from latent_atlas.travel.path import arc_lengths, interpolate

__all__ = ["pace", "pace_legs"]

BATCH = 1_024  # codes whose features are asked for at a time: they may be read off decoded images
ROUNDS = 20  # each divides what is uneven by several times


@torch.no_grad()
def pace(
    points: Points, features: Callable[[Tensor], Tensor], *, fine: int = 16
) -> tuple[Points, dict[str, Values]]:
    """Move the frames along their own path until neighbours differ equally in features.

    The path is followed finely, by `fine` straight pieces from frame to frame. Frames at equal distances on the way
    that the features go are only about as far from each other, since that way bends: each round stretches it so that
    the distances C between the frames of the round before become equal, u' = u(C_total k / K) at frame k of 0..K.

    References:
        Simplified and improved string method, E et al. 2007, for the same reparameterisation by arc length.

    Arguments:
        points: Paths, shape (frames, n, d).
        features: Maps codes (m, d) to what is perceived (m, f), such as a classifier's features of decoded images.
        fine: Pieces from frame to frame, 1 or more; features are read at each, and taken to be straight between.

    Returns:
        The paths with frames re-placed and ends where they were; per journey `feature_step`, the mean distance of
        neighbouring frames in features, and `uneven`, by how much of it the largest exceeds it: 0 at constant speed.
        Where the features never change the frames are at equal distances in Z.

    Raises:
        UserError: fine < 1, or the features are not one row per code.
    """
    if fine < 1:
        raise UserError(f"{fine} pieces from frame to frame are no path; choose fine of 1 or more")
    whole = _subdivided(points, fine)
    seen = _read(features, whole)
    travelled = arc_lengths(seen)
    travelled = torch.where(travelled[-1] > 0, travelled, arc_lengths(whole))
    places = _equal(travelled[-1], len(points))
    for _ in range(ROUNDS):
        apart = arc_lengths(interpolate(seen, travelled, places))
        changes = (
            apart[-1] > 0
        )  # not where the features stand still, or come back to where they were
        spread = interpolate(places[..., None], apart, _equal(apart[-1], len(points)))[..., 0]
        places = torch.where(changes, spread, places)
    paced = interpolate(whole, travelled, places)
    paced[0], paced[-1] = points[0], points[-1]
    steps = _steps(paced, features)
    mean = steps.mean(dim=0)
    excess = steps.max(dim=0).values / mean.clamp_min(torch.finfo(mean.dtype).tiny) - 1
    return paced, {"feature_step": mean, "uneven": torch.where(mean > 0, excess, 0)}


def pace_legs(
    points: Points, features: Callable[[Tensor], Tensor], stops: Int[Tensor, "stops n"]
) -> tuple[Points, dict[str, Values]]:
    """Pace each leg of a tour by itself, so that its stops stay the frames that they are.

    Arguments:
        points, features: As for `pace`.
        stops: Numbers of the frames that are stops, the first and the last frame among them.

    Returns:
        As `pace`, with the means over the whole journey of `feature_step` and the largest `uneven` of its legs.
    """
    placed, uneven = points.clone(), torch.zeros_like(points[0, :, 0])
    for journey in range(points.shape[1]):
        for first, last in pairwise(stops[:, journey].tolist()):
            leg = (slice(first, last + 1), slice(journey, journey + 1))
            placed[leg], numbers = pace(points[leg], features)
            uneven[journey] = uneven[journey].maximum(numbers["uneven"][0])
    return placed, {"feature_step": _steps(placed, features).mean(dim=0), "uneven": uneven}


def _steps(points: Points, features: Callable[[Tensor], Tensor]) -> Float[Tensor, "steps n"]:
    """Distances of neighbouring frames in features."""
    return _read(features, points).diff(dim=0).norm(dim=2)


def _equal(total: Values, frames: int) -> Float[Tensor, "frames n"]:
    """From 0 to each total in equal steps."""
    return torch.linspace(0, 1, frames, device=total.device, dtype=total.dtype)[:, None] * total


def _subdivided(points: Points, fine: int) -> Trace:
    """Every straight piece of the path in `fine` equal ones, shape ((frames - 1) fine + 1, n, d)."""
    shares = torch.arange(fine, device=points.device, dtype=points.dtype)[:, None, None] / fine
    pieces = torch.lerp(points[:-1, None], points[1:, None], shares)  # (frames - 1, fine, n, d)
    return torch.cat([pieces.flatten(0, 1), points[-1:]])


def _read(features: Callable[[Tensor], Tensor], trace: Trace) -> Float[Tensor, "steps n f"]:
    """Features of every point, shape (steps, n, f)."""
    rows = trace.flatten(0, 1)
    seen = torch.cat([features(part) for part in rows.split(BATCH)])
    if seen.ndim != 2 or len(seen) != len(rows):
        raise UserError(
            f"features must map codes (m, d) to (m, f); for {tuple(rows.shape)} they gave {tuple(seen.shape)}"
        )
    return seen.to(trace.dtype).unflatten(0, trace.shape[:2])
