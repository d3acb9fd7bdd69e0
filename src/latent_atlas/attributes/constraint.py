"""Attributes within bounds: the set C of allowed codes, its tangent space, and retraction to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.attributes.base import Attribute, AttributeValues, Slopes
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Mask, Points, Values

__all__ = ["Constraint", "Retraction", "nearest", "retract", "tangent", "tolerances"]

INSET = 1e-3  # how far inside its bound a value is brought back to, in units of `Constraint.unit`
LEAST = 1e-6  # damping of a retraction: its steps are this much shorter than Newton's
LEAST_SHARE = 1 / 16  # of a step that has come no nearer, from which on none is tried
PASSES = 3  # rounds in which values join those that a step keeps in their bounds
STALLED = 1e8  # damping at which it is given up
# Longest step of a retraction in units of the codes: a linear model is invalid further away.
STRIDE = 1.0


@dataclass(frozen=True, eq=False)
class Constraint:
    """C = {z : lower_i <= a_i(z) <= upper_i}.

    Attributes:
        attributes: The a_i, k values in all.
        lower, upper: Shape (n, k), a row for each code, or (1, k), one for all; infinite where
            there is no bound.
    """

    attributes: tuple[Attribute, ...]
    lower: Tensor
    upper: Tensor

    @classmethod
    def around(
        cls,
        start: Latents,
        attributes: Sequence[Attribute],
        tolerance: float | Sequence[float] | None,
    ) -> "Constraint":
        """What paths from `start` keep: a(z_A) ± tolerance of most attributes, the log-odds of a
        class.

        Arguments:
            start: z_A, shape (n, d).
            attributes: One or more.
            tolerance: As for `tolerances`.

        Raises:
            UserError: as for `tolerances`, or a start has nothing of an attribute to keep.
        """
        every = tolerances(attributes, tolerance)
        pairs = [
            attribute.bounds(start, width)
            for attribute, width in zip(attributes, every, strict=True)
        ]
        lower, upper = (torch.cat(side, dim=1) for side in zip(*pairs, strict=True))
        return cls(tuple(attributes), lower, upper)

    @classmethod
    def above(cls, attribute: Attribute, lower: Values) -> "Constraint":
        """a(z) >= lower, (n,), for an attribute of one value."""
        return cls((attribute,), lower[:, None], torch.full_like(lower, math.inf)[:, None])

    @classmethod
    def near(cls, attribute: Attribute, value: Values, tolerance: Values) -> "Constraint":
        """|a(z) - value| <= tolerance, (n,) each, for an attribute of one value."""
        return cls((attribute,), (value - tolerance)[:, None], (value + tolerance)[:, None])

    def __getitem__(self, rows: Tensor) -> "Constraint":
        """The bounds of some codes, by their numbers or by a mask; those for all stay for all."""
        if len(self.lower) == 1:
            return self
        return Constraint(self.attributes, self.lower[rows], self.upper[rows])

    def repeat(self, frames: int) -> "Constraint":
        """The bounds of n paths for all of their frames, in the order of `points.flatten(0, 1)`."""
        return Constraint(
            self.attributes, self.lower.repeat(frames, 1), self.upper.repeat(frames, 1)
        )

    def also(self, other: "Constraint") -> "Constraint":
        """C and another constraint's set together: their intersection."""
        (n,) = torch.broadcast_shapes(self.lower.shape[:1], other.lower.shape[:1])
        lower = torch.cat([self.lower.expand(n, -1), other.lower.expand(n, -1)], dim=1)
        upper = torch.cat([self.upper.expand(n, -1), other.upper.expand(n, -1)], dim=1)
        return Constraint(self.attributes + other.attributes, lower, upper)

    @property
    def unit(self) -> Tensor:
        """The unit of a violation, shaped as the bounds: half their distance, 1 where one is
        missing.
        """
        half = (self.upper - self.lower) / 2
        return torch.where(half.isfinite(), half, 1.0)

    @property
    def bounded(self) -> Tensor:
        """Which values have a bound, shape as the bounds."""
        return self.lower.isfinite() | self.upper.isfinite()

    def values(self, latents: Latents) -> AttributeValues:
        """a(z), shape (n, k)."""
        return torch.cat([attribute.values(latents) for attribute in self.attributes], dim=1)

    def slopes(self, latents: Latents) -> Slopes:
        """J, the gradients of all values that have bounds, 0 for others, shape (n, k, d)."""
        bounded = self.bounded.expand(len(latents), -1)
        parts, column = [], 0
        for attribute in self.attributes:
            parts.append(attribute._bounded_slopes(latents, bounded[:, column:]))
            column += parts[-1].shape[1]
        return torch.cat(parts, dim=1) * bounded[..., None]

    def violation(self, values: AttributeValues) -> AttributeValues:
        """How far values a(z) are above the upper bound, or (negative) below the lower, (n, k)."""
        return (values - self.upper).clamp_min(0) - (self.lower - values).clamp_min(0)

    @torch.no_grad()
    def contains(self, latents: Latents) -> Mask:
        """Whether each code is in C."""
        return (self.violation(self.values(latents)) == 0).all(dim=1)

    @torch.no_grad()
    def drifts(self, points: Points, count: int | None = None) -> dict[str, Values]:
        """Largest |a(z_k) - a(z_0)| over frames, (n,), by name, of the first `count` attributes.

        Of an attribute with several values, those that have bounds count.
        """
        attributes = self.attributes[:count]
        numbers, column = {}, 0
        for attribute in attributes:
            values = attribute.values(points.flatten(0, 1)).unflatten(0, points.shape[:2])
            bounded = self.bounded[:, column : column + values.shape[2]]
            column += values.shape[2]
            numbers[attribute.name] = ((values - values[0]).abs() * bounded).amax(dim=(0, 2))
        return numbers

    def held(self, latents: Latents) -> Slopes:
        """The gradients of the values between two bounds, 0 in place of the others, (n, k, d)."""
        return self.slopes(latents) * (self.upper - self.lower).isfinite()[..., None]


