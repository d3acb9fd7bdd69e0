"""Paths along the probability flow: from one end through the noise levels to the other."""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.sampling.probability_flow import angles_down, heun_step
from latent_atlas.sampling.whitened import Whitened, round_coordinates
from latent_atlas.shapes import Latents, Points
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.planners.baselines import slerp

__all__ = ["Flow", "turn_of_normals"]


@checked
@dataclass(frozen=True)
class Flow(Planner):
    """Both ends are carried along the probability flow to N(0, I), turned there, and carried back.

    The flow carries q to N(0, I) and back without a choice, and the turn from one sample of
    N(0, I) to an independent one stays N(0, I). So the frames between two independent samples of q
    are samples of q, at every place of the path: they look as real codes do. The price is a path
    that may move fast where q has gaps.

    References:
        Score-Based Generative Modeling through Stochastic Differential Equations, Song et al. 2021,
        for interpolation by the probability flow; Optimal Transport Maps for Distribution
        Preserving Operations on Latent Spaces, Agustsson et al. 2019, for turns that preserve a
        distribution.

    Attributes:
        steps: Noise levels from q to N(0, I), 1 or more; two evaluations of the score each.
    """

    name: ClassVar[str] = "flow"

    steps: int = 32

    def __post_init__(self) -> None:
        """Refuse a flow of no steps."""
        if self.steps < 1:
            raise UserError(f"steps is {self.steps}; choose 1 or more")

    @torch.no_grad()
    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """See `Planner.plan`.

        Raises:
            UserError: the density has no noise levels.
        """
        if not density.noise_levels:
            raise UserError(
                "planner 'flow' needs a density with noise levels, and this one has none; choose "
                "geodesic, or a map with levels"
            )
        level = round_coordinates(density, start.device)
        angles = angles_down(self.steps)
        up = _carried(level, level.there(torch.cat([start, end])), angles[::-1])
        turned = turn_of_normals(up[: len(start)], up[len(start) :], frames)
        points = level.back(_carried(level, turned.flatten(0, 1), angles)).view_as(turned)
        points[0], points[-1] = start, end
        return points, PlannerInfo(iterations=2 * self.steps)


def turn_of_normals(start: Latents, end: Latents, frames: int) -> Points:
    """Turn from one sample of N(0, I) to another; the frames between independent ones are samples.

    The direction turns on the great circle, so it stays uniform. The radius r goes through
    y = (r² / d)^(1/3), which is nearly N(1 - v, v) with v = 2 / (9 d): y(s) - 1 + v is
    cos(π s / 2) (y_A - 1 + v) + sin(π s / 2) (y_B - 1 + v).

    References:
        The Distribution of Chi-Square, Wilson and Hilferty 1931.

    Returns:
        Shape (frames, n, d).
    """
    d = start.shape[1]
    middle = 1 - 2 / (9 * d)
    y_a, y_b = ((end.square().mean(dim=1) ** (1 / 3) - middle) for end in (start, end))
    s = torch.linspace(0, math.pi / 2, frames, device=start.device, dtype=start.dtype)[:, None]
    y = middle + s.cos() * y_a + s.sin() * y_b
    turned = slerp(start, end, frames)
    radius = (d * y.clamp_min(0) ** 3).sqrt()
    return turned * (radius / turned.norm(dim=2).clamp_min(torch.finfo(y.dtype).tiny))[..., None]


def _carried(level: Whitened, w: Tensor, angles: list[float]) -> Tensor:
    """Codes carried along the probability flow through these noise levels."""
    for t, following in itertools.pairwise(angles):
        w = heun_step(level, w, t, following)
    return w
