"""The baseline that looks at the decoder and not at the population: geodesics of its pull-back metric."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import Trace, Values
from latent_atlas.travel.path import Relaxed, resample
from latent_atlas.travel.path_lbfgs import minimise

__all__ = ["Decode", "Pullback", "image_action", "pullback"]

Decode = Callable[[Tensor], Tensor]


def image_action(points: Trace, decode: Decode) -> Values:
    r"""E = (F - 1) Σ_k |G(z_{k+1}) - G(z_k)|², shape (n,): ∫ |J_G dz/ds|² ds by differences.

    Raises:
        UserError: G is not differentiable.
    """
    images = decode(points.flatten(0, 1))
    if points.requires_grad and not images.requires_grad:
        raise UserError(
            "decode gave images without a gradient, so paths cannot be shortened in them; give one that does not turn "
            "gradients off"
        )
    changes = images.flatten(1).unflatten(0, points.shape[:2]).diff(dim=0)
    return (len(points) - 1) * changes.square().sum(dim=(0, 2))


@dataclass(frozen=True)
class Pullback:
    """How to look for a geodesic of the decoder.

    Attributes:
        nodes: The fewest points a path is planned with; more frames than that are planned themselves.
        iterations: The most steps.
        tolerance: Residual at which a path has converged, as in `minimise`.
    """

    nodes: int = 17
    iterations: int = 200
    tolerance: float = 2e-2

    def __post_init__(self) -> None:
        """Refuse settings that plan nothing."""
        if self.nodes < 3 or self.iterations < 1 or self.tolerance <= 0:
            raise UserError(
                f"nodes, iterations and tolerance are {self.nodes}, {self.iterations} and {self.tolerance}; choose 3 "
                "or more, 1 or more, and a positive one"
            )


def pullback(
    decode: Decode, initial: Trace, how: Pullback | None = None, *, frames: int = 2
) -> Relaxed:
    """Shorten paths as their decoded images see them: |dx| = |J_G(z) dz|.

    The metric knows where images change and not where the population is: a decoder that is flat far away from its
    codes makes the void a shortcut, which is what Arvanitidis et al. mend with the decoder's variance.

    References:
        Latent Space Oddity: on the Curvature of Deep Generative Models, Arvanitidis et al. 2018; The Riemannian
        Geometry of Deep Generative Models, Shao et al. 2018.

    Arguments:
        decode: G, codes (n, d) to images (n, ...), differentiable.
        initial: Where to start from, shape (steps, n, d); (2, n, d), only the two ends, is the straight line.
        how: When to stop.
        frames: How many points are wanted.

    Returns:
        Paths of `how.nodes` or `frames` points, with the energies as their `history`.

    Raises:
        UserError: the decoder is not differentiable.

    Examples:
        >>> import torch
        >>> ends = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])
        >>> pullback(lambda z: 3 * z, ends).points[8]  # a linear decoder bends nothing
        tensor([[0.5000, 0.5000]])
    """
    how = how or Pullback()
    return minimise(
        lambda points, _: image_action(points, decode),
        resample(initial, max(frames, how.nodes)),
        iterations=how.iterations,
        tolerance=how.tolerance,
    )
