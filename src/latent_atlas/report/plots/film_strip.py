"""Film strips: paths frame by frame, and the log-density of each frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from latent_atlas.display import grid, tile, width_for
from latent_atlas.errors import UserError
from latent_atlas.report.plots.style import (
    LINES,
    MARGIN,
    PAPER,
    RULE,
    SIGNAL,
    SOFT,
    WIDTH,
    LineStyle,
    blank,
    fonts,
    label_axes,
    paste,
    place,
    short,
    text_width,
    title_height,
    write,
    write_title,
)

__all__ = ["Strip", "strips_picture"]

GAP = 14  # pixels between frames, in which two outlines fit side by side
OUTLINE = 6  # pixels around an off-manifold frame
NAME = 18  # characters of a path's name
COLUMN = 330  # pixels at the left for names and notes
PANEL = 460  # pixels of height for the curves
CAPTION = 110  # pixels of height that a caption takes
BELOW = 100  # pixels for the curves' horizontal axis
LEAST = 40  # pixels that a frame has at least, however many there are
DEEPEST = (
    4  # how far below the threshold the curves' panel reaches, in multiples of its reach above
)


@dataclass(frozen=True)
class Strip:
    """One path, frame by frame."""

    name: str
    """The planner."""
    images: Float[np.ndarray, "frames c h w"]
    """Decoded frames, in [0, 1]."""
    log_prob: Float[np.ndarray, " frames"]
    """Log-density of each frame's code, in nats."""
    off_manifold: Bool[np.ndarray, " frames"]
    """Which frames are off-manifold."""
    note: str = ""
    """Its metrics, such as "2 of 17 off-manifold"."""
    real: Float[np.ndarray, "frames c h w"] | None = None
    """The nearest real image to each frame, drawn below it."""


def strips_picture(strips: Sequence[Strip], threshold: float, title: str | None = None) -> Figure:
    """Film strips one below the other, off-manifold frames outlined, log-densities below.

    Arguments:
        strips: One per path, of any number of frames each.
        threshold: The log-density, in nats, below which a code is off-manifold.

    Raises:
        UserError: there is no strip.
    """
    if not strips:
        raise UserError("there are no strips to draw; give at least one path")
    frames = max(len(strip.images) for strip in strips)
    films = [_film(strip, (WIDTH - COLUMN - 2 * MARGIN) / frames - GAP) for strip in strips]
    tops = _tops(films, title)
    length = max(film.shape[1] for film in films)
    figure = blank(COLUMN + length + MARGIN, tops[-1] + PANEL + BELOW)
    write_title(figure, title)
    for index, (strip, film, top) in enumerate(zip(strips, films, tops[:-1], strict=True)):
        _caption(figure, strip, top + film.shape[0] // 2, LINES[index % len(LINES)])
        paste(figure, COLUMN, top, film)
    # Half a gap beyond the films on both sides: each frame's number then stands below its picture.
    edge = GAP / 2 - OUTLINE
    axes = place(figure, COLUMN - edge, tops[-1], length + 2 * edge, PANEL)
    _curves(axes, strips, threshold, frames)
    return figure


def _film(strip: Strip, room: int | float) -> UInt8[np.ndarray, "height width 3"]:
    """The frames in a row, each with room for the outline of off-manifold frames."""
    across = width_for(strip.images.shape[-1], max(LEAST, room))
    tiles = tile(strip.images, across)
    if strip.real is not None:
        tiles = np.concatenate([tiles, tile(strip.real, across)], axis=1)
    count, height, width, _ = tiles.shape
    framed = np.full((count, height + 2 * OUTLINE, width + 2 * OUTLINE, 3), 255, np.uint8)
    framed[strip.off_manifold] = np.round(np.array(to_rgb(SIGNAL)) * 255)
    framed[:, OUTLINE:-OUTLINE, OUTLINE:-OUTLINE] = tiles
    return grid(framed, count, GAP - 2 * OUTLINE)


def _tops(films: Sequence[np.ndarray], title: str | None) -> list[int]:
    """Where each film, and below them the curves, begin."""
    tops = [title_height(title)]
    for film in films:
        tops.append(tops[-1] + max(film.shape[0], CAPTION) + 22)
    tops[-1] += 20
    return tops


def _caption(figure: Figure, strip: Strip, middle: int | float, style: LineStyle) -> None:
    """Name, line and note of a path, in the column at the left, centred on its film."""
    name, lines = short(strip.name, NAME), wrap(strip.note, 24)[:3]
    top = middle - (38 + 28 * len(lines)) / 2
    write(figure, MARGIN, top, name, size=10, weight="bold")
    across, up = figure.bbox.width, figure.bbox.height
    start = MARGIN + text_width(name, 10, "bold") + 16
    figure.add_artist(
        Line2D(
            [start / across, (start + 34) / across, (start + 68) / across],
            [1 - (top + 18) / up] * 3,
            **style.line,
            linewidth=1.6,
            markersize=4,
            markevery=[1],
        )
    )
    for number, line in enumerate(lines):
        write(figure, MARGIN, top + 40 + 28 * number, line, size=8, color=SOFT)


def _limits(strips: Sequence[Strip], threshold: float) -> tuple[float, float]:
    """The range of log-densities shown: all, unless the lowest would flatten the rest."""
    values = np.concatenate([strip.log_prob for strip in strips])
    values = np.append(values[np.isfinite(values)], threshold)
    high = float(values.max())
    spread = max(high - threshold, 1e-3)
    low = max(float(values.min()), threshold - DEEPEST * spread)
    low = min(low, threshold - 0.4 * spread)
    return low - 0.08 * (high - low), high + 0.08 * (high - low)


def _curves(axes: Axes, strips: Sequence[Strip], threshold: float, frames: int) -> None:
    """Log-density against frame number, each frame below its picture."""
    label_axes(axes, "frame", "log-density (nats)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(-0.5, frames - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(min(frames, 17), integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    low, high = _limits(strips, threshold)
    axes.set_ylim(low, high)
    axes.axhspan(low, threshold, color=SIGNAL, alpha=0.09, linewidth=0)
    axes.axhline(threshold, color=SIGNAL, linewidth=1.1, linestyle=(0, (4, 2)))
    for index, strip in enumerate(strips):
        style = LINES[index % len(LINES)]
        axes.plot(
            np.arange(len(strip.log_prob)),
            strip.log_prob,
            **style.line,
            linewidth=1.6,
            markersize=4,
            markeredgecolor=PAPER,
            markeredgewidth=0.4,
        )
        _mark_below(axes, strip, low, style)
    axes.text(
        0.008,
        0.03,
        "off-manifold",
        color=SIGNAL,
        fontsize=8,
        transform=axes.transAxes,
        va="bottom",
        fontfamily=fonts(),
    )


def _mark_below(axes: Axes, strip: Strip, low: float, style: LineStyle) -> None:
    """Say how deep a curve falls that leaves the panel through its lower edge."""
    values = np.nan_to_num(strip.log_prob, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    deepest = int(values.argmin())
    if values[deepest] < low:
        depth = f"{values[deepest]:.0f}".replace("-", "−").replace("inf", "∞")
        axes.annotate(
            f"{short(strip.name)} falls to {depth}",
            (deepest, low),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=style.color,
            parse_math=False,
            fontfamily=fonts(),
        )
