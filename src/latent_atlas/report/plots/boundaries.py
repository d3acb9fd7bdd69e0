"""One plane under several boundaries: their fake codes, and the realness that D_z learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from latent_atlas.errors import UserError
from latent_atlas.report.plots.heatmap import Extent, Field, Plane, draw_bar, draw_field, within
from latent_atlas.report.plots.layout import Caption, Room, panel_rows
from latent_atlas.report.plots.overlay import LEGEND, REAL, draw_handles
from latent_atlas.report.plots.style import INK, PAPER, beside, head, title_height, write_title

__all__ = ["Against", "boundaries_picture"]

RIGHT, BAR = 22, 110  # pixels right of each panel, and for the colour bar
FAINT = 0.3  # opacity of fake codes far from the plane
HALF: dict[str, Any] = {"colors": INK, "linewidths": 1.4, "linestyles": "solid"}


@dataclass(frozen=True)
class Against:
    """What D_z has learned against one boundary."""

    name: str
    """The boundary."""
    realness: Float[np.ndarray, "h w"]
    """In [0, 1]: row i at y = linspace(y0, y1, h)[i], column j at x = linspace(x0, x1, w)[j]."""
    fakes: Float[np.ndarray, "m 2"]
    """Where codes of the boundary fall on the plane."""
    near: Bool[np.ndarray, " m"]
    """Which of them are no further from the plane than the real codes drawn."""
    notes: Sequence[str] = ()
    """What is written below the panel, each from a line of its own on."""


def boundaries_picture(
    panels: Sequence[Against],
    extent: Extent,
    codes: Float[np.ndarray, "n 2"],
    *,
    x_label: str = "",
    y_label: str = "",
    title: str | None = None,
) -> Figure:
    """Realness on one plane under every boundary, with real and fake codes, up to four in a row.

    Arguments:
        panels: One per boundary.
        extent: x0, x1, y0, y1 of the window, in the plane's coordinates, as all positions here.
        codes: Real codes near the plane.

    Raises:
        UserError: there is no panel.
    """
    if not panels:
        raise UserError("there are no boundaries to compare; give at least one")
    columns = 3 if len(panels) in (5, 6) else min(4, len(panels))
    top = title_height(title)
    captions = [Caption(panel.name, panel.notes) for panel in panels]
    figure, places = panel_rows(
        captions, extent, columns, Room(top + LEGEND, RIGHT, BAR), (x_label, y_label)
    )
    write_title(figure, title)
    _legend(figure, top, far=any(not panel.near.all() for panel in panels))
    plane = Plane(extent, None, None)
    grounds = [_draw(axes, plane, panel, codes) for axes, panel in zip(places, panels, strict=True)]
    last = places[columns - 1]
    head(last, "", "probability", BAR - 10)
    draw_bar(figure, beside(figure, last, RIGHT, 26), grounds[0], _field(panels[0]))
    return figure


def _draw(
    axes: Axes, plane: Plane, panel: Against, codes: Float[np.ndarray, "n 2"]
) -> ScalarMappable:
    """Realness and the line where it is 1/2, the fake codes and on top the real ones."""
    ground = draw_field(axes, plane, _field(panel))
    for chosen, opacity in ((~panel.near, FAINT), (panel.near, 0.9)):
        axes.scatter(
            *panel.fakes[chosen].T,
            s=7,
            marker="x",
            color=INK,
            linewidths=0.6,
            alpha=opacity,
            zorder=2,
        )
    axes.scatter(*codes.T, s=5, color=PAPER, edgecolors=INK, linewidths=0.3, zorder=2.5)
    if within(panel.realness, 0.5):
        plane.contour(axes, panel.realness, [0.5], zorder=3, **HALF).set_gid("half")
    return ground


def _field(panel: Against) -> Field:
    return Field("Realness", "probability", panel.realness, "realness")


def _legend(figure: Figure, top: int, far: bool) -> None:
    cross: dict[str, Any] = {
        "marker": "x",
        "linestyle": "",
        "markersize": 4,
        "color": INK,
        "markeredgewidth": 0.8,
    }
    handles = [
        Line2D([], [], label="realness 1/2", color=INK, linewidth=HALF["linewidths"]),
        Line2D([], [], label="real codes nearest to the plane" if far else "real codes", **REAL),
        Line2D([], [], label="fake codes as near" if far else "fake codes", **cross),
    ]
    if far:
        handles.append(Line2D([], [], label="fake codes further from it", alpha=FAINT, **cross))
    draw_handles(figure, handles, top)
