"""Curves against steps, as small multiples: one panel per quantity, each on its own scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from latent_atlas.errors import UserError
from latent_atlas.report.plots.style import (
    INK,
    LINES,
    MARGIN,
    RULE,
    WIDTH,
    blank,
    head,
    label_axes,
    place,
    title_height,
    write_title,
)

__all__ = ["Curves", "curves_picture"]

LEFT, ABOVE, HEIGHT, BELOW = 105, 96, 380, 110  # pixels: axis, heading and legend, panel, axis
FEW = 25  # points up to which each gets a marker

Series = tuple[Int[np.ndarray, " _"], Float[np.ndarray, " _"]]


@dataclass(frozen=True)
class Curves:
    """One panel: quantities of one unit against steps."""

    name: str
    """The panel's heading."""
    unit: str
    """What the vertical axis measures."""
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
    columns = min(3, len(panels))
    width = (WIDTH - 2 * MARGIN) // 3 - LEFT
    top = title_height(title)
    rows = ceil(len(panels) / columns)
    across = 2 * MARGIN + columns * (LEFT + width)
    figure = blank(across, top + rows * (ABOVE + HEIGHT + BELOW))
    write_title(figure, title)
    for index, panel in enumerate(panels):
        x = MARGIN + index % columns * (LEFT + width) + LEFT
        y = top + index // columns * (ABOVE + HEIGHT + BELOW) + ABOVE
        _draw(place(figure, x, y, width, HEIGHT), panel)
    return figure


def _draw(axes: Axes, panel: Curves) -> None:
    label_axes(axes, "step")
    head(axes, panel.name, panel.unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    for index, (name, (steps, values)) in enumerate(panel.series.items()):
        style = LINES[index % len(LINES)]
        axes.plot(
            steps, values, color=style.color, linestyle=style.dashes, linewidth=1.3, label=name,
            marker=style.marker if len(steps) <= FEW else "", markersize=3.5,
        )  # fmt: skip
    _scale(axes, panel)
    if len(panel.series) > 1:
        _legend(axes)


def _scale(axes: Axes, panel: Curves) -> None:
    """Choose the vertical scale, and ticks few enough to read."""
    axes.margins(x=0.03)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    values = np.concatenate([values for _, values in panel.series.values()])
    if panel.logarithmic and (values[np.isfinite(values)] > 0).all():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _legend(axes: Axes) -> None:
    """Name the curves in a line above the panel, where no data are."""
    legend = axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, labelcolor=INK, borderpad=0.2,
        borderaxespad=0, handlelength=2.4, columnspacing=1.4, prop={"family": "DejaVu Sans", "size": 8},
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
