"""Maps: fields over a plane of the latent space, with the threshold, codes, anchors and paths."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_atlas.errors import UserError
from latent_atlas.report.plots.heatmap import (
    Extent,
    Field,
    Plane,
    draw_bar,
    draw_edge,
    draw_field,
    draw_lattice,
    shape_of,
)
from latent_atlas.report.plots.overlay import (
    LEGEND,
    Anchor,
    Marks,
    draw_legend,
    draw_marks,
    draw_thumbnails,
    thumbnail_places,
)
from latent_atlas.report.plots.style import (
    MARGIN,
    WIDTH,
    beside,
    blank,
    head,
    label_axes,
    place,
    title_height,
    write_title,
)

__all__ = ["map_picture"]

LEFT, RIGHT = 105, 125  # pixels beside a panel: its axis, and its colour bar
ABOVE, BETWEEN, BELOW = (
    58,
    50,
    100,
)  # pixels for a heading, for tick labels, and for the lowest panels' axis too
NO_CODES = np.zeros((0, 2))


def map_picture(
    fields: Sequence[Field],
    extent: Extent,
    *,
    threshold: float | None = None,
    codes: Float[np.ndarray, "m 2"] = NO_CODES,
    code_labels: Int[np.ndarray, " m"] | None = None,
    label_names: Sequence[str] = (),
    anchors: Mapping[str, Anchor] | None = None,
    paths: Mapping[str, Float[np.ndarray, "_ 2"]] | None = None,
    lattice: Float[np.ndarray, "rows columns c h w"] | None = None,
    lattice_name: str = "What each place decodes to",
    x_label: str = "",
    y_label: str = "",
    title: str | None = None,
) -> Figure:
    """Fields over one plane of the latent space with codes and paths, up to three in a row or 2 x
    2.

    Arguments:
        fields: Confusion, realness, log-density; one panel each.
        extent: x0, x1, y0, y1 of the window, in the plane's coordinates, as all positions here.
        threshold: Log-density, in nats, below which a code is off-manifold; its line is taken from
            the field of kind log_prob and drawn on every panel.
        codes: Real codes on the plane.
        code_labels: Class of each, an index into `label_names`; -1 where it has none.
        anchors: Letter to (place, image in [0, 1]).
        paths: Planner to its frames.
        lattice: Images of rows x columns equal cells of the window, the first row the lowest.
        lattice_name: What these images are.

    Raises:
        UserError: there is no panel to draw.
    """
    count = len(fields) + (lattice is not None)
    if count == 0:
        raise UserError("there is no map to draw; give at least one field or a lattice")
    log_prob = next((one.values for one in fields if one.kind == "log_prob"), None)
    plane = Plane(extent, log_prob, threshold)
    marks = Marks(codes, code_labels, tuple(label_names), anchors or {}, paths or {})
    figure, panels = _layout(count, extent, title)
    draw_legend(
        figure, marks, title_height(title), edge=log_prob is not None and threshold is not None
    )
    for index, axes in enumerate(panels):
        lowest, leftmost = index + _columns(count) >= count, index % _columns(count) == 0
        label_axes(axes, x_label if lowest else "", y_label if leftmost else "")
        if index < len(fields):
            _field_panel(figure, axes, plane, fields[index], marks)
        elif lattice is not None:
            _lattice_panel(axes, plane, lattice, marks, lattice_name)
    if fields:
        places = thumbnail_places(panels[0], marks)
        for axes in panels[: len(fields)]:
            draw_thumbnails(figure, axes, marks, places)
    return figure


def _columns(count: int) -> int:
    return count if count <= 3 else 2


def _layout(count: int, extent: Extent, title: str | None) -> tuple[Figure, list[Axes]]:
    """A figure with `count` equal panels whose pixels are square on the plane."""
    columns = _columns(count)
    rows = ceil(count / columns)
    width = (WIDTH - 2 * MARGIN) // max(columns, 2) - LEFT - RIGHT
    height = round(width * shape_of(extent))
    top = title_height(title) + LEGEND
    across = 2 * MARGIN + columns * (LEFT + width + RIGHT)
    figure = blank(across, top + rows * (ABOVE + height + BETWEEN) - BETWEEN + BELOW)
    write_title(figure, title)
    boxes = [
        (
            MARGIN + LEFT + column * (LEFT + width + RIGHT),
            top + ABOVE + row * (ABOVE + height + BETWEEN),
        )
        for row in range(rows)
        for column in range(columns)
    ]
    return figure, [place(figure, x, y, width, height) for x, y in boxes[:count]]


def _field_panel(figure: Figure, axes: Axes, plane: Plane, one: Field, marks: Marks) -> None:
    """One field with all that lies on it, its heading and its colour bar."""
    unit = one.unit
    if one.kind == "log_prob":
        low = f"{one.range(plane.threshold)[0]:.3g}".replace("-", "−")
        unit = f"{unit}, darkest at ≤ {low}"
    head(axes, one.name, unit, RIGHT - 20)
    draw_bar(figure, beside(figure, axes, 22, 26), draw_field(axes, plane, one), one)
    draw_marks(axes, marks, dots=True, names=one.kind == "realness")
    draw_edge(axes, plane, veil=False)


def _lattice_panel(
    axes: Axes, plane: Plane, lattice: Float[np.ndarray, "_ _ _ _ _"], marks: Marks, name: str
) -> None:
    head(axes, name, "", 0)
    draw_lattice(axes, plane, lattice)
    draw_marks(axes, marks, dots=False, names=False)
    draw_edge(axes, plane, veil=True)
