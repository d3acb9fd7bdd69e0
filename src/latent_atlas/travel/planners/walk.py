"""The two walking rules, literally, and an arrival schedule beside them.

Both rules follow a potential field. They stop where the pull of z_B and the push of the map cancel,
which is short of z_B: z_B - z = -(alpha / gamma) grad log D(z) for rule 2. The distance left is
reported.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from latent_atlas.density.base import Density, DensityRatioModel, ExactRatio, StandardNormal
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import Latents, Points
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.polyline import resample

__all__ = ["Walk", "rule1", "rule2"]

ARRIVED = 1e-4  # distance to z_B, relative to 1 + |z_B|, that rounding may leave


def rule1(
    ratio: DensityRatioModel, z: Latents, end: Latents, *, alpha: float, beta: float
) -> Latents:
    """z' = z + alpha (grad D(z) + beta grad |z_B - z|²), (n, d).

    Since grad |z_B - z|² = -2 (z_B - z), the step approaches z_B only if beta is negative.
    """
    return z + alpha * (ratio.realness_gradient(z) + beta * -2 * (end - z))


def rule2(
    ratio: DensityRatioModel, z: Latents, end: Latents, *, alpha: float, gamma: float
) -> Latents:
    """z' = z + alpha grad log D(z) + gamma (z_B - z), (n, d)."""
    return z + alpha * ratio.log_realness_gradient(z) + gamma * (end - z)


@checked
@dataclass(frozen=True)
class Walk(Planner):
    """A walk by one of the two rules, on the density's D(z).

    A density without a discriminator is compared with N(0, I): D = q / (q + p).

    Attributes:
        rule: 1 or 2; see `rule1` and `rule2`.
        alpha: Step along the map's gradient; positive.
        beta: Rule 1 only: weight of grad |z_B - z|²; negative approaches z_B, positive leaves it.
        gamma: Rule 2 only: share of the way to z_B gone at each step, in [0, 1].
        arrive: Whether to follow the arrival schedule: at step k = 1..K the push of the map is
            multiplied by 1 - k / K and the pull is at least 1 / (K - k + 1), so that the last step
            ends at z_B exactly.
        steps: K, the maximal number of steps; 1 or more.
        tolerance: Without `arrive`, the walk ends when no code moves further than this in a step,
            in units of the codes.
        ratio: Another density ratio whose D(z) to follow, such as a map of the same codes fitted
            with boundary "between"; None is the density's own. Metrics stay those of the density.
    """

    name: ClassVar[str] = "walk"

    rule: int = 2
    alpha: float = 0.1
    beta: float = -0.1
    gamma: float = 0.02
    arrive: bool = False
    steps: int = 400
    tolerance: float = 1e-4
    ratio: DensityRatioModel | None = None

    def __post_init__(self) -> None:
        """Refuse walks that are impossible."""
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
                f"alpha {self.alpha} and beta {self.beta} pull {-2 * self.alpha * self.beta:g} of "
                "the way to the end at each step; choose them so that -2 alpha beta is at most 1"
            )
        if self.steps < 1:
            raise UserError(f"a walk of {self.steps} steps does not move; choose 1 or more")

    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """See `Planner.plan`; the residual is the length of each path's last step.

        Raises:
            UserError: the walk diverged.
        """
        ratio = density if self.ratio is None else self.ratio
        if not isinstance(ratio, DensityRatioModel):
            ratio = ExactRatio(density, StandardNormal(density.dimension))
        points, moves = [start], torch.zeros_like(start[:, 0])
        for k in range(1, self.steps + 1):
            points.append(self.step(ratio, points[-1], end, k))
            moves = (points[-1] - points[-2]).norm(dim=1)
            if not moves.isfinite().all():
                raise UserError(
                    f"the walk diverged at step {k}; choose a smaller alpha than {self.alpha}"
                )
            if not self.arrive and moves.max() <= self.tolerance:
                break
        left = (end - points[-1]).norm(dim=1)
        arrived = left <= ARRIVED * (1 + end.norm(dim=1))
        converged = arrived if self.arrive else moves <= self.tolerance
        info = PlannerInfo(converged, len(points) - 1, moves)
        return resample(torch.stack(points), frames), info

    def step(self, ratio: DensityRatioModel, z: Latents, end: Latents, k: int) -> Latents:
        """The codes after step k = 1, 2, ..., shape (n, d)."""
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
