"""Paths with waypoints, with attributes kept on the way, and with frames at equal steps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latent_atlas.attributes.base import Attribute
from latent_atlas.attributes.constraint import Constraint
from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, as_floats
from latent_atlas.travel.constrained import preserve, with_constraint_metrics
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.plan import plan
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.reparametrise import reparametrise, reparametrise_legs
from latent_atlas.travel.waypoints import through_waypoints

__all__ = ["interpolate", "with_equal_steps"]


@checked
def interpolate(
    density: Density,
    waypoints: ArrayLike,
    planner: str | Planner = "typical",
    *,
    frames: int = 17,
    closed: bool = False,
    keep: Sequence[Attribute] = (),
    within: float | Sequence[float] | None = None,
    features: Callable[[Tensor], Tensor] | None = None,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
) -> LatentPath:
    """Plan paths between two codes, through several, back to the first, or with attributes kept.

    Arguments:
        density: The map, or any density.
        waypoints: Codes, shape (k, d) or (k, n, d); k of 2 or more.
        planner, frames, closed, threshold, generator: As for `plan` and `through_waypoints`.
        keep, within: Attributes of the first code to keep, and how far they may move, as for
            `preserve`.
        features: What the frames are at equal steps of, as for `reparametrise`; None leaves them at
            equal distances in Z.

    Raises:
        UserError: as for `plan`, `through_waypoints` and `preserve`, or attributes are to be kept
            on a path through several waypoints.
    """
    waypoints = as_floats(waypoints).detach()
    if waypoints.ndim not in (2, 3):
        raise UserError(
            f"waypoints must have shape (k, d) or (k, n, d); these have {tuple(waypoints.shape)}"
        )
    several = closed or len(waypoints) != 2
    if several and keep:
        raise UserError(
            f"attributes are kept between two codes, and {len(waypoints)} waypoints were given; "
            "choose two"
        )
    asked: dict[str, Any] = {"planner": planner, "frames": frames}
    asked |= {"threshold": threshold, "generator": generator}
    if several:
        path = through_waypoints(density, waypoints, closed=closed, **asked)
    elif keep:
        path = preserve(density, waypoints[0], waypoints[1], keep, within, **asked)
    else:
        path = plan(density, waypoints[0], waypoints[1], **asked)
    if features is None:
        return path
    path = with_equal_steps(path, density, features, threshold=threshold, generator=generator)
    if not keep:
        return path
    constraint = Constraint.around(torch.atleast_2d(waypoints[0]), keep, within)
    metrics = with_constraint_metrics(path.metrics, path.points, path.end, constraint)
    return replace(path, metrics=metrics)


@checked
def with_equal_steps(
    path: LatentPath,
    density: Density,
    features: Callable[[Tensor], Tensor],
    *,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
) -> LatentPath:
    """The same paths with frames at equal steps of features, and measured anew.

    Arguments:
        path: The paths; waypoints stay the frames that they are.
        density, threshold, generator: For the metrics, as for `plan`.
        features: As for `reparametrise`.
    """
    if path.waypoints is None:
        found = reparametrise(path.points, features)
    else:
        found = reparametrise_legs(path.points, features, path.waypoints)
    limit = threshold
    if limit is None:
        limit = density_threshold(density, path.points[0], path.end, generator)
    measured = measure(found.points, path.end, density, limit)
    ratio = measured.length_ratio if path.waypoints is None else path.metrics.length_ratio
    metrics = replace(
        path.metrics,
        distance_left=measured.distance_left,
        length_ratio=ratio,  # of straight legs, between waypoints that have not moved
        off_manifold=measured.off_manifold,
        lowest_log_prob=measured.lowest_log_prob,
        largest_jump=measured.largest_jump,
        feature_step=found.feature_step,
        uneven=found.uneven,
    )
    return replace(path, points=found.points, metrics=metrics)
