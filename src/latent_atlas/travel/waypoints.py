"""Journeys by several stops: each leg is planned by itself, and the frames are shared among them."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError
from latent_atlas.shapes import Points, Trace
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath, arc_lengths, interpolate
from latent_atlas.travel.plan import plan

__all__ = ["through_waypoints"]

ARRIVED = 1e-3  # of a leg's straight length: what a planner that arrives may leave to rounding

Stops = Float[Tensor, "stops n d"]
Numbers = Int[Tensor, "stops n"]  # of the frames that are stops


def through_waypoints(
    density: Density,
    stops: Tensor,
    planner: str = "geodesic",
    *,
    frames: int = 49,
    closed: bool = False,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> LatentPath:
    """Plan journeys that visit several stops in their order.

    All legs of all journeys are planned in one call. The frames are shared among the legs of a journey by their
    lengths, so that its speed changes as little as whole frames allow, and every stop is a frame.

    Arguments:
        density: The map, or any density.
        stops: Codes, shape (k, d) for one journey or (k, n, d) for n of them; k of 2 or more.
        planner: Any planner that arrives; see `travel.plan`.
        frames: Points of the whole path, the stops included.
        closed: Whether to return to the first stop, which is not to be repeated in `stops`.
        floor: Log-density in nats below which a frame counts as outside; see `density_threshold` for the default, which
            of a journey's stops takes the lowest.
        generator: Source of randomness for a floor that has to be estimated, and for a planner that draws.
        **options: Settings of the planner.

    Returns:
        The path, whose `end` is the last stop, or the first one if closed. Its metrics have the number of the frame of
        each stop as well, `frame_of_stop_0` and so on; `length_ratio` is relative to straight legs. Its info counts
        the `legs` besides what the planner says of all of them.

    Raises:
        UserError: there are fewer than 2 stops, or more than frames; two neighbouring stops are the same; or the
            planner does not arrive, or refuses.

    Examples:
        >>> from latent_atlas.density.toys import arc
        >>> corners = torch.tensor([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> round_trip = tour(arc(), corners, "linear", frames=7, closed=True)
        >>> [int(round_trip.metrics[f"frame_of_stop_{k}"]) for k in range(4)]
        [0, 2, 4, 6]
    """
    visited = _checked(stops, frames, closed)
    legs = len(visited) - 1
    start, end = visited[:-1].flatten(0, 1), visited[1:].flatten(0, 1)
    planned = plan(
        density,
        start,
        end,
        planner,
        frames=frames,
        threshold=threshold,
        generator=generator,
        **options,
    )
    left = planned.metrics["distance_left"].max().item()
    if left > ARRIVED:
        raise UserError(
            f"planner '{planner}' stops {left:.0%} of the way short of a stop, and a tour visits its stops exactly; "
            "choose a planner that arrives, or arrive=True for a walk"
        )
    chain = planned.points.unflatten(1, (legs, -1)).transpose(0, 1)  # (legs, frames, n, d)
    points, numbers = _joined(chain, visited, frames)
    # Planned together, the legs are journeys to the planner; a tour has rested where all of its legs have.
    notes = tuple(note.replace("journey", "leg") for note in planned.notes)
    rested = {
        name: planned.metrics[name].unflatten(0, (legs, -1)).amin(dim=0)
        for name in {"converged"} & {*planned.metrics}
    }
    path = LatentPath(
        points, visited[-1], planner, {"legs": float(legs)} | planned.info, rested, notes
    )
    lowest = threshold
    if lowest is None:
        lowest = density_threshold(density, start, end, generator)
        lowest = (
            lowest.unflatten(0, (legs, -1)).amin(dim=0) if isinstance(lowest, Tensor) else lowest
        )
    straight = visited.diff(dim=0).norm(dim=2).sum(dim=0)
    path = path.with_metrics(
        measure(path, density, lowest) | {"length_ratio": arc_lengths(points)[-1] / straight}
    )
    return path.with_metrics(
        {f"frame_of_stop_{k}": number.to(points) for k, number in enumerate(numbers)}
    )


def _joined(
    legs: Float[Tensor, "legs steps n d"], stops: Stops, frames: int
) -> tuple[Points, Numbers]:
    """The legs as one path with all stops in it, shape (frames, n, d), and the numbers of their frames."""
    arrivals = torch.cat([legs[:, 1:-1], stops[1:, None]], dim=1)
    chain: Trace = torch.cat([stops[:1], arrivals.flatten(0, 1)])
    travelled = arc_lengths(chain)
    reached = travelled[:: arrivals.shape[1]]
    numbers = _frames_of_stops(reached, frames)
    each = torch.arange(frames, device=chain.device, dtype=chain.dtype)[:, None].expand(
        -1, chain.shape[1]
    )
    wanted = interpolate(reached[..., None], numbers.to(chain), each)[..., 0]
    points = interpolate(chain, travelled, wanted)
    return points.scatter(0, numbers[..., None].expand_as(stops), stops), numbers


def _frames_of_stops(reached: Float[Tensor, "stops n"], frames: int) -> Numbers:
    """The frame nearest to each stop's share of the length `reached` there, at least one later than the last stop's.

    From 0 to frames - 1, whatever the lengths.
    """
    rank = torch.arange(len(reached), device=reached.device)[:, None]
    nearest = ((frames - 1) * reached / reached[-1]).round().long()
    late_enough = (nearest - rank).cummax(dim=0).values + rank
    return torch.minimum(late_enough, rank + frames - len(reached))  # room for the stops to come


def _checked(stops: Tensor, frames: int, closed: bool) -> Stops:
    """The stops in the order of the visit, shape (k, n, d), the first one again if closed."""
    if stops.ndim not in (2, 3):
        raise UserError(
            f"stops must have shape (k, d) or (k, n, d); these have {tuple(stops.shape)}"
        )
    if len(stops) < 2:
        raise UserError(f"a tour of {len(stops)} stops goes nowhere; give 2 or more")
    visited = stops[:, None] if stops.ndim == 2 else stops
    if closed:
        visited = torch.cat([visited, visited[:1]])
    if frames < len(visited):
        raise UserError(
            f"{frames} frames cannot show {len(visited)} stops; choose frames of {len(visited)} or more"
        )
    same = (visited[1:] == visited[:-1]).all(dim=2).any(dim=1).nonzero().flatten().tolist()
    if same:
        after = (same[0] + 1) % len(stops)
        raise UserError(
            f"stops {same[0]} and {after} follow each other and are the same code; leave one of them out"
        )
    return visited
