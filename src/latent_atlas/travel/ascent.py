"""Projection of off-manifold codes: gradient ascent of log q up to a threshold."""

from dataclasses import dataclass, replace

import torch

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, Mask, Values, as_floats, as_row_or_rows
from latent_atlas.travel.metrics import measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.path_info import PlannerInfo

__all__ = ["Projection", "project", "projected"]

# Share of the increase predicted by the slope that a step keeps: on a parabola none passes the top.
SUFFICIENT = 0.5
HALVINGS = 20  # of the last step, to end where log q is the target


@dataclass(frozen=True)
class Projection:
    """Projected codes.

    Attributes:
        points: Shape (n, d).
        log_probs: log q there in nats, shape (n,); never lower than it was.
        moved: Distance from where each code was, shape (n,); 0 for codes that were at the target or
            above.
        converged: Whether each code reached the target, shape (n,).
        steps: Trial steps of each code, shape (n,).
    """

    points: Latents
    log_probs: Values
    moved: Values
    converged: Mask
    steps: Values


@torch.no_grad()
@checked
def project(
    density: Density,
    latents: ArrayLike,
    target: float | ArrayLike,
    *,
    widths: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25, 0.125),
    steps: int = 200,
    tolerance: float = 1e-4,
) -> Projection:
    r"""Project codes to high density: ascend log q along the score until log q is the target.

    The gradient far from the data is uninformative. So, if the density has noise levels, a
    code z starts on log q_w at the width w under which z is most likely, which is about its
    distance from the data over sqrt(d): a code close by ascends the sharp density to the
    region next to it, one far away moves to the nearest region at its scale. It goes on to the next
    finer width once that makes it more likely, or at the maximum of log q_w.

    At each width this is gradient ascent with backtracking, z' = z + a grad log q_w(z), whose
    log q_w never decreases. Its first step a = w² leads to the mean of the codes that z may come
    from (Tweedie's formula). The step on which log q passes the target is halved until it ends
    there.

    References:
        Neural Empirical Bayes, Saremi and Hyvärinen 2019, for the step w²; Minimization of
        functions having Lipschitz continuous first partial derivatives, Armijo 1966, for the
        backtracking.

    Arguments:
        density: q.
        latents: Codes, shape (n, d) or (d,).
        target: log q in nats, one or one per code, shape (n,): the density threshold puts a code at
            the edge of the manifold, the median makes it typical.
        widths: Noise widths in units of the codes, from coarse to fine; unused if the density has
            no noise levels.
        steps: Maximal number of trial steps at each width.
        tolerance: Length of a step, in units of the codes, below which a code is at a maximum.

    Returns:
        The projected codes. A code that does not reach the target ends at the highest log q that it
        came to, or stays where it was.

    Raises:
        UserError: the codes are not of the density or not finite, or the widths do not decrease.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> lost = torch.tensor([[9.0, 0.0]])
        >>> project(two_clusters(2, distance=4.0), lost, target=-2.0).points
        tensor([[2.6539, 0.0000]])
    """
    latents = as_row_or_rows(latents)
    _check(density, latents, widths)
    widths = widths if density.noise_levels else ()
    levels = [density.noised(width) for width in widths] + [density]
    first = torch.stack([level.log_prob(latents) for level in levels]).argmax(dim=0)
    before = density.log_prob(latents)
    goal = as_floats(target).detach().to(before)
    if goal.shape not in ((), before.shape):
        raise UserError(
            f"the target must be one number or one for each of {len(before)} codes; its shape is "
            f"{tuple(goal.shape)}"
        )
    goal = goal.expand_as(before)
    climbers = _Climbers(latents, latents, before < goal, torch.zeros_like(before))
    rules = _Rules(density, goal, steps, tolerance)
    for number, level in enumerate(levels):
        step = widths[min(number, len(widths) - 1)] ** 2 if widths else 1.0
        climbers = rules.climb(level, levels[number + 1 :], climbers, first <= number, step)
    points = rules.halved(climbers)
    log_probs = density.log_prob(points)
    points = torch.where((log_probs > before)[:, None], points, latents)
    moved = (points - latents).norm(dim=1)
    return Projection(points, log_probs.maximum(before), moved, ~climbers.awake, climbers.steps)


def projected(density: Density, latents: Latents, threshold: float) -> LatentPath:
    """Paths of two frames, from codes (n, d) to their projections, with the metric `moved`.

    Arguments:
        density, latents: As for `project`.
        threshold: Log-density in nats that is projected to.
    """
    found = project(density, latents, threshold)
    points = torch.stack([latents, found.points])
    metrics = replace(measure(points, found.points, density, threshold), moved=found.moved)
    info = PlannerInfo(found.converged, int(max(found.steps.tolist(), default=0)))
    return LatentPath(points, found.points, "project", info, metrics)


@dataclass(frozen=True)
class _Climbers:
    """Codes that ascend; every tensor has a row for each."""

    latents: Latents  # where they are
    below: Latents  # where they were a step before, under the target
    awake: Mask  # whether log q is still below the target
    steps: Values  # trial steps so far


@dataclass(frozen=True)
class _Rules:
    """When an ascent ends: at log q = `target`, after `steps`, or if a step is too short."""

    density: Density
    target: Values
    steps: int
    tolerance: float

    def climb(
        self,
        level: Density,
        finer: list[Density],
        climbers: _Climbers,
        joins: Mask,
        first_step: float,
    ) -> _Climbers:
        """Ascend this level with the codes that join, until the next finer one is more likely."""
        z, below, awake, taken = climbers.latents, climbers.below, climbers.awake, climbers.steps
        height, slope = level.log_prob_and_score(z)
        step, climbing = torch.full_like(height, first_step), awake & joins
        for _ in range(self.steps):
            climbing = climbing & (step * slope.norm(dim=1) > self.tolerance)
            if finer:
                climbing = climbing & (finer[0].log_prob(z) < height)
            if not climbing.any():
                break
            trial = z + step[:, None] * slope
            reached = level.log_prob(trial)
            rises = climbing & (reached >= height + SUFFICIENT * step * slope.square().sum(dim=1))
            below = torch.where(rises[:, None], z, below)
            z, height = torch.where(rises[:, None], trial, z), torch.where(rises, reached, height)
            taken = taken + climbing
            arrived = rises & (self.density.log_prob(z) >= self.target)
            awake, climbing = awake & ~arrived, climbing & ~arrived
            slope, step = level.score(z), torch.where(rises, 2 * step, step / 2)
        return _Climbers(z, below, awake, taken)

    def halved(self, climbers: _Climbers) -> Latents:
        """The last step cut short where log q is the target, never below it."""
        low, high = climbers.below, climbers.latents
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            enough = (self.density.log_prob(middle) >= self.target)[:, None]
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        return high


def _check(density: Density, latents: Latents, widths: tuple[float, ...]) -> None:
    """Refuse codes that cannot be projected, and widths that do not decrease."""
    if latents.shape[1] != density.dimension:
        raise UserError(
            f"the density is of codes with {density.dimension} coordinates; "
            f"these have {latents.shape[1]}"
        )
    if not latents.isfinite().all():
        raise UserError(
            "a code has coordinates that are not finite; encode it again from a readable image"
        )
    if min(widths, default=1.0) <= 0 or list(widths) != sorted(widths, reverse=True):
        raise UserError(f"the widths are {widths}; choose positive ones, from coarse to fine")