def tolerances(
    attributes: Sequence[Attribute], tolerance: float | Sequence[float] | None
) -> list[float]:
    """How far each attribute may move, in its own unit.

    Arguments:
        attributes: One or more.
        tolerance: Above 0; one for all or one for each. None is that of each attribute, such as a
            tenth of the standard deviation of a number that was learned.

    Raises:
        UserError: there is nothing to keep, or a tolerance too many, too few or not positive.
    """
    if tolerance is None:
        tolerance = [attribute.tolerance for attribute in attributes]
    elif isinstance(tolerance, int | float):
        tolerance = [tolerance] * len(attributes)
    every = list(tolerance)
    if not attributes or len(every) != len(attributes) or min(every) <= 0:
        raise UserError(
            f"keeping takes one or more attributes with a positive tolerance each; there are "
            f"{len(attributes)} attributes and the tolerances {every}"
        )
    return every


def tangent(slopes: Slopes, vectors: Latents) -> Latents:
    """P v = v - J⁺ J v: the part of each vector orthogonal to the gradients J (n, k, d), (n, d)."""
    across = torch.linalg.pinv(slopes) @ (slopes @ vectors[..., None])
    return vectors - across[..., 0]


@dataclass(frozen=True, eq=False)
class Retraction:
    """Codes brought back into C.

    Attributes:
        points: Shape (n, d).
        inside: Which of them are in C, shape (n,); the others came as near as their slopes could
            bring them.
    """

    points: Latents
    inside: Mask


