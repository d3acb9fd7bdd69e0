"""Annealed travel: a path planned where the population is blurred is where the next, sharper one starts.

The gradient of a sharp density sees nothing across an empty region; that of a blurred one does.
"""

from collections.abc import Callable
from dataclasses import replace

from latent_atlas.errors import UserError
from latent_atlas.shapes import Trace
from latent_atlas.travel.path import Relaxed

__all__ = ["check_widths", "coarse_to_fine"]


def coarse_to_fine(
    relax: Callable[[Trace, float], Relaxed], initial: Trace, widths: tuple[float, ...]
) -> Relaxed:
    """Move paths at one width after the other, each from where the last one left them.

    References:
        Visual Reconstruction, Blake and Zisserman 1987, chapter 7: graduated non-convexity.

    Arguments:
        relax: Moves paths (steps, n, d) on the density blurred by a width.
        initial: Where the first ones start, shape (steps, n, d).
        widths: From coarse to fine, one or more.

    Returns:
        The paths at the last width, with the iterations of all.
    """
    *coarser, finest = widths
    points, iterations = initial, 0
    for width in coarser:
        relaxed = relax(points, width)
        points, iterations = relaxed.points, iterations + relaxed.iterations
    relaxed = relax(points, finest)
    return replace(relaxed, iterations=iterations + relaxed.iterations)


def check_widths(widths: tuple[float, ...] | None) -> None:
    """Refuse widths that do not go from coarse to fine.

    Raises:
        UserError: there are none, or they grow.
    """
    if widths is not None and (not widths or list(widths) != sorted(widths, reverse=True)):
        raise UserError(f"widths are {widths}; choose one or more, from coarse to fine")
