"""The two walking rules, literally, and an arrival schedule beside them.

Both rules follow a potential field: they stop where the pull of z_B and the push of the map cancel, which is short
of z_B, z_B - z = -(alpha / gamma) grad log D(z) for rule 2. The distance left is reported, never hidden.
"""

from dataclasses import dataclass

import torch

from latent_atlas.density.base import DensityRatioModel
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Trace

__all__ = ["Walk", "rule1", "rule2", "walk"]


def rule1(
    ratio: DensityRatioModel, z: Latents, end: Latents, *, alpha: float, beta: float
) -> Latents:
    """z' = z + alpha (grad D(z) + beta grad |z_B - z|²), (n, d).

    Since grad |z_B - z|² = -2 (z_B - z), the step reaches for z_B only where beta is negative.
    """
    return z + alpha * (ratio.realness_gradient(z) + beta * -2 * (end - z))


def rule2(
    ratio: DensityRatioModel, z: Latents, end: Latents, *, alpha: float, gamma: float
) -> Latents:
    """z' = z + alpha grad log D(z) + gamma (z_B - z), (n, d)."""
    return z + alpha * ratio.log_realness_gradient(z) + gamma * (end - z)


@dataclass(frozen=True)
class Walk:
    """How to walk.

    Attributes:
        rule: 1 or 2.
        alpha: Step along the map's gradient; positive.
        beta: Rule 1 only: weight of grad |z_B - z|²; negative reaches for z_B, positive flees it.
        gamma: Rule 2 only: share of the way to z_B gone at each step, in [0, 1].
        arrive: Whether to follow the arrival schedule: at step k = 1..K the map's push is multiplied by 1 - k / K
            and the pull is at least 1 / (K - k + 1), so that the last step lands on z_B exactly.
        steps: K, the most steps taken.
        tolerance: Without `arrive`, stop when no code moves further than this in a step.
    """

    rule: int = 2
    alpha: float = 0.1
    beta: float = -0.1
    gamma: float = 0.02
    arrive: bool = False
    steps: int = 400
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse walks that cannot be taken."""
        if self.rule not in (1, 2):
            raise UserError(f"walk rule {self.rule} does not exist; choose 1 or 2")
        if self.alpha <= 0:
            raise UserError(
                f"alpha is {self.alpha}; choose a positive step along the map's gradient"
            )
        if not 0 <= self.gamma <= 1:
            raise UserError(f"gamma is {self.gamma}; choose a share of the way from 0 to 1")
        if self.rule == 1 and -2 * self.alpha * self.beta > 1:
            raise UserError(
                f"alpha {self.alpha} and beta {self.beta} pull {-2 * self.alpha * self.beta:g} of the way to the end "
                "at each step; choose them so that -2 alpha beta is at most 1"
            )
        if self.steps < 1:
            raise UserError(f"a walk of {self.steps} steps goes nowhere; choose 1 or more")

    def next(self, ratio: DensityRatioModel, z: Latents, end: Latents, k: int) -> Latents:
        """The code after step k = 1, 2, ..."""
        if not self.arrive:
            if self.rule == 1:
                return rule1(ratio, z, end, alpha=self.alpha, beta=self.beta)
            return rule2(ratio, z, end, alpha=self.alpha, gamma=self.gamma)
        push = self.alpha * (1 - k / self.steps)
        pull = 1 / (self.steps - k + 1)
        if self.rule == 1:
            slope = ratio.realness_gradient(z)
            return z + push * slope + max(pull, -2 * self.alpha * self.beta) * (end - z)
        return z + push * ratio.log_realness_gradient(z) + max(pull, self.gamma) * (end - z)


def walk(
    ratio: DensityRatioModel, start: Latents, end: Latents, how: Walk
) -> tuple[Trace, dict[str, float | bool]]:
    """Walk from `start` towards `end`.

    Arguments:
        ratio: The map, whose D(z) the rules follow.
        start, end: Codes, shape (n, d).
        how: Rule, weights and schedule.

    Returns:
        Every step, shape (steps + 1, n, d), and whether the walk `converged`, its `steps` and the last step's
        largest move, `residual`.

    Raises:
        UserError: the walk ran away.
    """
    points = [start]
    move = torch.zeros(())
    for k in range(1, how.steps + 1):
        points.append(how.next(ratio, points[-1], end, k))
        move = (points[-1] - points[-2]).norm(dim=1).max()
        if not move.isfinite():
            raise UserError(
                f"the walk ran away at step {k}; choose a smaller alpha than {how.alpha}"
            )
        if not how.arrive and move <= how.tolerance:
            break
    left = (end - points[-1]).norm(dim=1).max()
    converged = left <= 1e-4 * (1 + end.norm(dim=1).max()) if how.arrive else move <= how.tolerance
    return torch.stack(points), {
        "converged": bool(converged),
        "steps": len(points) - 1,
        "residual": float(move),
    }
