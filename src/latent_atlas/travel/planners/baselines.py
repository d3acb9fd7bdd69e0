"""The baselines: the straight line and the great circle. Neither looks at the density."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import checked
from latent_atlas.shapes import Latents, Points
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.planners.base import Planner

__all__ = ["Linear", "Slerp", "linear", "slerp"]


def linear(start: Latents, end: Latents, frames: int) -> Points:
    """z(s) = (1 - s) z_A + s z_B at `frames` equal steps, shape (frames, n, d)."""
    return torch.lerp(start, end, _times(start, frames))


def slerp(start: Latents, end: Latents, frames: int) -> Points:
    """Rotate from z_A to z_B at constant angular speed; the radius changes linearly.

    References:
        Animating Rotation with Quaternion Curves, Shoemake 1985; for latent codes, Sampling
        Generative Networks, White 2016.

    Returns:
        Shape (frames, n, d).
    """
    s = _times(start, frames)
    radius_a, radius_b = start.norm(dim=1, keepdim=True), end.norm(dim=1, keepdim=True)
    tiny = torch.finfo(start.dtype).tiny
    a, b = start / radius_a.clamp_min(tiny), end / radius_b.clamp_min(tiny)
    cosine = (a * b).sum(dim=1, keepdim=True).clamp(-1, 1)
    angle = cosine.acos()
    sine = angle.sin()
    direction = (torch.sin((1 - s) * angle) * a + torch.sin(s * angle) * b) / sine.clamp_min(tiny)
    # Parallel and opposite directions, and codes at the origin, have no great circle: go straight.
    turns = (sine > 1e-4) & (radius_a > tiny) & (radius_b > tiny)
    points = torch.where(
        turns, torch.lerp(radius_a, radius_b, s) * direction, torch.lerp(start, end, s)
    )
    points[0], points[-1] = start, end
    return points


@checked
@dataclass(frozen=True)
class Linear(Planner):
    """The straight line z(s) = (1 - s) z_A + s z_B. It has no settings."""

    name: ClassVar[str] = "linear"
    follows_score: ClassVar[bool] = False

    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """See `Planner.plan`."""
        return linear(start, end, frames), PlannerInfo()


@checked
@dataclass(frozen=True)
class Slerp(Planner):
    """Spherical interpolation: the great circle, with a linear radius. It has no settings."""

    name: ClassVar[str] = "slerp"
    follows_score: ClassVar[bool] = False

    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """See `Planner.plan`."""
        return slerp(start, end, frames), PlannerInfo()


def _times(start: Latents, frames: int) -> Tensor:
    """Equal times from 0 to 1, shape (frames, 1, 1)."""
    return torch.linspace(0, 1, frames, device=start.device, dtype=start.dtype)[:, None, None]
