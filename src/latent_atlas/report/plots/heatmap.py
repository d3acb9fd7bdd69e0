"""A panel's background: a field with colours and contours, or a lattice of images."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latent_atlas.display import grid, tile, width_for
from latent_atlas.report.plots.style import INK, PAPER, RULE, style_ticks

__all__ = [
    "EDGE",
    "Extent",
    "Field",
    "Kind",
    "Plane",
    "draw_bar",
    "draw_edge",
    "draw_field",
    "draw_lattice",
    "shape_of",
    "within",
]

Extent = tuple[float, float, float, float]
"""x0, x1, y0, y1 of the plane's window."""

Kind = Literal["confusion", "realness", "log_prob"]

EDGE: dict[str, Any] = {
    "color": PAPER,
    "linewidth": 1.5,
    "path_effects": [patheffects.Stroke(linewidth=3.2, foreground=INK), patheffects.Normal()],
}
"""The density threshold: white between two dark lines, visible on every background."""

_COLORS: dict[str, str | Colormap] = {
    "confusion": "magma",
    "realness": LinearSegmentedColormap.from_list(
        "boundary to data", ["#b8762c", "#e6c592", "#f7f5f0", "#9ac6e2", "#2b7bb3"]
    ),
    "log_prob": "viridis",
}


@dataclass(frozen=True)
class Field:
    """A quantity over the plane."""

    name: str
    """The panel's heading."""
    unit: str
    """Of the colour bar: bits, nats, probability."""
    values: Float[np.ndarray, "h w"]
    """Row i at y = linspace(y0, y1, h)[i], column j at x = linspace(x0, x1, w)[j]."""
    kind: Kind
    """The colour scale: 0 to 1 bit; 0 to 1 around 1/2; or a long tail cut at its lower end."""

    def range(self, threshold: float | None) -> tuple[float, float]:
        """Lowest and highest value that gets a colour of its own.

        A log-density has no lower bound; its colours end at the 10 % quantile of the window, or
        twice as far below the threshold as the peak is above it, whichever is higher.
        """
        if self.kind != "log_prob":
            return 0.0, 1.0
        values = self.values[np.isfinite(self.values)]
        if not values.size:
            return 0.0, 1.0
        low, high = float(np.quantile(values, 0.1)), float(values.max())
        if threshold is not None and threshold < high:
            low = max(low, threshold - 2 * (high - threshold))
        return min(low, high - 1e-3), high

    def levels(self, threshold: float | None) -> list[float]:
        """Heights of the contour lines, all of them inside the field's values."""
        levels = [0.1, 0.25, 0.5, 0.75, 0.9]
        if self.kind == "log_prob":
            levels = MaxNLocator(7).tick_values(*self.range(threshold))
        return [float(level) for level in levels if within(self.values, float(level))]


@dataclass(frozen=True)
class Plane:
    """The window that all panels show, and the density threshold on it."""

    extent: Extent
    log_prob: Float[np.ndarray, "h w"] | None
    """Log-density in nats, laid out as a field's values; None where no field gives it."""
    threshold: float | None

    def contour(
        self, axes: Axes, values: Float[np.ndarray, "_ _"], levels: list[float], **style: Any
    ) -> Any:
        """Draw lines of equal height."""
        x0, x1, y0, y1 = self.extent
        rows, columns = values.shape
        across, up = np.linspace(x0, x1, columns), np.linspace(y0, y1, rows)
        draw = axes.contourf if style.pop("filled", False) else axes.contour
        return draw(across, up, np.ma.masked_invalid(values), levels=levels, **style)


def shape_of(extent: Extent) -> float:
    """Height of a window's panel over its width, which makes pixels square on the plane.

    A window far from square would give a ribbon; beyond these shapes the scales of x and y may
    differ.
    """
    return float(np.clip((extent[3] - extent[2]) / (extent[1] - extent[0]), 0.4, 1.6))


def within(values: Float[np.ndarray, "h w"], level: float) -> bool:
    """Whether a contour line at `level` exists; matplotlib warns about those that do not."""
    finite = values[np.isfinite(values)]
    return bool(finite.size) and bool(finite.min() < level < finite.max())


def draw_field(axes: Axes, plane: Plane, one: Field) -> ScalarMappable:
    """Colour the panel by the field and draw its contour lines.

    Returns:
        What a colour bar needs.
    """
    x0, x1, y0, y1 = plane.extent
    rows, columns = one.values.shape
    # Values belong to nodes: the image's outer pixels reach half a cell beyond the window.
    x, y = (x1 - x0) / max(columns - 1, 1) / 2, (y1 - y0) / max(rows - 1, 1) / 2
    image = axes.imshow(
        np.ma.masked_invalid(one.values),
        origin="lower",
        extent=(x0 - x, x1 + x, y0 - y, y1 + y),
        cmap=_COLORS[one.kind],
        norm=Normalize(*one.range(plane.threshold)),
        interpolation="bilinear",
        aspect="auto",
    )
    axes.set(xlim=(x0, x1), ylim=(y0, y1))
    levels = one.levels(plane.threshold)
    if levels:
        color = PAPER if one.kind == "confusion" else INK
        widths = [1.1 if one.kind == "realness" and level == 0.5 else 0.5 for level in levels]
        plane.contour(
            axes, one.values, levels, colors=color, linewidths=widths, linestyles="solid", alpha=0.5
        )
    return image


def draw_bar(figure: Figure, cax: Axes, mappable: ScalarMappable, one: Field) -> None:
    """Draw the colour bar of a field, with an arrow where colours end before the values do."""
    tail = one.kind == "log_prob"
    bar = figure.colorbar(mappable, cax=cax, extend="min" if tail else "neither", extendfrac=0.035)
    bar.locator = MaxNLocator(6 if tail else 4)
    bar.update_ticks()
    bar.outline.set(edgecolor=RULE, linewidth=0.8)
    style_ticks(cax)


def draw_edge(axes: Axes, plane: Plane, veil: bool) -> None:
    """Draw the contour log_prob = threshold, if it passes through the window.

    Arguments:
        veil: Fade what is below the threshold.
    """
    if (
        plane.log_prob is None
        or plane.threshold is None
        or not within(plane.log_prob, plane.threshold)
    ):
        return
    if veil:
        low = float(plane.log_prob[np.isfinite(plane.log_prob)].min()) - 1
        filled = np.nan_to_num(plane.log_prob, nan=low, neginf=low)
        plane.contour(
            axes,
            filled,
            [low - 1, plane.threshold],
            colors=[PAPER],
            alpha=0.55,
            zorder=1.5,
            filled=True,
        )
    lines = plane.contour(
        axes,
        plane.log_prob,
        [plane.threshold],
        colors=EDGE["color"],
        linewidths=EDGE["linewidth"],
        linestyles="solid",
        zorder=3,
    )
    lines.set(path_effects=EDGE["path_effects"], gid="threshold")


def draw_lattice(
    axes: Axes, plane: Plane, lattice: Float[np.ndarray, "rows columns c h w"]
) -> None:
    """Cover the panel with images, each in its cell; the first row is the lowest."""
    rows, columns, channels, height, width = lattice.shape
    upright = lattice[::-1].reshape(rows * columns, channels, height, width)
    # Twice the panel's pixels, resampled by matplotlib: cells are rarely a whole number of pixels
    # wide.
    room = axes.bbox.width / columns
    across = width_for(width, max(2 * room, width))
    tiles = np.pad(tile(upright, across), ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)
    smooth = "nearest" if room >= 2 * width else "antialiased"
    axes.imshow(grid(tiles, columns, 0), extent=plane.extent, interpolation=smooth, aspect="auto")
