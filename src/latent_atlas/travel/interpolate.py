"""A whole journey: its stops, what is kept on the way, and its pace."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.attributes.base import Attribute
from latent_atlas.attributes.constraint import Constraint
from latent_atlas.density.base import Density
from latent_atlas.errors import UserError
from latent_atlas.travel.constrained import kept, preserve
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.plan import plan
from latent_atlas.travel.reparametrise import pace, pace_legs
from latent_atlas.travel.waypoints import through_waypoints

__all__ = ["journey", "paced"]

Stops = Float[Tensor, "stops n d"]


def journey(
    density: Density,
    stops: Stops,
    planner: str = "geodesic",
    *,
    frames: int = 17,
    closed: bool = False,
    keep: Sequence[Attribute] = (),
    within: float | Sequence[float] = 0.1,
    features: Callable[[Tensor], Tensor] | None = None,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> LatentPath:
    """Plan journeys of two stops (`plan`), of more or back again (`tour`), or with properties kept (`preserve`).

    Arguments:
        density: The map, or any density.
        stops: Codes, shape (k, n, d); k of 2 or more.
        planner, frames, closed, floor, generator, **options: As for `plan` and `tour`.
        keep, within: Attributes of the first stop to keep, and how far they may move, as for `preserve`.
        features: What the frames are paced by, as for `pace`; None leaves them at equal distances in Z.

    Raises:
        UserError: what is asked is more than `plan`, `tour` or `preserve` can do, or attributes are to be kept on a
            journey of several stops.
    """
    several = closed or len(stops) != 2
    settings = {"frames": frames, "threshold": threshold, "generator": generator, **options}
    if several and keep:
        raise UserError(
            f"attributes are kept from one place to another, and {len(stops)} stops were given; choose two"
        )
    if several:
        path = through_waypoints(density, stops, planner, closed=closed, **settings)
    elif keep:
        path = preserve(density, stops[0], stops[1], keep, within, planner=planner, **settings)
    else:
        path = plan(density, stops[0], stops[1], planner, **settings)
    if features is None:
        return path
    path = paced(path, density, features, threshold=threshold, generator=generator)
    return (
        path.with_metrics(kept(path, Constraint.around(stops[0], keep, within))) if keep else path
    )


def paced(
    path: LatentPath,
    density: Density,
    features: Callable[[Tensor], Tensor],
    *,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
) -> LatentPath:
    """The same journeys with frames as far apart in features, and measured anew.

    Arguments:
        path: The journeys; stops of a tour stay the frames that they are, and each leg is paced by itself.
        density, floor, generator: Who judges, as for `plan`.
        features: As for `pace`.

    Returns:
        The path, with the metrics of `pace` besides.
    """
    numbers = [value for name, value in path.metrics.items() if name.startswith("frame_of_stop_")]
    if numbers:
        points, said = pace_legs(path.points, features, torch.stack(numbers).long())
    else:
        points, said = pace(path.points, features)
    lowest = (
        density_threshold(density, points[0], path.end, generator)
        if threshold is None
        else threshold
    )
    moved = replace(path, points=points)
    measured = measure(moved, density, lowest)
    if numbers:
        del measured["length_ratio"]  # relative to straight legs, whose stops have not moved
    return moved.with_metrics(measured | said)
