"""The overlay of a map: real codes, anchors with thumbnails, paths, and their legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from latent_atlas.display import tile, width_for
from latent_atlas.report.plots.heatmap import EDGE
from latent_atlas.report.plots.style import (
    INK,
    LINES,
    MARGIN,
    PAPER,
    LineStyle,
    fonts,
    paste,
    short,
)

__all__ = [
    "LEGEND",
    "REAL",
    "Anchor",
    "Marks",
    "draw_handles",
    "draw_legend",
    "draw_marks",
    "draw_thumbnails",
    "thumbnail_places",
]

Anchor = tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "c h w"]]
"""Where a named image lies on the plane, and the image."""

LEGEND = 44  # pixels for the line that names what lies on the panels
THUMBNAIL = 0.15  # side of a thumbnail, as a share of the panel's
DISTANCES = (
    0.95,
    1.2,
    1.5,
    1.9,
    2.4,
)  # from an anchor to the middle of its thumbnail, in thumbnail sides
DIRECTIONS = 32
MOST_DOTS = 900
MOST_NAMES = 20  # of classes on a panel; more would hide it
LONGEST_NAME = 20  # characters of a class's name on a panel

REAL: dict[str, Any] = {
    "marker": "o",
    "linestyle": "",
    "markersize": 3,
    "color": PAPER,
    "markeredgecolor": INK,
    "markeredgewidth": 0.5,
}
"""A real code in a legend."""


@dataclass(frozen=True)
class Marks:
    """What is drawn over every panel, in the plane's coordinates."""

    codes: Float[np.ndarray, "m 2"]
    code_labels: Int[np.ndarray, " m"] | None
    """Class of each code; -1 where it has none."""
    label_names: tuple[str, ...]
    anchors: Mapping[str, Anchor]
    paths: Mapping[str, Float[np.ndarray, "_ 2"]]

    def named(self) -> list[tuple[str, Float[np.ndarray, " 2"]]]:
        """The largest classes here, each with the median of its codes."""
        classes = self._classes()
        largest = sorted(classes, key=lambda one: -len(one[1]))[:MOST_NAMES]
        return [
            (short(name, LONGEST_NAME), np.median(members, axis=0)) for name, members in largest
        ]

    def unnamed(self) -> int:
        """How many more classes there are here."""
        return max(0, len(self._classes()) - MOST_NAMES)

    def _classes(self) -> list[tuple[str, Float[np.ndarray, "_ 2"]]]:
        """The classes that have codes here, and these."""
        if self.code_labels is None:
            return []
        members = (
            (name, self.codes[self.code_labels == k]) for k, name in enumerate(self.label_names)
        )
        return [(name, codes) for name, codes in members if len(codes)]

    def one_in(self) -> int:
        """One in how many codes gets a dot: more dots would cover the field that they lie on."""
        return max(1, ceil(len(self.codes) / MOST_DOTS))

    def styled_paths(self) -> list[tuple[str, np.ndarray, LineStyle]]:
        """Each path with its name and its line."""
        return [
            (name, path, LINES[index % len(LINES)])
            for index, (name, path) in enumerate(self.paths.items())
        ]


def draw_marks(axes: Axes, marks: Marks, dots: bool, names: bool) -> None:
    """Draw codes, paths and the anchors' letters.

    Arguments:
        dots: Draw the real codes.
        names: Write each class's name at the median of its codes.
    """
    if dots:
        # Larger panels take larger dots; the dark rim keeps them visible on the brightest ground.
        axes.scatter(
            *marks.codes[:: marks.one_in()].T,
            s=axes.bbox.width / 140,
            color=PAPER,
            edgecolors=INK,
            linewidths=0.35,
            zorder=2,
        )
    if names:
        _name_classes(axes, marks)
    for _, path, style in marks.styled_paths():
        # Twice: the white casing sets the line off, but must not swell its markers.
        axes.plot(*path.T, color=PAPER, linewidth=3.6, zorder=4, solid_joinstyle="round")
        axes.plot(
            *path.T,
            **style.line,
            linewidth=1.8,
            markersize=4.4,
            markeredgecolor=PAPER,
            markeredgewidth=0.7,
            zorder=4,
        )
    for letter, ((x, y), _) in marks.anchors.items():
        axes.text(
            x,
            y,
            letter,
            ha="center",
            va="center",
            fontsize=8,
            weight="bold",
            color=INK,
            zorder=6,
            bbox={
                "boxstyle": "circle,pad=0.25",
                "facecolor": PAPER,
                "edgecolor": INK,
                "linewidth": 1.0,
            },
            fontfamily=fonts(),
            parse_math=False,
            clip_on=True,
        )


def _name_classes(axes: Axes, marks: Marks) -> None:
    for name, (x, y) in marks.named():
        axes.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=9,
            weight="bold",
            color=INK,
            zorder=5,
            parse_math=False,
            fontfamily=fonts(),
            clip_on=True,
            path_effects=[
                patheffects.Stroke(linewidth=2.6, foreground=PAPER),
                patheffects.Normal(),
            ],
        )


