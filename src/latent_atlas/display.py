"""Results in notebooks and as data frames: tables, grids of images, film strips.

Only this module knows pandas and polars.
"""

import base64
import html
import importlib
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from latent_atlas.errors import UserError, checked, counted, printable
from latent_atlas.shapes import Images, Latents

__all__ = [
    "Tabular",
    "columns_for",
    "coordinates",
    "grid",
    "html_grid",
    "html_table",
    "html_text",
    "png_grid",
    "require_images",
    "tile",
    "width_for",
]

CHECK = 8  # side in pixels of the chequerboard's squares
FRAMES = ("pandas", "polars")
ACROSS = 900  # pixels of a picture in a notebook
LARGEST = 96  # pixels of an image in it
GAP = 4  # pixels between images
MOST_ROWS, MOST_COLUMNS = 20, 24  # of a table in a notebook
MOST_IMAGES = 64  # of a grid in a notebook


class Tabular(ABC):
    """A result that is a table: rows of plain values, a data frame, a table in a notebook."""

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """The columns by name, each with a value per row."""

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary of plain values per row; infinite numbers are kept."""
        columns = {
            name: column.tolist() if hasattr(column, "tolist") else column
            for name, column in self.columns().items()
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @checked
    def to_frame(self, library: str = "pandas") -> Any:
        """The columns as a DataFrame of pandas, or of polars.

        Raises:
            UserError: it is neither, or it is not installed.
        """
        if library not in FRAMES:
            raise UserError(f"no data frames by '{library}'; choose {' or '.join(FRAMES)}")
        try:
            frames = importlib.import_module(library)
        except ImportError:
            raise UserError(
                f"to_frame needs {library}, which is not installed; pip install {library}, or call "
                "rows(), which needs nothing"
            ) from None
        return frames.DataFrame(self.columns())

    def _repr_html_(self) -> str:
        """The first rows as a table."""
        return html_table(self.rows())


def coordinates(points: Latents) -> dict[str, np.ndarray]:
    """Codes as columns z0, z1, ..."""
    return {f"z{i}": column for i, column in enumerate(points.detach().cpu().numpy().T)}


def html_text(*sentences: str) -> str:
    """A paragraph for each sentence."""
    return "".join(f"<p>{html.escape(printable(sentence))}</p>" for sentence in sentences)


def html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first 20 rows and 24 columns as a table of HTML, and how many there are if more."""
    if not rows:
        return html_text("no rows")
    names = list(rows[0])[:MOST_COLUMNS]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(row[name])}</td>' for name in names)}</tr>"
        for row in rows[:MOST_ROWS]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    cut = len(rows) > MOST_ROWS or len(rows[0]) > MOST_COLUMNS
    size = f"{counted(len(rows), 'row')}, {counted(len(rows[0]), 'column')}"
    return table + (html_text(f"the beginning of {size}") if cut else "")


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else printable(str(value))
    return html.escape(text)


def html_grid(images: Images, about: str, columns: int | None = None) -> str:
    """A picture within HTML.

    Arguments:
        images, columns: As for `png_grid`.
        about: What they are, for those who cannot see them.
    """
    data = base64.b64encode(png_grid(images, columns)).decode("ascii")
    style = f'style="display: block; margin-bottom: {GAP}px"'
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(about)}" {style}>'


def png_grid(images: Images, columns: int | None = None) -> bytes:
    """The first 64 images as a PNG.

    Arguments:
        images: In [0, 1], n of 1 or more.
        columns: Images per row, of which all are shown; by default a wide grid.
    """
    shown = images if columns else images[:MOST_IMAGES]
    per_row = columns or columns_for(len(shown))
    across = width_for(images.shape[-1], min(LARGEST, max(16, ACROSS / per_row - GAP)))
    picture = grid(tile(shown.detach().float().cpu().numpy(), across), per_row, GAP)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def columns_for(count: int) -> int:
    """Columns of a grid about 1.6 times as wide as high, preferring full last rows.

    Examples:
        >>> columns_for(64), columns_for(24), columns_for(7)
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
