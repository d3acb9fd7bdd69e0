"""Reliability: the observed share of real codes against the predicted realness."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from latent_atlas.errors import UserError
from latent_atlas.report.plots.layout import LINE, lines_of, write_lines
from latent_atlas.report.plots.overlay import LEGEND, draw_handles
from latent_atlas.report.plots.style import (
    LINES,
    MARGIN,
    RULE,
    SOFT,
    LineStyle,
    blank,
    label_axes,
    place,
    title_height,
    write_title,
)

__all__ = ["Groups", "reliability_picture"]

SIDE, LEFT, BELOW = 720, 120, 100  # pixels of the panel, and for its axes
SMALLEST, LARGEST = (
    6,
    90,
)  # area of a dot, in square points: of no code, and what the largest group adds
DASHED = (0, (4, 2))


@dataclass(frozen=True)
class Groups:
    """Codes, half of them real, in groups of like realness; all arrays of one length."""

    name: str
    """Which realness: as learned, or corrected."""
    predicted: Float[np.ndarray, " k"]
    """Mean realness of each group."""
    observed: Float[np.ndarray, " k"]
    """Share of each group that is real."""
    count: Int[np.ndarray, " k"]
    """Codes in each group."""


def reliability_picture(
    groups: Sequence[Groups], caption: str = "", title: str | None = None
) -> Figure:
    """Observed against predicted realness, with a dot for each group of codes.

    A calibrated D_z is on the diagonal.

    Arguments:
        groups: Drawn one over the other; the area of a dot grows with the codes in its group.
        caption: Written below.

    Raises:
        UserError: there is nothing to draw.
    """
    if not any(len(one.count) for one in groups):
        raise UserError("there is no reliability to draw; give at least one group of codes")
    lines = lines_of(caption, LEFT + SIDE)
    top = title_height(title)
    figure = blank(
        LEFT + SIDE + 2 * MARGIN, top + LEGEND + SIDE + BELOW + LINE * len(lines) + MARGIN
    )
    write_title(figure, title)
    draw_handles(figure, _handles(groups), top)
    axes = place(figure, MARGIN + LEFT, top + LEGEND, SIDE, SIDE)
    label_axes(axes, "predicted realness", "observed share of real codes")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=RULE, linewidth=0.5)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle=DASHED, gid="diagonal")
    most = max(int(one.count.max(initial=0)) for one in groups)
    for one, style, face in _faces(groups):
        _draw(axes, one, style, SMALLEST + LARGEST * one.count / most, face)
    write_lines(figure, MARGIN, top + LEGEND + SIDE + BELOW, lines)
    return figure


def _draw(
    axes: Axes, one: Groups, style: LineStyle, area: Float[np.ndarray, " k"], face: str
) -> None:
    axes.plot(
        one.predicted,
        one.observed,
        color=style.color,
        linestyle=style.dashes,
        linewidth=1.2,
        zorder=2,
    )
    axes.scatter(
        one.predicted,
        one.observed,
        s=area,
        marker=style.marker,
        facecolor=face,
        edgecolors=style.color,
        linewidths=1.2,
        zorder=3,
        clip_on=False,
    )


def _faces(groups: Sequence[Groups]) -> list[tuple[Groups, LineStyle, str]]:
    """Filled dots first, hollow ones after: where two coincide, both show."""
    return [
        (one, style, "none" if index else style.color)
        for index, (one, style) in enumerate(zip(groups, LINES, strict=False))
    ]


def _handles(groups: Sequence[Groups]) -> list[Line2D]:
    """What each line is."""
    handles = [Line2D([], [], label="calibrated", color=SOFT, linewidth=0.9, linestyle=DASHED)]
    for one, style, face in _faces(groups):
        look = {
            "color": style.color,
            "linestyle": style.dashes,
            "marker": style.marker,
            "markerfacecolor": face,
        }
        handles.append(Line2D([], [], label=one.name, markersize=5, linewidth=1.2, **look))
    return handles
