"""Paths along an attribute: more of it, while others stay and the density stays high."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from latent_atlas.attributes.base import Attribute, Direction, LogDensity
from latent_atlas.attributes.constraint import Constraint, retract, tangent
from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, Values, as_floats
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.path_info import PlannerInfo

__all__ = ["traverse"]

LEAST_GROWTH = 0.03  # cosine between a direction and the gradient from which on it is followed
EXACT = 1e-2  # share of a step by which its value may differ from the wanted one


@checked
def traverse(
    density: Density,
    start: ArrayLike,
    attribute: Attribute | ArrayLike,
    *,
    by: float | ArrayLike | None = None,
    to: float | ArrayLike | None = None,
    keep: Sequence[Attribute] = (),
    within: float | Sequence[float] | None = None,
    frames: int = 17,
    steps: int = 4,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
) -> LatentPath:
    r"""Traverse an attribute by an amount, or to a value, in equal steps of its value.

    The curve is dz/da = P v / <g, P v>, with g = grad a(z), v the direction of the attribute, which
    is g unless it knows a better one, and P the projection orthogonal to the gradients of the kept
    attributes. Each step follows it to a(z) = a_j and is corrected by the
    shortest way (`retract`) to a code with that value, the kept attributes in their bounds and log
    q at the threshold or above. A path for which there is no such code stays where it is: that is
    as much of the attribute as the population has.

    References:
        Introduction to Numerical Continuation Methods, Allgower and Georg 2003, chapter 6
        (predictor, corrector); Interpreting the Latent Space of GANs for Semantic Face Editing,
        Shen et al. 2020, equation 8 (P).

    Arguments:
        density: The map, or any density.
        start: z_A, shape (n, d) or (d,).
        attribute: What to change, of one value; or a direction u (d,), for a(z) = <z, u> / |u|.
        by: How much more of it, in its own unit, negative for less; one for all paths or one for
            each (n,).
        to: The value to reach, instead of `by`.
        keep: Attributes to keep.
        within: How far those may move, as for `travel.preserve`.
        frames: Points of the path, with both ends, at equal steps of the attribute; 2 or more.
        steps: Steps of the curve between frames; 1 or more.
        threshold: Lowest log q in nats, by default as for `plan`; for a start that is lower, its
            own.
        generator: Source of randomness for a threshold that is estimated from draws.

    Returns:
        The paths; their `end` is where they ended. The metrics have `value`, `reached` and `drift`.
        A path has converged if it made all of the change.

    Raises:
        UserError: the attribute has several values, or there is no change to make.

    Examples:
        >>> from latent_atlas.density.base import StandardNormal
        >>> up = torch.tensor([0.0, 1.0])
        >>> path = traverse(StandardNormal(2), torch.zeros(2), up, by=1.0, frames=3, threshold=-9.0)
        >>> path.points[:, 0, 1]
        tensor([0.0000, 0.5000, 1.0000])
    """
    start = _rows(start, density.dimension)
    followed = attribute if isinstance(attribute, Attribute) else Direction(attribute)
    begun, change = _change(followed, start, by, to)
    if frames < 2 or steps < 1:
        raise UserError(
            f"frames is {frames} and steps is {steps}; "
            "choose frames of 2 or more and steps of 1 or more"
        )
    lowest = density_threshold(density, start, start, generator) if threshold is None else threshold
    with torch.no_grad():
        lowest = density.log_prob(start).clamp_max(torch.as_tensor(lowest).to(start))
    limits = Constraint.above(LogDensity(density), lowest)
    if keep:
        limits = Constraint.around(start, keep, within).also(limits)

    z, rows, points = start.clone(), torch.arange(len(start), device=start.device), [start]
    total = steps * (frames - 1)
    for j in range(1, total + 1):
        if len(rows):  # some decoders take no empty batch
            wanted = begun[rows] + change[rows] * (j / total)
            there = Constraint.near(followed, wanted, EXACT * change[rows].abs() / total).also(
                limits[rows]
            )
            found = retract(there, _advanced(followed, limits[rows], z[rows], wanted))
            rows = rows[found.inside]
            z[rows] = found.points[found.inside]
        if j % steps == 0:
            points.append(z.clone())

    with torch.no_grad():
        value = followed.values(z)[:, 0]
    converged = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    converged[rows] = True
    path = torch.stack(points)
    metrics = replace(
        measure(path, z, density, lowest),
        drift=limits.drifts(path, len(keep)),
        value=value,
        reached=(value - begun) / change,
    )
    warnings = tuple(text for one in (followed, *keep) for text in one.warnings)
    return LatentPath(path, z, "traverse", PlannerInfo(converged, total), metrics, warnings)


def _advanced(followed: Attribute, limits: Constraint, z: Latents, wanted: Values) -> Latents:
    """z + P v (a_j - a(z)) / <g, P v>, with P orthogonal to the gradients of the kept attributes.

    Where the attribute hardly grows along P v, it is along P g.
    """
    with torch.no_grad():
        missing = wanted - followed.values(z)[:, 0]
    slope, held = followed.slopes(z)[:, 0], limits.held(z)
    free, along = tangent(held, slope), tangent(held, followed.direction(z))
    grows = F.cosine_similarity(along, free) > LEAST_GROWTH
    along = torch.where(grows[:, None], along, free)
    # Of a gradient that the kept ones span only rounding errors are left: no step along them.
    moves = free.norm(dim=1) > 1e-3 * slope.norm(dim=1)
    return z + torch.where(moves, missing / (slope * along).sum(dim=1), 0.0)[:, None] * along


def _change(
    followed: Attribute, start: Latents, by: float | ArrayLike | None, to: float | ArrayLike | None
) -> tuple[Values, Values]:
    """The attribute's value at each start, and the change wanted of it."""
    with torch.no_grad():
        values = followed.values(start)
    if values.shape[1] != 1:
        raise UserError(
            f"only an attribute of one value can be traversed; '{followed.name}' has "
            f"{values.shape[1]}: take one of them"
        )
    if (by is None) == (to is None):
        raise UserError(
            f"give one of the change of '{followed.name}' (by) and the value to reach (to); "
            f"{'neither is' if by is None else 'both are'} given"
        )
    begun = values[:, 0]
    change = as_floats(by if to is None else to).detach().to(begun)
    if change.shape not in ((), begun.shape):
        raise UserError(
            f"the change of '{followed.name}' must be one number or one for each of {len(begun)} "
            f"starts; its shape is {tuple(change.shape)}"
        )
    change = change.expand_as(begun)
    change = change if to is None else change - begun
    if not (change.isfinite() & (change != 0)).all():
        path = int((~change.isfinite() | (change == 0)).nonzero()[0])
        raise UserError(
            f"'{followed.name}' of path {path} would change by {change[path].item():g}; "
            "choose a finite change other than 0"
        )
    return begun, change


def _rows(given: ArrayLike, dimension: int) -> Latents:
    """Codes as (n, d)."""
    rows = torch.atleast_2d(as_floats(given).detach())
    if rows.ndim != 2 or rows.shape[1] != dimension or not rows.isfinite().all():
        raise UserError(
            f"a path starts from finite codes (n, {dimension}) or ({dimension},); "
            f"given were {rows.dtype} of shape {tuple(rows.shape)}"
        )
    return rows
