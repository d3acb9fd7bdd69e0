"""Paths through several codes: each leg is planned by itself, and the frames are shared out."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Points, Trace, as_floats
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.plan import plan
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.polyline import arc_lengths, points_at

__all__ = ["through_waypoints"]

ARRIVED = 1e-3  # of a leg's straight length: what a planner that arrives may leave to rounding

Waypoints = Float[Tensor, "k n d"]
Numbers = Int[Tensor, "k n"]  # of the frames that are waypoints


@checked
def through_waypoints(
    density: Density,
    waypoints: ArrayLike,
    planner: str | Planner = "typical",
    *,
    frames: int = 49,
    closed: bool = False,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
) -> LatentPath:
    """Plan paths that visit several codes in their order.

    All legs of all paths are planned in one call. The frames are shared among the legs of a path by
    their lengths, so that its speed changes as little as whole frames allow, and every waypoint is
    a frame.

    Arguments:
        density: The map, or any density.
        waypoints: Codes, shape (k, d) for one path or (k, n, d) for n of them; k of 2 or more.
        planner: Any planner that arrives; see `plan`.
        frames: Points of the whole path, the waypoints included.
        closed: Whether to return to the first waypoint, which is not to be repeated.
        threshold: Log-density in nats below which a frame counts as off-manifold; see
            `density_threshold` for the default, the lowest over the legs of a path.
        generator: As for `plan`.

    Returns:
        The paths, whose `end` is the last waypoint, or the first one if closed. `waypoints` numbers
        the frames that are waypoints, and `length_ratio` is relative to straight legs.

    Raises:
        UserError: there are fewer than 2 waypoints, or more than frames; two neighbouring ones are
            the same; the planner does not arrive; or as for `plan`.

    Examples:
        >>> from latent_atlas.density.toys import arc
        >>> corners = torch.tensor([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> path = through_waypoints(arc(), corners, "linear", frames=7, closed=True)
        >>> path.waypoints.flatten().tolist()
        [0, 2, 4, 6]
    """
    visited = _checked(waypoints, frames, closed)
    legs = len(visited) - 1
    start, end = visited[:-1].flatten(0, 1), visited[1:].flatten(0, 1)
    planned = plan(
        density, start, end, planner, frames=frames, threshold=threshold, generator=generator
    )
    left = planned.metrics.distance_left.max().item()
    if left > ARRIVED:
        raise UserError(
            f"planner '{planned.planner}' stops {left:.0%} of the way short of a waypoint, and a "
            "path through waypoints visits them exactly; choose a planner that arrives, or "
            "arrive=True for a walk"
        )
    chain = planned.points.unflatten(1, (legs, -1)).transpose(0, 1)  # (legs, frames, n, d)
    points, numbers = _joined(chain, visited, frames)
    limit = density_threshold(density, start, end, generator) if threshold is None else threshold
    if isinstance(limit, Tensor):
        limit = limit.unflatten(0, (legs, -1)).amin(dim=0)
    straight = visited.diff(dim=0).norm(dim=2).sum(dim=0)
    metrics = replace(
        measure(points, visited[-1], density, limit),
        length_ratio=arc_lengths(points)[-1] / straight,
    )
    return replace(
        planned,
        points=points,
        end=visited[-1],
        info=_of_whole_paths(planned.info, legs),
        metrics=metrics,
        # Planned together, the legs are paths to the planner.
        warnings=tuple(warning.replace("path", "leg") for warning in planned.warnings),
        waypoints=numbers,
    )


def _of_whole_paths(info: PlannerInfo, legs: int) -> PlannerInfo:
    """The information of paths from that of their legs: a path converges if all its legs do."""
    converged, residual = (
        None if values is None else values.unflatten(0, (legs, -1))
        for values in (info.converged, info.residual)
    )
    return replace(
        info,
        converged=None if converged is None else converged.all(dim=0),
        residual=None if residual is None else residual.amax(dim=0),
        history=None,
        chosen=None,
    )


def _joined(
    legs: Float[Tensor, "legs steps n d"], waypoints: Waypoints, frames: int
) -> tuple[Points, Numbers]:
    """The legs as one path through all waypoints, (frames, n, d), and the waypoints' frames."""
    arrivals = torch.cat([legs[:, 1:-1], waypoints[1:, None]], dim=1)
    chain: Trace = torch.cat([waypoints[:1], arrivals.flatten(0, 1)])
    travelled = arc_lengths(chain)
    reached = travelled[:: arrivals.shape[1]]
    numbers = _frames_of_waypoints(reached, frames)
    each = torch.arange(frames, device=chain.device, dtype=chain.dtype)[:, None].expand(
        -1, chain.shape[1]
    )
    wanted = points_at(reached[..., None], numbers.to(chain), each)[..., 0]
    points = points_at(chain, travelled, wanted)
    return points.scatter(0, numbers[..., None].expand_as(waypoints), waypoints), numbers


def _frames_of_waypoints(reached: Float[Tensor, "k n"], frames: int) -> Numbers:
    """The frame nearest to each waypoint's share of the length `reached`, each later than the last.

    They go from 0 to frames - 1, whatever the lengths.
    """
    rank = torch.arange(len(reached), device=reached.device)[:, None]
    nearest = ((frames - 1) * reached / reached[-1]).round().long()
    late_enough = (nearest - rank).cummax(dim=0).values + rank
    return torch.minimum(late_enough, rank + frames - len(reached))  # room for those to come


def _checked(given: ArrayLike, frames: int, closed: bool) -> Waypoints:
    """The waypoints in their order, shape (k, n, d), the first one again if closed."""
    waypoints = as_floats(given).detach()
    if waypoints.ndim not in (2, 3):
        raise UserError(
            f"waypoints must have shape (k, d) or (k, n, d); these have {tuple(waypoints.shape)}"
        )
    if len(waypoints) < 2:
        raise UserError(f"a path needs 2 waypoints or more; {len(waypoints)} was given")
    visited = waypoints[:, None] if waypoints.ndim == 2 else waypoints
    if closed:
        visited = torch.cat([visited, visited[:1]])
    if frames < len(visited):
        raise UserError(
            f"{frames} frames cannot show {len(visited)} waypoints; "
            f"choose frames of {len(visited)} or more"
        )
    same = (visited[1:] == visited[:-1]).all(dim=2).any(dim=1).nonzero().flatten().tolist()
    if same:
        after = (same[0] + 1) % len(waypoints)
        raise UserError(
            f"waypoints {same[0]} and {after} follow each other and are the same code; "
            "leave one of them out"
        )
    return visited
