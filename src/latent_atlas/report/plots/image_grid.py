"""Images as pixels, scaled without blur, and grids of them: samples, and rows to compare."""

from collections.abc import Mapping
from math import ceil

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from latent_atlas.display import columns_for, grid, require_images, tile, width_for
from latent_atlas.errors import UserError, checked
from latent_atlas.report.plots.style import (
    MARGIN,
    WIDTH,
    blank,
    paste,
    short,
    text_width,
    title_height,
    write,
    write_title,
)

__all__ = ["comparison_sheet", "padded", "sheet"]

BESIDE = 20  # pixels between a row's label and its images
GAP = 6  # pixels between neighbours
LARGEST = 256  # pixels that a tile takes at most: four samples need no poster,
ENLARGED = 12  # and no larger a multiple of the image


@checked
def sheet(
    images: Float[np.ndarray, "n c h w"], columns: int | None = None, title: str | None = None
) -> Figure:
    """A grid of images, row by row.

    Arguments:
        images: In [0, 1], 1 to 4 channels, n >= 1.
        columns: Images per row; by default a wide grid whose last row is as full as can be.
    """
    require_images(images)
    per_row = min(len(images), columns or columns_for(len(images)))
    canvas = grid(_tiles(images, (WIDTH - 2 * MARGIN) / per_row), per_row, GAP)
    top = title_height(title)
    figure = blank(_around(MARGIN + canvas.shape[1], title), top + canvas.shape[0] + MARGIN)
    write_title(figure, title)
    paste(figure, MARGIN, top, canvas)
    return figure


def comparison_sheet(
    rows: Mapping[str, Float[np.ndarray, "n c h w"]], title: str | None = None, columns: int = 16
) -> Figure:
    """Rows of images to compare, such as originals above reconstructions, in several bands.

    Arguments:
        rows: Label to images in [0, 1], all of one shape; image i of each row stands below image i
            of the first.
        columns: Images per band.

    Raises:
        UserError: there are no rows, or their shapes differ.
    """
    images = _same_shape(rows)
    names = [short(name) for name in rows]
    columns = min(len(images[0]), columns)
    labels = MARGIN + max(map(text_width, names))
    room = (WIDTH - labels - BESIDE - MARGIN) / columns
    tiles = [_tiles(row, room) for row in images]
    count, height, width, _ = tiles[0].shape
    band = len(tiles) * (height + GAP) + height // 3
    top = title_height(title)
    figure = blank(
        _around(labels + BESIDE + columns * (width + GAP) - GAP, title),
        top + ceil(count / columns) * band - height // 3 - GAP + MARGIN,
    )
    write_title(figure, title)
    for first in range(0, count, columns):
        for line, (name, row) in enumerate(zip(names, tiles, strict=True)):
            y = top + first // columns * band + line * (height + GAP)
            write(figure, labels, y + height / 2, name, ha="right", va="center")
            part = row[first : first + columns]
            paste(figure, labels + BESIDE, y, grid(part, len(part), GAP))
    return figure


def padded(images: Float[np.ndarray, "n c h w"], count: int) -> Float[np.ndarray, "m c h w"]:
    """The images and white ones after them, `count` in all."""
    white = np.ones((count - len(images), *images.shape[1:]), images.dtype)
    return np.concatenate([images, white])


def _tiles(
    images: Float[np.ndarray, "n c h w"], room: int | float
) -> UInt8[np.ndarray, "n height width 3"]:
    """Pixels of each image, at a size that suits `room` pixels of width, gap included."""
    width = images.shape[-1]
    return tile(images, width_for(width, min(LARGEST, ENLARGED * width, room - GAP)))


def _around(right: int, title: str | None) -> int:
    """Width of a figure whose drawing ends at `right`, and in which the title has room."""
    return max(right, MARGIN + text_width(title or "", 12.5, "bold")) + MARGIN


def _same_shape(rows: Mapping[str, Float[np.ndarray, "_ _ _ _"]]) -> list[np.ndarray]:
    images = list(rows.values())
    if not images or any(row.shape != images[0].shape for row in images):
        shapes = ", ".join(f"{name} {row.shape}" for name, row in rows.items()) or "none"
        raise UserError(
            f"rows to compare have the shapes {shapes}; give at least one, all of the same shape"
        )
    require_images(images[0])
    return images
