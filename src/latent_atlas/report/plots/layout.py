"""Panels that show one window, in rows, each with its name above it and a few lines below."""

from collections.abc import Sequence
from math import ceil
from textwrap import wrap
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_atlas.report.plots.heatmap import Extent, shape_of
from latent_atlas.report.plots.style import (
    MARGIN,
    SOFT,
    WIDTH,
    Length,
    blank,
    head,
    label_axes,
    place,
    text_width,
    write,
)

__all__ = ["LINE", "Caption", "Room", "lines_of", "panel_rows", "write_lines"]

LEFT = 105  # pixels for the vertical axis of a row
ABOVE, BETWEEN = (
    58,
    30,
)  # pixels for a heading, and from the text of one row to the next row's headings
TICKS, AXIS = 52, 100  # pixels for tick labels, and in the lowest row for the axis' name too
LINE = 32  # pixels from one line of text to the next


class Caption(NamedTuple):
    """What is written at one panel."""

    name: str
    """Above it."""
    notes: Sequence[str] = ()
    """Below it, each from a line of its own on."""


class Room(NamedTuple):
    """Pixels kept free around the panels."""

    top: int
    right: int
    """Of each panel."""
    end: int = 0
    """Of a whole row, beyond that."""


def panel_rows(
    captions: Sequence[Caption], extent: Extent, columns: int, room: Room, labels: tuple[str, str]
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each caption, `columns` in a row, at one scale for x and y.

    Arguments:
        extent: x0, x1, y0, y1 of the window.
        labels: What the horizontal and the vertical axis measure.
    """
    pitch = (WIDTH - 2 * MARGIN - LEFT - room.end) // max(columns, 2)
    width = pitch - room.right
    height = round(width * shape_of(extent))
    below = [
        [line for note in caption.notes for line in lines_of(note, width)] for caption in captions
    ]
    row = ABOVE + height + TICKS + max(map(len, below)) * LINE + BETWEEN
    figure_height = room.top + ceil(len(captions) / columns) * row - BETWEEN + AXIS - TICKS + MARGIN
    figure = blank(2 * MARGIN + LEFT + columns * pitch + room.end, figure_height)
    panels = []
    for index, caption in enumerate(captions):
        x, y = MARGIN + LEFT + index % columns * pitch, room.top + index // columns * row + ABOVE
        axes = place(figure, x, y, width, height)
        lowest, leftmost = index + columns >= len(captions), index % columns == 0
        label_axes(axes, labels[0] if lowest else "", labels[1] if leftmost else "")
        axes.tick_params(left=leftmost, labelleft=leftmost)
        axes.set(xlim=extent[:2], ylim=extent[2:])
        head(axes, caption.name, "", 0)
        write_lines(figure, x, y + height + (AXIS if lowest else TICKS), below[index])
        panels.append(axes)
    return figure, panels


def lines_of(text: str, width: Length) -> list[str]:
    """Break small text into lines that fit into so many pixels."""
    return wrap(text, max(1, int(width * len(text) / text_width(text, 8)))) if text else []


def write_lines(figure: Figure, left: Length, top: Length, lines: Sequence[str]) -> None:
    """Write small lines one below the other."""
    for number, line in enumerate(lines):
        write(figure, left, top + number * LINE, line, size=8, color=SOFT)
