"""One plane level by level, from sharp to smooth: log-density as colour, the score as arrows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_atlas.errors import UserError
from latent_atlas.report.plots.heatmap import Extent, Field, Plane, draw_bar, draw_field
from latent_atlas.report.plots.layout import LINE, Caption, Room, lines_of, panel_rows, write_lines
from latent_atlas.report.plots.style import (
    INK,
    MARGIN,
    PAPER,
    WIDTH,
    beside,
    head,
    title_height,
    write_title,
)

__all__ = ["Level", "arrows", "levels_picture"]

RIGHT = 145  # pixels right of a panel, for its colour bar
LONGEST = 0.95  # length of the longest arrow, as a share of the distance between two


@dataclass(frozen=True)
class Level:
    """The density at one noise level."""

    name: str
    """The panel's heading."""
    log_prob: Float[np.ndarray, "h w"]
    """In nats: row i at y = linspace(y0, y1, h)[i], column j at x = linspace(x0, x1, w)[j]."""
    places: Float[np.ndarray, "k 2"]
    """Where the arrows are."""
    slopes: Float[np.ndarray, "k 2"]
    """The score in the plane, in nats per unit of length; no arrow where it is not finite."""


def levels_picture(
    levels: Sequence[Level],
    extent: Extent,
    *,
    note: str = "",
    x_label: str = "",
    y_label: str = "",
    title: str | None = None,
) -> Figure:
    """Log-density and score on one plane at each level, three panels in a row.

    Every panel has its own colour scale.

    Arguments:
        levels: From sharp to smooth; one panel each.
        extent: x0, x1, y0, y1 of the window, in the plane's coordinates, as all positions here.
        note: A sentence about all panels.

    Raises:
        UserError: there is no level.
    """
    if not levels:
        raise UserError("there are no levels to draw; give at least one")
    columns = min(3, len(levels))
    above = lines_of(note, WIDTH / (1 if columns > 1 else 2) - 2 * MARGIN)
    top = title_height(title)
    captions = [Caption(level.name, (_longest(level),)) for level in levels]
    room = Room(top + LINE * len(above), RIGHT)
    figure, places = panel_rows(captions, extent, columns, room, (x_label, y_label))
    write_title(figure, title)
    write_lines(figure, MARGIN, top, above)
    for axes, level in zip(places, levels, strict=True):
        field = Field(level.name, "nats", level.log_prob, "log_prob")
        ground = draw_field(axes, Plane(extent, None, None), field)
        head(
            axes, "", f"nats, darkest at ≤ {field.range(None)[0]:.3g}".replace("-", "−"), RIGHT - 40
        )
        draw_bar(figure, beside(figure, axes, 22, 26), ground, field)
        _draw_arrows(axes, extent, level)
    return figure


def _draw_arrows(axes: Axes, extent: Extent, level: Level) -> None:
    """The score, pointing where it points on the plane whatever the panel's shape."""
    known = np.isfinite(level.slopes).all(axis=1)
    apart = min(extent[1] - extent[0], extent[3] - extent[2]) / max(len(level.places), 1) ** 0.5
    axes.quiver(
        *level.places[known].T,
        *arrows(level.slopes[known], LONGEST * apart).T,
        angles="xy",
        scale_units="xy",
        scale=1,
        pivot="mid",
        zorder=2,
        color=PAPER,
        width=0.006,
        headwidth=4,
        headlength=4,
        headaxislength=3.6,
        path_effects=[patheffects.Stroke(linewidth=0.9, foreground=INK), patheffects.Normal()],
    )


def _longest(level: Level) -> str:
    """What the longest arrow stands for."""
    lengths = np.linalg.norm(level.slopes, axis=1)
    lengths = lengths[np.isfinite(lengths)]
    return f"longest arrow: {lengths.max():.3g} nats per unit" if lengths.size else ""


def arrows(slopes: Float[np.ndarray, "k 2"], longest: float) -> Float[np.ndarray, "k 2"]:
    r"""Arrows in the direction of slopes s whose lengths grow with log(1 + |s| / m), m the median
    of |s|.

    In a plain quiver the steep flanks would leave nothing but dots of the arrows near the modes.

    Arguments:
        slopes: Finite.
        longest: Length of the longest arrow.

    Examples:
        >>> arrows(np.array([[0.0, 1.0], [0.0, 0.0], [-9.0, 0.0]]), longest=2.0).round(2)
        array([[ 0.  ,  0.35],
               [ 0.  ,  0.  ],
               [-2.  ,  0.  ]])
    """
    lengths = np.linalg.norm(slopes, axis=1, keepdims=True)
    if not lengths.any():
        return slopes
    compressed = np.log1p(lengths / np.median(lengths[lengths > 0]))
    return (
        longest * compressed / compressed.max() * slopes / np.maximum(lengths, np.finfo(float).tiny)
    )
