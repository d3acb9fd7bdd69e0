"""Journeys that keep given attributes of their start while everything else moves."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latent_atlas.attributes.base import Attribute, LogDensity
from latent_atlas.attributes.constraint import Constraint, Retraction, nearest, retract, tangent
from latent_atlas.attributes.penalised_density import STRENGTH, penalise
from latent_atlas.density.base import Density
from latent_atlas.shapes import Latents, Mask, Points, Values
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.plan import checked_ends, plan

__all__ = ["kept", "preserve"]


def preserve(
    density: Density,
    start: Tensor,
    end: Tensor,
    attributes: Sequence[Attribute],
    within: float | Sequence[float] = 0.1,
    *,
    planner: str = "geodesic",
    frames: int = 17,
    threshold: float | None = None,
    steepness: float = STRENGTH,
    generator: torch.Generator | None = None,
    **options: Any,
) -> LatentPath:
    r"""Travel towards `end` as far as that can be done with properties of `start`.

    With C = {z : |a_i(z) - a_i(z_A)| <= w_i}, or a_i(z) >= margin for a class (`Constraint.around`):

    1. z_B' is the place nearest to z_B that is in C and in the population; z_A' is z_A, or if need be a place of C
       beside it.
    2. A planner goes from z_A' to z_B' on the density restricted to C (`PenalisedDensity`).
    3. Each frame is brought back into C, and with it into the population where both can be had.

    Journeys with the same bounds are planned together; bounds around values differ, so such journeys are planned one
    by one.

    Arguments:
        density: The map, or any density.
        start, end: z_A and z_B, shape (n, d) or (d,).
        attributes: What to keep, one or more.
        within: w_i in each attribute's own unit, above 0; one for all or one for each. A class has its margin instead.
        planner, frames, floor, generator, **options: As for `plan`.
        steepness: λ in nats, how steeply the restricted density falls outside of C.

    Returns:
        The path from z_A, every later frame in C unless no place of C was found (`broken`). Its `end` is z_B, its
        metrics are those of `plan` and of `kept`. Its info says the planner's part and, as means over journeys,
        `end_moved`, |z_B' - z_B|, and `end_inside`, the share of ends that are in C and in the population.

    Raises:
        UserError: as for `plan` and `Constraint.around`.

    Examples:
        >>> from latent_atlas.density.base import StandardNormal
        >>> from latent_atlas.attributes.base import Direction
        >>> a, b = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> path = preserve(StandardNormal(2), a, b, [Direction(torch.tensor([0.0, 1.0]))], 0.25, planner="linear")
        >>> path.points[-1]
        tensor([[1.0000, 0.2498]])
    """
    start, end = checked_ends(start, end, frames, density.dimension)
    constraint = Constraint.around(start, attributes, within)
    lowest = density_threshold(density, start, end, generator) if threshold is None else threshold
    lowest = torch.as_tensor(lowest).to(start).expand(len(start))
    first = retract(constraint, start).points
    last = _arrival(constraint, density, lowest, first, end)

    planned, infos, numbers, notes = first.repeat(frames, 1, 1), [], {}, _notes(last)
    for rows in _alike(constraint, (first != last.points).any(dim=1)):
        judged = penalise(density, constraint[rows[:1]], steepness)
        ends = first[rows], last.points[rows]
        part = plan(
            judged,
            *ends,
            planner,
            frames=frames,
            threshold=threshold,
            generator=generator,
            **options,
        )
        planned[:, rows] = part.points
        infos.append(part.info)
        notes += part.notes
        for name, values in part.metrics.items():
            numbers.setdefault(name, torch.ones_like(lowest))[rows] = values

    found = _populated(
        constraint.repeat(frames), density, lowest.repeat(frames), planned.flatten(0, 1)
    )
    points = _waiting(found.unflatten(0, (frames, -1)), constraint)
    points[0] = start
    moved = (last.points - end).norm(dim=1).mean().item()
    info = _together(infos) | {"end_moved": moved, "end_inside": last.inside.float().mean().item()}
    path = LatentPath(points, end, planner, info, numbers, tuple(dict.fromkeys(notes)))
    return path.with_metrics(measure(path, density, lowest) | kept(path, constraint))


def kept(path: LatentPath, constraint: Constraint) -> dict[str, Values]:
    """What became of the attributes, numbers per journey, shape (n,) each.

    Arguments:
        path: The journeys.
        constraint: C, with a row of bounds for each.

    Returns:
        drift NAME: for each attribute, as `Constraint.drifts`;
        broken: share of the frames after the first that are outside C, in [0, 1];
        progress: |P (last frame - z_A)| / |P (z_B - z_A)|, with P the projection orthogonal to the kept gradients at
            z_A: 1 where all but the attributes arrived.
    """
    points, frames = path.points, len(path.points)
    slopes = constraint.slopes(points[0]) * constraint.bounded[..., None]
    gone, wanted = (
        tangent(slopes, place - points[0]).norm(dim=1) for place in (points[-1], path.end)
    )
    outside = ~constraint.repeat(frames - 1).contains(points[1:].flatten(0, 1)).unflatten(
        0, (frames - 1, -1)
    )
    progress = gone / wanted.clamp_min(torch.finfo(points.dtype).tiny)
    return constraint.drifts(points) | {"broken": outside.float().mean(dim=0), "progress": progress}


def _arrival(
    constraint: Constraint, density: Density, threshold: Values, first: Latents, end: Latents
) -> Retraction:
    """z_B', `inside` where it is in the population as well as in C, searched for from z_B or else from z_A'."""
    both = constraint.also(Constraint.above(LogDensity(density), threshold))
    found = nearest(both, end, otherwise=retract(both, first).points)
    alone = nearest(constraint, end, otherwise=first)
    return Retraction(torch.where(found.inside[:, None], found.points, alone.points), found.inside)


def _populated(
    constraint: Constraint, density: Density, threshold: Values, latents: Latents
) -> Latents:
    """Codes brought into C and into the population, or into C alone where both cannot be had, shape (n, d)."""
    both = retract(constraint.also(Constraint.above(LogDensity(density), threshold)), latents)
    return retract(constraint, both.points).points


def _alike(constraint: Constraint, going: Mask) -> list[Tensor]:
    """The numbers of the journeys that go somewhere, those with the same bounds together."""
    bounds = torch.cat([constraint.lower, constraint.upper], dim=1)
    _, groups = torch.unique(bounds, dim=0, return_inverse=True)
    rows = (((groups == group) & going).nonzero()[:, 0] for group in range(int(groups.max()) + 1))
    return [numbers for numbers in rows if len(numbers)]


def _waiting(points: Points, constraint: Constraint) -> Points:
    """The same frames; one that is outside C waits where the last one inside was."""
    frames = [points[0]]
    for point in points[1:]:
        frames.append(torch.where(constraint.contains(point)[:, None], point, frames[-1]))
    return torch.stack(frames)


def _notes(last: Retraction) -> tuple[str, ...]:
    """A sentence where ends are outside of the population."""
    lost = int((~last.inside).sum())
    if not lost:
        return ()
    return (
        f"for {lost} of {len(last.inside)} journeys no end was found that is in the population and keeps the "
        "attributes, so it only keeps them; keep them within more, or with a smaller margin",
    )


def _together(infos: list[dict[str, float | bool]]) -> dict[str, float | bool]:
    """What planners say of several parts: true if it is of all of them, a number the largest."""
    names = infos[0] if infos else ()
    said = {name: [info[name] for info in infos] for name in names}
    return {name: all(v) if isinstance(v[0], bool) else max(v) for name, v in said.items()}
