"""Quantities measured again and again along a third: their mean as a line, their spread as a band."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from latent_atlas.errors import UserError
from latent_atlas.report.plots.overlay import LEGEND, draw_handles
from latent_atlas.report.plots.style import (
    LINES,
    MARGIN,
    RULE,
    SOFT,
    WIDTH,
    LineStyle,
    blank,
    head,
    label_axes,
    place,
    title_height,
    write_title,
)

__all__ = ["Trend", "Trends", "trends_picture"]

LEFT, ABOVE, HEIGHT, BELOW = 95, 84, 330, 100  # pixels: axis, heading, panel, axis
COLUMNS = 3
DASHED = (0, (4, 2))


@dataclass(frozen=True)
class Trend:
    """One quantity; all arrays of one length."""

    at: Float[np.ndarray, " k"]
    """Where, ascending."""
    middle: Float[np.ndarray, " k"]
    """Mean over repetitions."""
    spread: Float[np.ndarray, " k"]
    """Standard deviation over repetitions."""


@dataclass(frozen=True)
class Trends:
    """One panel."""

    name: str
    """Its heading."""
    unit: str
    """What the vertical axis measures."""
    series: Mapping[str, Trend]
    """By name; a name has the same line in every panel."""


def trends_picture(
    panels: Sequence[Trends],
    across: str,
    *,
    logarithmic: bool = False,
    limits: tuple[float, float] | None = None,
    level: float | None = None,
    title: str | None = None,
) -> Figure:
    """Panels of means with their spread, three in a row.

    Arguments:
        panels: One or more.
        across: What the horizontal axis measures.
        logarithmic: Whether it grows by factors.
        limits: Of the vertical axes; None fits each to its panel.
        level: A height to draw a dashed line at.

    Raises:
        UserError: there is no panel, or more series than there are line styles.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    if not names or len(names) > len(LINES):
        raise UserError(
            f"{len(panels)} panels with {len(names)} series were given; draw 1 to {len(LINES)} series"
        )
    styles = dict(zip(names, LINES, strict=False))
    columns = min(COLUMNS, len(panels))
    width = (WIDTH - 2 * MARGIN) // COLUMNS - LEFT
    top = title_height(title) + LEGEND
    figure = blank(WIDTH, top + ceil(len(panels) / columns) * (ABOVE + HEIGHT + BELOW))
    write_title(figure, title)
    draw_handles(figure, [_handle(name, style) for name, style in styles.items()], top - LEGEND)
    for index, panel in enumerate(panels):
        x = MARGIN + index % columns * (LEFT + width) + LEFT
        y = top + index // columns * (ABOVE + HEIGHT + BELOW) + ABOVE
        axes = place(figure, x, y, width, HEIGHT)
        _draw(axes, panel, styles, across)
        _scale(axes, panel, logarithmic)
        if limits is not None:
            axes.set_ylim(*limits)
        if level is not None:
            axes.axhline(level, color=SOFT, linewidth=0.8, linestyle=DASHED, zorder=1)
    return figure


def _draw(axes: Axes, panel: Trends, styles: Mapping[str, LineStyle], across: str) -> None:
    label_axes(axes, across)
    head(axes, panel.name, panel.unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    for name, trend in panel.series.items():
        style = styles[name]
        low, high = trend.middle - trend.spread, trend.middle + trend.spread
        axes.fill_between(trend.at, low, high, color=style.color, alpha=0.18, linewidth=0)
        axes.plot(
            trend.at, trend.middle, color=style.color, linestyle=style.dashes, marker=style.marker, markersize=3.5,
            linewidth=1.3,
        )  # fmt: skip


def _scale(axes: Axes, panel: Trends, logarithmic: bool) -> None:
    """Ticks at the places measured where the axis grows by factors, else few enough to read."""
    if not logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(
        FixedLocator(sorted({float(x) for trend in panel.series.values() for x in trend.at}))
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _handle(name: str, style: LineStyle) -> Line2D:
    look = {"color": style.color, "linestyle": style.dashes, "marker": style.marker}
    return Line2D([], [], label=name, markersize=4, linewidth=1.3, **look)
