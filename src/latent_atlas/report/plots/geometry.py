"""Geometry of latent spaces: how much a step changes the image, by distance and direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from latent_atlas.errors import UserError
from latent_atlas.report.plots.overlay import LEGEND, draw_handles
from latent_atlas.report.plots.style import (
    LINES,
    MARGIN,
    RULE,
    WIDTH,
    LineStyle,
    blank,
    head,
    label_axes,
    place,
    title_height,
    write_title,
)

__all__ = ["Space", "spaces_picture"]

LEFT, ABOVE, HEIGHT, BELOW = 125, 110, 480, 100  # pixels: axis, heading, panel, axis


@dataclass(frozen=True)
class Space:
    """One latent space; bands have three rows, a low, a middle and a high quantile."""

    name: str
    radii: Float[np.ndarray, " k"]
    """Latent distances, ascending."""
    stretch: Float[np.ndarray, "3 k"]
    """Feature distance per latent distance at each, over pairs."""
    correlation: Float[np.ndarray, " k"]
    """Of latent with feature distances at each."""
    shares: Float[np.ndarray, " m"]
    """Shares of all directions, ascending."""
    singular_values: Float[np.ndarray, "3 m"]
    """Of the decoder's Jacobian at each, over codes."""


def spaces_picture(
    spaces: Sequence[Space], measured_in: str = "features", title: str | None = None
) -> Figure:
    """Stretch and correlation by radius, and singular values of the decoder's Jacobian.

    Flat and narrow bands are good: equal steps change the image equally, at any distance and in
    any direction.

    Arguments:
        spaces: At most six, drawn over one another.
        measured_in: The space in which image distances are measured.

    Raises:
        UserError: there is nothing to draw, or too much.
    """
    if not 1 <= len(spaces) <= len(LINES):
        raise UserError(f"{len(spaces)} spaces were given; draw 1 to {len(LINES)} over one another")
    lined = list(zip(spaces, LINES, strict=False))
    top = title_height(title) + LEGEND
    figure = blank(WIDTH, top + ABOVE + HEIGHT + BELOW)
    write_title(figure, title)
    draw_handles(
        figure,
        [Line2D([], [], label=space.name, **_look(line)) for space, line in lined],
        top - LEGEND,
    )
    stretch, correlation, spectrum = (_panel(figure, column, top + ABOVE) for column in range(3))
    _label(stretch, "Stretch", f"distance in {measured_in} per latent unit", "latent distance")
    _label(correlation, "Correlation", f"of distances in Z and in {measured_in}", "latent distance")
    _label(
        spectrum,
        "Singular values of the Jacobian",
        "change of the image per latent unit",
        "share of directions",
    )
    for space, line in lined:
        _band(stretch, space.radii, space.stretch, line)
        correlation.plot(space.radii, space.correlation, **_look(line))
        _band(spectrum, space.shares, space.singular_values, line)
    correlation.set_ylim(min(0.0, *(space.correlation.min() for space in spaces)) - 0.02, 1.02)
    spectrum.set_xlim(0, 1)
    stretch.set(xscale="log", yscale="log")
    correlation.set(xscale="log")
    spectrum.set(yscale="log")
    for axis in (stretch.xaxis, stretch.yaxis, correlation.xaxis, spectrum.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 5, 7))
        )
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    return figure


def _panel(figure: Figure, column: int, top: int) -> Axes:
    pitch = (WIDTH - 2 * MARGIN) // 3
    return place(figure, MARGIN + LEFT + column * pitch, top, pitch - LEFT - MARGIN, HEIGHT)


def _label(axes: Axes, name: str, unit: str, across: str) -> None:
    label_axes(axes, across)
    head(axes, name, unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.5)


def _band(
    axes: Axes, at: Float[np.ndarray, " k"], band: Float[np.ndarray, "3 k"], line: LineStyle
) -> None:
    axes.fill_between(at, band[0], band[2], color=line.color, alpha=0.15, linewidth=0)
    axes.plot(at, band[1], **_look(line))


def _look(line: LineStyle) -> dict[str, Any]:
    return {
        "color": line.color,
        "linestyle": line.dashes,
        "marker": line.marker,
        "markersize": 3.5,
        "linewidth": 1.3,
    }