def thumbnail_places(axes: Axes, marks: Marks) -> list[Float[np.ndarray, " 2"]]:
    """The position of each thumbnail where it hides least; the same for panels of one size."""
    taken: list[np.ndarray] = []
    for place, image in marks.anchors.values():
        side = max(_thumbnail(image, axes).shape[:2])
        taken.append(_free_place(axes, marks, np.asarray(place, float), side, taken))
    return [axes.transData.inverted().transform(middle) for middle in taken]


def draw_thumbnails(
    figure: Figure, axes: Axes, marks: Marks, places: list[Float[np.ndarray, " 2"]]
) -> None:
    """Show each anchor's image at its place, tied to the anchor by a thin line."""
    for (anchor, image), place in zip(marks.anchors.values(), places, strict=True):
        axes.plot(*np.stack([anchor, place], axis=1), color=INK, linewidth=0.9, zorder=5)
        framed = _thumbnail(image, axes)
        height, width = framed.shape[:2]
        x, y = axes.transData.transform(place)
        paste(figure, int(x - width / 2), int(figure.bbox.height - y - height / 2), framed)


def _thumbnail(
    image: Float[np.ndarray, "c h w"], axes: Axes
) -> UInt8[np.ndarray, "height width 3"]:
    """The image at a size that suits the panel, with a white and a dark border."""
    tiles = tile(image[None], width_for(image.shape[-1], THUMBNAIL * axes.bbox.width))
    white = np.pad(tiles[0], ((4, 4), (4, 4), (0, 0)), constant_values=255)
    return np.pad(white, ((2, 2), (2, 2), (0, 0)), constant_values=30)


def _free_place(
    axes: Axes, marks: Marks, place: Float[np.ndarray, " 2"], side: int, taken: list[np.ndarray]
) -> Float[np.ndarray, " 2"]:
    """The middle, in figure pixels, of the spot near an anchor where a thumbnail hides least.

    Leaving the panel costs most, then covering another thumbnail, an anchor or a path, then codes,
    then distance.
    """
    to_pixels = axes.transData.transform
    start = to_pixels(place)
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    lines = np.concatenate(
        [to_pixels(_dense(path)) for path in marks.paths.values()] or [np.zeros((0, 2))]
    )
    letters = to_pixels(np.array([at for at, _ in marks.anchors.values()], float))
    codes = to_pixels(marks.codes)
    half, box = side / 2 + 6, axes.bbox

    def cost(spot: np.ndarray) -> float:
        beyond = max(box.x0 - spot[0], spot[0] - box.x1, box.y0 - spot[1], spot[1] - box.y1) + half
        tie = start + (spot - start) * np.linspace(0.25, 1, 12)[:, None]
        return (
            1e4 * max(0.0, beyond)
            + 1e4 * _near(np.array(taken), spot, 2 * half)
            + 1e3 * _near(letters, spot, half + 16)
            + 10 * _near(lines, spot, half)
            + 5 * sum(_near(lines, point, 5.0) > 0 for point in tie)
            + 10 * _near(codes, spot, half) / max(len(codes), 1)
            + 2 * float(np.linalg.norm(spot - start)) / side
        )

    return min((start + reach * side * way for reach, way in product(DISTANCES, around)), key=cost)


def _near(dots: Float[np.ndarray, "..."], spot: Float[np.ndarray, " 2"], reach: float) -> int:
    """How many dots lie in the square of half side `reach` around a spot."""
    return int((np.abs(dots - spot).max(axis=-1) < reach).sum()) if len(dots) else 0


def _dense(path: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "many 2"]:
    """The path with points between its frames, so that no thumbnail hides a stretch of it."""
    steps = np.linspace(0, len(path) - 1, 12 * len(path))
    return np.stack([np.interp(steps, np.arange(len(path)), column) for column in path.T], axis=1)


def draw_legend(figure: Figure, marks: Marks, top: int, edge: bool) -> None:
    """Name lines and dots in one row above the panels."""
    handles = []
    if edge:
        handles.append(Line2D([], [], label="density threshold", **EDGE))
    if len(marks.codes):
        share = f" (1 in {marks.one_in()})" if marks.one_in() > 1 else ""
        more = f", the {MOST_NAMES} largest classes named, and {marks.unnamed()} more"
        named = more if marks.unnamed() else ""
        handles.append(Line2D([], [], label=f"real codes{share}{named}", **REAL))
    for name, _, style in marks.styled_paths():
        handles.append(
            Line2D(
                [],
                [],
                label=short(name),
                **style.line,
                linewidth=1.7,
                markersize=4,
                markeredgecolor=PAPER,
                markeredgewidth=0.5,
            )
        )
    draw_handles(figure, handles, top)


def draw_handles(figure: Figure, handles: Sequence[Line2D], top: int) -> None:
    """A legend in one row, `top` pixels from the figure's upper edge."""
    if not handles:
        return
    legend = figure.legend(
        handles=list(handles),
        loc="upper left",
        ncols=len(handles),
        frameon=False,
        labelcolor=INK,
        borderpad=0,
        bbox_to_anchor=(MARGIN / figure.bbox.width, 1 - top / figure.bbox.height),
        borderaxespad=0,
        handlelength=3.2,
        columnspacing=2.0,
        prop={"family": fonts(), "size": 9},
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
