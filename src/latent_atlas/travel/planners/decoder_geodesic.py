"""The baseline by the decoder alone: geodesics of its pull-back metric."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import Latents, Points, Trace, Values
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.path_lbfgs import check_descent, minimise
from latent_atlas.travel.planners.base import Decode, Planner, Resources
from latent_atlas.travel.polyline import resample

__all__ = ["Pullback", "image_action"]


def image_action(points: Trace, decode: Decode) -> Values:
    r"""E = (F - 1) Σ_k |G(z_{k+1}) - G(z_k)|², shape (n,): ∫ |J_G dz/ds|² ds by differences.

    Raises:
        UserError: G is not differentiable.
    """
    images = decode(points.flatten(0, 1))
    if points.requires_grad and not images.requires_grad:
        raise UserError(
            "decode gave images without a gradient, so no path can be shortened by it; "
            "give a decoder that keeps gradients on"
        )
    changes = images.flatten(1).unflatten(0, points.shape[:2]).diff(dim=0)
    return (len(points) - 1) * changes.square().sum(dim=(0, 2))


@checked
@dataclass(frozen=True)
class Pullback(Planner):
    """A geodesic of the decoder: the path whose images change least, |dx| = |J_G(z) dz|.

    The metric measures where images change and not where the population is. A decoder that is flat
    far from its codes makes the void a shortcut; Arvanitidis et al. mend this with the decoder's
    variance.

    References:
        Latent Space Oddity: on the Curvature of Deep Generative Models, Arvanitidis et al. 2018;
        The Riemannian Geometry of Deep Generative Models, Shao et al. 2018.

    Attributes:
        decode: G, codes (n, d) to images (n, ...), differentiable. It has to be given; an atlas
            gives its own.
        nodes: Minimal number of points that a path is planned with; 3 or more. More frames than
            that are planned themselves.
        iterations: Maximal number of steps; 1 or more.
        tolerance: Residual at which a path has converged, without unit, as for `minimise`;
            positive.

    Examples:
        >>> a, b = torch.zeros(1, 2), torch.ones(1, 2)
        >>> from latent_atlas.density.base import StandardNormal
        >>> bends_nothing = Pullback(decode=lambda z: 3 * z)
        >>> bends_nothing.plan(StandardNormal(2), a, b, frames=17)[0][8]
        tensor([[0.5000, 0.5000]])
    """

    name: ClassVar[str] = "pullback"
    follows_score: ClassVar[bool] = False

    decode: Decode | None = None
    nodes: int = 17
    iterations: int = 200
    tolerance: float = 2e-2

    def __post_init__(self) -> None:
        """Refuse settings that plan nothing."""
        check_descent(self.nodes, self.iterations, self.tolerance)

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
            UserError: there is no decoder, or it is not differentiable.
        """
        decode = self.decode
        if decode is None:
            raise UserError("planner 'pullback' was given no decode; use Pullback(decode=...)")
        points, info = minimise(
            lambda points, _: image_action(points, decode),
            resample(torch.stack([start, end]), max(frames, self.nodes)),
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        return resample(points, frames), info

    def completed(self, density: Density, resources: Resources) -> "Pullback":
        """The same planner with the decoder of a run, unless it has one."""
        return self if self.decode else replace(self, decode=resources.decode)
