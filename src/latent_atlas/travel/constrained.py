"""Paths that keep given attributes of their start while everything else moves."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from latent_atlas.attributes.base import Attribute, LogDensity
from latent_atlas.attributes.constraint import (
    Constraint,
    Retraction,
    nearest,
    retract,
    tangent,
    tolerances,
)
from latent_atlas.attributes.penalised_density import STRENGTH, penalise
from latent_atlas.attributes.probes import ClassProbe, OneClass
from latent_atlas.density.base import Density
from latent_atlas.errors import checked
from latent_atlas.shapes import ArrayLike, Latents, Mask, Points, Values
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath, PathMetrics, PlannerInfo
from latent_atlas.travel.plan import checked_ends, plan, which_paths
from latent_atlas.travel.planners.base import Planner, Resources
from latent_atlas.travel.planners.registry import planner_of

__all__ = ["preserve", "with_constraint_metrics"]


@checked
def preserve(
    density: Density,
    start: ArrayLike,
    end: ArrayLike,
    attributes: Sequence[Attribute],
    within: float | Sequence[float] | None = None,
    *,
    planner: str | Planner = "typical",
    frames: int = 17,
    threshold: float | None = None,
    penalty: float = STRENGTH,
    generator: torch.Generator | None = None,
) -> LatentPath:
    r"""Plan paths towards `end` that keep attributes of `start`.

    With C = {z : |a_i(z) - a_i(z_A)| <= w_i}, or a_i(z) >= min(a_i(z_A) - w_i, enough_i)
    for the log-odds of classes (`Constraint.around`, `ClassProbe`):

    1. z_B' is the code nearest to z_B that is in C and on the manifold; z_A' is z_A, or if need be
    a
       code of C beside it.
    2. A planner goes from z_A' to z_B' on the density penalised outside C (`PenalisedDensity`).
    3. Each frame is moved back into C, and if possible onto the manifold with it.

    Paths with the same bounds are planned together. Bounds around values differ, so such paths are
    planned one by one.

    Arguments:
        density: The map, or any density.
        start, end: z_A and z_B, shape (n, d) or (d,).
        attributes: What to keep, one or more.
        within: w_i, as for `attributes.constraint.tolerances`. That of a class is in nats.
        planner, frames, generator: As for `plan`.
        threshold: Log-density in nats from which a code is on the manifold, as for `plan`.
        penalty: λ in nats, how steeply the penalised density decreases outside C.

    Returns:
        The paths from z_A, every later frame in C unless no code of C was found (`broken`). Their
        `end` is z_B. Their metrics are those of `plan` and of `with_constraint_metrics`,
        `end_moved` and `end_inside`.

    Raises:
        UserError: as for `plan` and `Constraint.around`.

    Examples:
        >>> from latent_atlas.density.base import StandardNormal
        >>> from latent_atlas.attributes.base import Direction
        >>> a, b = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1.0])
        >>> height = Direction(torch.tensor([0.0, 1.0]))
        >>> preserve(StandardNormal(2), a, b, [height], 0.25, planner="linear").points[-1]
        tensor([[1.0000, 0.2498]])
    """
    start, end = checked_ends(start, end, frames, density.dimension)
    # The threshold of a geodesic is that of the density, not of the penalised one.
    planner = planner_of(planner).completed(density, Resources())
    constraint = Constraint.around(start, attributes, within)
    limit = density_threshold(density, start, end, generator) if threshold is None else threshold
    limit = torch.as_tensor(limit).to(start).expand(len(start))
    first = retract(constraint, start).points
    last = _arrival(constraint, density, limit, first, end)

    parts, planned = [], first.repeat(frames, 1, 1)
    warnings = (
        *(text for one in attributes for text in one.warnings),
        *_difference_warnings(start, end, attributes, within),
        *_end_warnings(last),
    )
    for rows in _alike(constraint, (first != last.points).any(dim=1)):
        part = plan(
            penalise(density, constraint[rows[:1]], penalty),
            first[rows],
            last.points[rows],
            planner,
            frames=frames,
            threshold=threshold,
            generator=generator,
        )
        planned[:, rows] = part.points
        parts.append((rows, part.info))
        warnings += part.warnings

    found = _on_manifold(
        constraint.repeat(frames), density, limit.repeat(frames), planned.flatten(0, 1)
    )
    points = _waiting(found.unflatten(0, (frames, -1)), constraint)
    points[0] = start
    metrics = replace(
        with_constraint_metrics(measure(points, end, density, limit), points, end, constraint),
        end_moved=(last.points - end).norm(dim=1),
        end_inside=last.inside.to(start),
    )
    info, warnings = _together(parts, limit), tuple(dict.fromkeys(warnings))
    return LatentPath(points, end, planner.name, info, metrics, warnings)


def with_constraint_metrics(
    metrics: PathMetrics, points: Points, end: Latents, constraint: Constraint
) -> PathMetrics:
    """The metrics with `drift`, `broken` and `progress`.

    With P the projection orthogonal to the kept gradients at z_A, the progress is
    |P (last frame - z_A)| / |P (z_B - z_A)|: 1 if all but the attributes arrived.

    Arguments:
        metrics: Those of `measure`.
        points: The paths, shape (frames, n, d).
        end: z_B, shape (n, d).
        constraint: C, with a row of bounds for each path.
    """
    frames = len(points)
    slopes = constraint.slopes(points[0])
    gone, wanted = (tangent(slopes, place - points[0]).norm(dim=1) for place in (points[-1], end))
    inside = constraint.repeat(frames - 1).contains(points[1:].flatten(0, 1))
    broken = (~inside.unflatten(0, (frames - 1, -1))).float().mean(dim=0)
    progress = gone / wanted.clamp_min(torch.finfo(points.dtype).tiny)
    drift = constraint.drifts(points)
    return replace(metrics, drift=drift, broken=broken, progress=progress)


def _arrival(
    constraint: Constraint, density: Density, threshold: Values, first: Latents, end: Latents
) -> Retraction:
    """z_B', `inside` if it is on the manifold and in C, searched for from z_B or else from z_A'."""
    both = constraint.also(Constraint.above(LogDensity(density), threshold))
    found = nearest(both, end, otherwise=retract(both, first).points)
    if found.inside.all():
        return found
    alone = nearest(constraint, end, otherwise=first)
    return Retraction(torch.where(found.inside[:, None], found.points, alone.points), found.inside)


def _on_manifold(
    constraint: Constraint, density: Density, threshold: Values, latents: Latents
) -> Latents:
    """Codes moved into C and onto the manifold, or into C alone if both is impossible, (n, d)."""
    both = retract(constraint.also(Constraint.above(LogDensity(density), threshold)), latents)
    return retract(constraint, both.points).points


def _alike(constraint: Constraint, going: Mask) -> list[Tensor]:
    """The numbers of the paths whose ends differ, those with the same bounds together."""
    bounds = torch.cat([constraint.lower, constraint.upper], dim=1)
    _, groups = torch.unique(bounds, dim=0, return_inverse=True)
    rows = (((groups == group) & going).nonzero()[:, 0] for group in range(int(groups.max()) + 1))
    return [numbers for numbers in rows if len(numbers)]


def _waiting(points: Points, constraint: Constraint) -> Points:
    """The same frames; one that is outside C is replaced by the last one inside."""
    frames = [points[0]]
    for point in points[1:]:
        frames.append(torch.where(constraint.contains(point)[:, None], point, frames[-1]))
    return torch.stack(frames)


def _difference_warnings(
    start: Latents,
    end: Latents,
    attributes: Sequence[Attribute],
    within: float | Sequence[float] | None,
) -> tuple[str, ...]:
    """A warning for each attribute that is kept and that ends do not have."""
    found = []
    for attribute, width in zip(attributes, tolerances(attributes, within), strict=True):
        other, said = _differing(start, end, attribute, width)
        if count := int(other.sum()):
            found.append(
                f"{which_paths(count, len(other))} cannot arrive: the end differs from the start "
                f"in '{attribute.name}'{said}, which is kept, so the path goes to the nearest code "
                "that keeps it"
            )
    return tuple(found)


def _differing(
    start: Latents, end: Latents, attribute: Attribute, width: float
) -> tuple[Mask, str]:
    """Which ends do not have the attribute of their start; and of one path, what both have."""
    if not isinstance(attribute, ClassProbe):
        other = ~Constraint.around(start, [attribute], width).contains(end)
        with torch.no_grad():
            before, after = attribute.values(start), attribute.values(end)
        if before.numel() > 1:
            return other, ""
        if isinstance(attribute, OneClass):
            return other, f" (read as {attribute.read(end)})"
        return other, f" ({after.item():.3g}, not {before.item():.3g})"
    before, after = attribute.classify(start), attribute.classify(end)
    if len(start) > 1:
        return before != after, ""
    a, b = (attribute.names[int(number)] for number in (before, after))
    return before != after, f" ({b}, not {a})"


def _end_warnings(last: Retraction) -> tuple[str, ...]:
    """A warning if ends are off-manifold."""
    lost = int((~last.inside).sum())
    if not lost:
        return ()
    return (
        f"for {which_paths(lost, len(last.inside))} no end was found that is on the manifold and "
        "keeps the attributes, so the end only keeps them; keep them within more, or with a "
        "smaller margin",
    )


def _together(parts: Sequence[tuple[Tensor, PlannerInfo]], values: Values) -> PlannerInfo:
    """The information of all paths from that of parts; a path that stayed has converged."""
    converged, residual = torch.ones_like(values).bool(), torch.zeros_like(values)
    moving = [(rows, info) for rows, info in parts if info.converged is not None]
    for rows, info in moving:
        assert info.converged is not None
        converged[rows] = info.converged
        residual[rows] = 0 if info.residual is None else info.residual
    if parts and not moving:
        return PlannerInfo()
    return PlannerInfo(converged, max((info.iterations for _, info in parts), default=0), residual)
