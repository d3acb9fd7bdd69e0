"""From two codes to a path: the planners by name."""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from latent_atlas.density import Density, ExactMembership, Membership, StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values
from latent_atlas.travel.metrics import measure
from latent_atlas.travel.path import Path, resample
from latent_atlas.travel.straight import linear, slerp
from latent_atlas.travel.walk import Walk, walk

__all__ = ["OUTSIDE_SHARE", "PLANNERS", "plan", "population_floor"]

PLANNERS = ("linear", "slerp", "walk")
OUTSIDE_SHARE = 0.05  # real codes below the floor, by construction


def plan(
    density: Density,
    start: Tensor,
    end: Tensor,
    planner: str = "walk",
    *,
    frames: int = 17,
    floor: float | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Path:
    """Plan journeys from `start` towards `end` without leaving the population.

    Arguments:
        density: The map, or any density. The walking rules follow D(z); a density without a discriminator of its own
            is judged against N(0, I), D = q / (q + p).
        start, end: Codes, shape (n, d) or (d,).
        planner: linear, slerp or walk.
        frames: Points of the path, both ends included; 2 or more.
        floor: Log-density in nats below which a frame counts as outside; see `population_floor` for the default.
        generator: Source of randomness for a floor that has to be estimated.
        **options: Settings of the planner; for walk, those of `Walk`.

    Returns:
        The path with its metrics (`travel.metrics.measure`).

    Raises:
        UserError: the codes do not match or are not finite, the planner or an option is unknown, or frames < 2.

    Example:
        >>> from latent_atlas.toys import two_clusters
        >>> a, b = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 0.0])
        >>> plan(two_clusters(2, 4.0), a, b, "linear", frames=3).points[:, 0, 0]
        tensor([-2.,  0.,  2.])
    """
    start, end = _checked(start, end, frames, density.dimension)
    info: dict[str, float | bool] = {}
    if planner == "walk":
        how = Walk(**_known(options))
        membership = density
        if not isinstance(membership, Membership):
            membership = ExactMembership(density, StandardNormal(start.shape[1]))
        trace, info = walk(membership, start, end, how)
        points = resample(trace, frames)
    elif planner in PLANNERS:
        if options:
            raise UserError(f"planner '{planner}' has no settings; it was given {', '.join(options)}")
        points = {"linear": linear, "slerp": slerp}[planner](start, end, frames)
    else:
        raise UserError(f"no planner '{planner}'; choose {', '.join(PLANNERS)}")
    path = Path(points, end, planner, info)
    lowest = population_floor(density, start, end, generator) if floor is None else floor
    return path.with_metrics(measure(path, density, lowest))


@torch.no_grad()
def population_floor(
    density: Density, start: Latents, end: Latents, generator: torch.Generator | None
) -> float | Values:
    """The log-density in nats under which 5 % of the population lies.

    A map answers from its held-out codes; a density that can sample is asked with 10,000 draws if there is a
    generator; any other gives, for each journey, the lower of its two ends' log-densities.
    """
    if hasattr(density, "floor"):
        return density.floor(OUTSIDE_SHARE)  # pyright: ignore[reportAttributeAccessIssue] - just asked
    if hasattr(density, "sample") and generator is not None:
        draws = density.sample(10_000, generator=generator)  # pyright: ignore[reportAttributeAccessIssue]
        return torch.quantile(density.log_prob(draws), OUTSIDE_SHARE).item()
    return torch.minimum(density.log_prob(start), density.log_prob(end))


def _checked(start: Tensor, end: Tensor, frames: int, dimension: int) -> tuple[Latents, Latents]:
    """Both ends as (n, d), or one sentence saying why they cannot be travelled between."""
    if frames < 2:
        raise UserError(f"a path of {frames} frames has no two ends; choose frames of 2 or more")
    if start.shape != end.shape or start.ndim not in (1, 2):
        raise UserError(
            f"start and end must both have shape (n, d) or (d,); they have {tuple(start.shape)} and {tuple(end.shape)}"
        )
    start, end = start.reshape(-1, start.shape[-1]), end.reshape(-1, end.shape[-1])
    if start.shape[1] != dimension or len(start) == 0:
        raise UserError(f"the density is of codes with {dimension} coordinates; {tuple(start.shape)} were given")
    if not (start.is_floating_point() and end.is_floating_point()):
        raise UserError(f"codes must be floating-point numbers; these are {start.dtype} and {end.dtype}")
    same = (start == end).all(dim=1).nonzero().flatten()
    if len(same):
        raise UserError(f"start and end of journey {int(same[0])} are the same code, so there is nowhere to go")
    for name, codes in (("start", start), ("end", end)):
        if not codes.isfinite().all():
            raise UserError(f"the {name} has coordinates that are not finite; encode it again from a readable image")
    return start, end


def _known(options: dict[str, Any]) -> dict[str, Any]:
    names = [f.name for f in fields(Walk)]
    unknown = [name for name in options if name not in names]
    if unknown:
        raise UserError(f"a walk has no setting '{unknown[0]}'; it has {', '.join(names)}")
    return options
