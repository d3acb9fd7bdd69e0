"""Candidates on the same repetitions: a dot for each, joined by repetition, and mean bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latent_atlas.errors import UserError
from latent_atlas.report.plots.style import (
    INK,
    LINES,
    MARGIN,
    RULE,
    SOFT,
    WIDTH,
    blank,
    head,
    label_axes,
    place,
    text_width,
    title_height,
    write_title,
)

__all__ = ["Dots", "dots_picture"]

ABOVE, ROW, BELOW = 92, 46, 64  # pixels: heading, one candidate, axis
COLUMNS = 3


@dataclass(frozen=True)
class Dots:
    """One panel: a measure of every candidate."""

    name: str
    """Its heading."""
    about: str
    """What is good."""
    values: Mapping[str, Float[np.ndarray, " k"]]
    """By candidate, one number for each repetition, in the same order; empty where there is none.
    """


def dots_picture(panels: Sequence[Dots], title: str | None = None) -> Figure:
    """Panels of dots, three in a row; thin lines join a repetition, bars are means.

    Raises:
        UserError: there is no panel, or no candidate in one.
    """
    if not panels or not all(panel.values for panel in panels):
        raise UserError("there is nothing to draw; give at least one panel with a candidate")
    names = [name for panel in panels for name in panel.values]
    left = max(text_width(name, 8) for name in names) + 40
    width = (WIDTH - 2 * MARGIN) // COLUMNS - left - 20
    height = ROW * max(len(panel.values) for panel in panels)
    top, rows = title_height(title), ceil(len(panels) / COLUMNS)
    figure = blank(WIDTH, top + rows * (ABOVE + height + BELOW))
    write_title(figure, title)
    for index, panel in enumerate(panels):
        x = MARGIN + index % COLUMNS * (left + width + 20) + left
        y = top + index // COLUMNS * (ABOVE + height + BELOW) + ABOVE
        _draw(place(figure, x, y, width, height), panel)
    return figure


def _draw(axes: Axes, panel: Dots) -> None:
    label_axes(axes)
    head(axes, panel.name, panel.about)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color=RULE, linewidth=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    heights = np.arange(len(panel.values))
    axes.set(ylim=(len(heights) - 0.5, -0.5))
    axes.set_yticks(heights, list(panel.values))
    axes.tick_params(axis="y", length=0)
    present = [
        (height, values)
        for height, values in zip(heights, panel.values.values(), strict=True)
        if len(values)
    ]
    if len({len(values) for _, values in present}) == 1:
        joined = np.array([values for _, values in present])
        axes.plot(
            joined,
            [height for height, _ in present],
            color=SOFT,
            linewidth=0.4,
            alpha=0.6,
            zorder=1,
        )
    for height, values in present:
        style = LINES[int(height) % len(LINES)]
        axes.scatter(
            values,
            np.full(len(values), height),
            s=14,
            color=style.color,
            marker=style.marker,
            zorder=2,
        )
        axes.plot(
            [values.mean()] * 2, [height - 0.32, height + 0.32], color=INK, linewidth=1.4, zorder=3
        )