@torch.no_grad()
def retract(constraint: Constraint, latents: Latents, *, steps: int = 100) -> Retraction:
    r"""Move codes into C by steps that are as short as possible; codes in C stay.

    z' = z - Jᵀ (J Jᵀ + λ diag J Jᵀ)⁻¹ v, damped Gauss-Newton steps, with J and v the gradients and
    violations of the values that are outside of their bounds or would be pushed there. The damping
    λ falls by ten where a step lowers |v| and grows by ten where it is taken back. For a linear
    attribute the end is the closest place of C.

    References:
        An Algorithm for Least-Squares Estimation of Nonlinear Parameters, Marquardt 1963.

    Arguments:
        constraint: Bounds for each code, or for all.
        latents: Shape (n, d).
        steps: The most that are tried.
    """
    points = latents.clone()
    damping = torch.full_like(points[:, 0], LEAST)
    values = constraint.values(points)
    for _ in range(steps):
        rows = ((constraint.violation(values) != 0).any(dim=1) & (damping < STALLED)).nonzero()[
            :, 0
        ]
        if not len(rows):
            break
        bounds = constraint[rows]
        step = _projection(
            bounds, bounds.slopes(points[rows]), values[rows], damping[rows]
        ).nan_to_num()
        trial = points[rows] + step * (STRIDE / step.norm(dim=1, keepdim=True).clamp_min(STRIDE))
        at_trial = bounds.values(trial)
        better = _size(bounds, at_trial) < _size(bounds, values[rows])
        points[rows] = torch.where(better[:, None], trial, points[rows])
        values[rows] = torch.where(better[:, None], at_trial, values[rows])
        damping[rows] = (damping[rows] * torch.where(better, 0.1, 10.0)).clamp_min(LEAST)
    return Retraction(points, constraint.contains(points))


@torch.no_grad()
def nearest(
    constraint: Constraint, latents: Latents, *, otherwise: Latents | None = None, rounds: int = 20
) -> Retraction:
    """The code of C nearest to each code, found by successive linear models of the attributes.

    z' = retract(z + s (w - z)), where w is the projection of the code onto the bounds of a(z) + J
    (w - z), and s is halved where that comes no nearer.

    References:
        Numerical Optimization, Nocedal and Wright 2006, chapter 18 (sequential quadratic
        programming).

    Arguments:
        constraint: Bounds for each code, or for all.
        latents: Shape (n, d).
        otherwise: Codes of C, shape (n, d), to search from where a retraction finds none.
        rounds: Linear models that are tried.
    """
    found = retract(constraint, latents)
    if otherwise is not None:
        places = torch.where(found.inside[:, None], found.points, otherwise)
        found = Retraction(places, found.inside | constraint.contains(otherwise))
    points, share = found.points.clone(), torch.ones_like(latents[:, :1])
    for _ in range(rounds):
        if (share < LEAST_SHARE).all():
            break
        slopes, way = constraint.slopes(points), latents - points
        there = constraint.values(points) + (slopes @ way[..., None])[..., 0]
        move = way + _projection(constraint, slopes, there, torch.full_like(share[:, 0], LEAST))
        trial = retract(constraint, points + share * move)
        closer = trial.inside & ((trial.points - latents).norm(dim=1) < way.norm(dim=1))
        points = torch.where(closer[:, None], trial.points, points)
        share = torch.where(closer[:, None], share, share / 2)
    return Retraction(points, found.inside)


def _projection(
    bounds: Constraint, slopes: Slopes, values: AttributeValues, damping: Values
) -> Latents:
    """The shortest step that moves values with these slopes a little inside their bounds, (n, d).

    -Jᵀ (J Jᵀ + λ diag J Jᵀ)⁻¹ (a - goal) over the values that are outside; whichever others it
    would push outside are then taken in and held at their bound.
    """
    inset = INSET * bounds.unit
    gram = slopes @ slopes.mT
    diagonal = gram.diagonal(dim1=1, dim2=2)
    gram = gram + torch.diag_embed(damping[:, None] * diagonal)
    goal, active, step = (
        values,
        torch.zeros_like(values, dtype=torch.bool),
        torch.zeros_like(slopes[:, 0]),
    )
    for _ in range(PASSES):
        predicted = values + (slopes @ step[..., None])[..., 0]
        beyond = bounds.violation(predicted) != 0
        goal = torch.where(
            beyond, predicted.clamp(bounds.lower + inset, bounds.upper - inset), goal
        )
        active = active | beyond
        both = active[:, :, None] & active[:, None]
        alone = torch.diag_embed(
            (~active | (diagonal == 0)).to(values)
        )  # rows that ask for nothing
        weights = torch.linalg.solve_ex(
            gram * both + alone, (values - goal)[..., None] * active[..., None]
        )[0]
        step = -(slopes.mT @ weights)[..., 0]
    return step


def _size(bounds: Constraint, values: AttributeValues) -> Values:
    """Size of the violation in units of the bounds, shape (n,)."""
    return (bounds.violation(values) / bounds.unit).norm(dim=1)
