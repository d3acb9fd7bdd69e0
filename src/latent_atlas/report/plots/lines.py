"""Curves in small multiples: one series of steps, or a mean over repetitions with its spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    LogLocator,
    MaxNLocator,
    NullLocator,
    StrMethodFormatter,
)

from latent_atlas.errors import UserError
from latent_atlas.report.plots.overlay import LEGEND, draw_handles
from latent_atlas.report.plots.style import (
    INK,
    LINES,
    MARGIN,
    RULE,
    SOFT,
    WIDTH,
    LineStyle,
    blank,
    fonts,
    head,
    label_axes,
    place,
    short,
    title_height,
    write_title,
)

__all__ = ["Curves", "Trend", "Trends", "curves_picture", "trends_picture"]

LEFT, ABOVE, HEIGHT, BELOW = 105, 96, 380, 110  # pixels: axis, heading and legend, panel, axis
COLUMNS = 3
FEW = 25  # points up to which each gets a marker
DASHED = (0, (4, 2))

Series = tuple[Int[np.ndarray, " _"], Float[np.ndarray, " _"]]


@dataclass(frozen=True)
class Curves:
    """One panel: quantities of one unit against steps."""

    name: str
    """The panel's heading."""
    unit: str
    """The quantity on the vertical axis."""
    series: Mapping[str, Series]
    """Name to (steps, values), of equal length; NaN leaves a gap."""
    logarithmic: bool = False
    """Draw the vertical axis in powers of ten; only where every value is positive."""


def curves_picture(panels: Sequence[Curves], title: str | None = None) -> Figure:
    """Curves against training steps, at most three panels in a row.

    Raises:
        UserError: there is no panel.
    """
    if not panels:
        raise UserError("there are no curves to draw; give at least one panel")
    figure, places = _panels(len(panels), title_height(title), title)
    for axes, panel in zip(places, panels, strict=True):
        _draw_curves(axes, panel)
    return figure


@dataclass(frozen=True)
class Trend:
    """One quantity; all arrays of one length."""

    at: Float[np.ndarray, " k"]
    """Positions, ascending."""
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
    """The quantity on the vertical axis."""
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
        across: The quantity on the horizontal axis.
        logarithmic: Whether that axis is logarithmic.
        limits: Of the vertical axes; None fits each to its panel.
        level: A height to draw a dashed line at.

    Raises:
        UserError: there is no panel, or more series than there are line styles.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    if not names or len(names) > len(LINES):
        raise UserError(
            f"{len(panels)} panels with {len(names)} series were given; draw 1 to {len(LINES)} "
            "series"
        )
    styles = dict(zip(names, LINES, strict=False))
    top = title_height(title)
    figure, places = _panels(len(panels), top + LEGEND, title, WIDTH)
    draw_handles(figure, [_handle(name, style) for name, style in styles.items()], top)
    for axes, panel in zip(places, panels, strict=True):
        _draw_trends(axes, panel, styles, across)
        _scale_trends(axes, panel, logarithmic)
        if limits is not None:
            axes.set_ylim(*limits)
        if level is not None:
            axes.axhline(level, color=SOFT, linewidth=0.8, linestyle=DASHED, zorder=1)
    return figure


def _panels(count: int, top: int, title: str | None, least: int = 0) -> tuple[Figure, list[Axes]]:
    """A titled figure, `least` pixels wide, with panels below `top`, at most three in a row."""
    columns = min(COLUMNS, count)
    width = (WIDTH - 2 * MARGIN) // COLUMNS - LEFT
    rows = ceil(count / columns)
    across = max(least, 2 * MARGIN + columns * (LEFT + width))
    figure = blank(across, top + rows * (ABOVE + HEIGHT + BELOW))
    write_title(figure, title)
    places = []
    for index in range(count):
        x = MARGIN + index % columns * (LEFT + width) + LEFT
        y = top + index // columns * (ABOVE + HEIGHT + BELOW) + ABOVE
        axes = place(figure, x, y, width, HEIGHT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=RULE, linewidth=0.5)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        places.append(axes)
    return figure, places


def _draw_curves(axes: Axes, panel: Curves) -> None:
    label_axes(axes, "step")
    head(axes, panel.name, panel.unit)
    for index, (name, (steps, values)) in enumerate(panel.series.items()):
        style = LINES[index % len(LINES)]
        axes.plot(
            steps,
            values,
            color=style.color,
            linestyle=style.dashes,
            linewidth=1.3,
            label=name,
            marker=style.marker if len(steps) <= FEW else "",
            markersize=3.5,
        )
    _scale_curves(axes, panel)
    if len(panel.series) > 1:
        _legend(axes)


def _scale_curves(axes: Axes, panel: Curves) -> None:
    """Choose the vertical scale, and ticks few enough to read."""
    axes.margins(x=0.03)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    values = np.concatenate([values for _, values in panel.series.values()])
    if panel.logarithmic and (values[np.isfinite(values)] > 0).all():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _legend(axes: Axes) -> None:
    """Name the curves in a line above the panel, where no data are."""
    legend = axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        frameon=False,
        labelcolor=INK,
        borderpad=0.2,
        borderaxespad=0,
        handlelength=2.4,
        columnspacing=1.4,
        prop={"family": fonts(), "size": 8},
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_trends(axes: Axes, panel: Trends, styles: Mapping[str, LineStyle], across: str) -> None:
    label_axes(axes, across)
    head(axes, panel.name, panel.unit)
    for name, trend in panel.series.items():
        style = styles[name]
        low, high = trend.middle - trend.spread, trend.middle + trend.spread
        axes.fill_between(trend.at, low, high, color=style.color, alpha=0.18, linewidth=0)
        axes.plot(
            trend.at,
            trend.middle,
            **style.line,
            markersize=3.5,
            linewidth=1.3,
        )


def _scale_trends(axes: Axes, panel: Trends, logarithmic: bool) -> None:
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
    return Line2D([], [], label=short(name), markersize=4, linewidth=1.3, **look)
