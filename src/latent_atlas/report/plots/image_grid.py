"""Images as pixels, scaled without blur, and grids of them: samples, and rows to compare."""

from collections.abc import Mapping
from math import ceil, sqrt

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from PIL import Image

from latent_atlas.errors import UserError
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

__all__ = ["comparison_sheet", "grid", "padded", "require_images", "sheet", "tile", "width_for"]

CHECK = 8  # side in pixels of the chequerboard's squares
BESIDE = 20  # pixels between a row's label and its images
GAP = 6  # pixels between neighbours
LARGEST = 256  # pixels that a tile takes at most: four samples need no poster,
ENLARGED = 12  # and no larger a multiple of the image


def sheet(
    images: Float[np.ndarray, "n c h w"], columns: int | None = None, title: str | None = None
) -> Figure:
    """A grid of images, row by row.

    Arguments:
        images: In [0, 1], 1 to 4 channels, n >= 1.
        columns: Images per row; by default a wide grid whose last row is as full as can be.
    """
    require_images(images)
    per_row = min(len(images), columns or _columns_for(len(images)))
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


def _columns_for(count: int) -> int:
    """Columns of a grid about 1.6 times as wide as high, preferring full last rows.

    Examples:
        >>> _columns_for(64), _columns_for(24), _columns_for(7)
        (8, 6, 4)
    """
    ideal = sqrt(1.6 * count)
    choices = range(max(1, int(0.7 * ideal)), ceil(1.5 * ideal) + 1)
    return min(
        choices,
        key=lambda columns: (-count % columns / columns + abs(columns - ideal) / ideal, columns),
    )


def require_images(images: Float[np.ndarray, "n c h w"]) -> None:
    """Refuse what cannot be drawn.

    Raises:
        UserError: there is no image, or images have other than 1 to 4 channels.
    """
    if images.ndim != 4 or not 1 <= images.shape[1] <= 4 or 0 in images.shape:
        raise UserError(
            f"images to draw have shape {images.shape}; give at least one, as (n, c, h, w) with 1 "
            "to 4 channels"
        )


def width_for(width: int, room: int | float) -> int:
    """The width at which to draw images `width` pixels wide in `room` pixels.

    From twice the size on it is a multiple, so that every pixel comes out as a square of one
    colour. Below that neither repeating nor dropping pixels gives an even picture: the whole room
    is used and pixels are averaged.

    Examples:
        >>> width_for(8, 100), width_for(64, 100), width_for(256, 100)
        (96, 100, 100)
    """
    return max(1, int(room) if room < 2 * width else int(room / width + 0.3) * width)


def tile(
    images: Float[np.ndarray, "n c h w"], across: int
) -> UInt8[np.ndarray, "n height width 3"]:
    """Turn images into pixels.

    Arguments:
        images: In [0, 1]; grey, grey and alpha, RGB, or RGB and alpha. Other
            values are clipped, NaN is black.
        across: Width to give them: a multiple of theirs repeats pixels, any other width resamples.
    """
    require_images(images)
    values = np.clip(np.nan_to_num(images, nan=0.0), 0, 1)
    pixels = np.round(np.moveaxis(values, 1, -1) * 255).astype(np.uint8)
    if pixels.shape[-1] <= 2:
        pixels = np.concatenate([np.repeat(pixels[..., :1], 3, axis=-1), pixels[..., 1:]], axis=-1)
    height, width = pixels.shape[1:3]
    if across % width == 0:
        pixels = pixels.repeat(across // width, axis=1).repeat(across // width, axis=2)
    else:
        size = (across, max(1, round(height * across / width)))
        resized = [Image.fromarray(one).resize(size, Image.Resampling.LANCZOS) for one in pixels]
        pixels = np.stack([np.asarray(one) for one in resized])
    return pixels if pixels.shape[-1] == 3 else _over_chequerboard(pixels)


def _over_chequerboard(pixels: UInt8[np.ndarray, "n h w 4"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Lay transparent pixels over light grey squares, on which black and white both show."""
    rows, columns = np.indices(pixels.shape[1:3]) // CHECK
    board = np.where((rows + columns) % 2, 205, 235)[None, :, :, None]
    alpha = pixels[..., 3:] / 255
    return np.round(pixels[..., :3] * alpha + board * (1 - alpha)).astype(np.uint8)


def grid(
    tiles: UInt8[np.ndarray, "n h w 3"], columns: int, gap: int, ground: int = 255
) -> UInt8[np.ndarray, "height width 3"]:
    """Set tiles row by row, left to right, `gap` pixels of grey value `ground` between them."""
    count, height, width = tiles.shape[:3]
    rows = -(-count // columns)
    canvas = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, 3), ground, np.uint8
    )
    for index, one in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = one
    return canvas
