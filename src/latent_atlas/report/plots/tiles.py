"""Images to pixels: scaled without blur, laid over a chequerboard where transparent, set in grids."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from latent_atlas.errors import UserError

__all__ = ["grid", "require_images", "tile", "width_for"]

CHECK = 8  # side in pixels of the chequerboard's squares


def require_images(images: Float[np.ndarray, "n c h w"]) -> None:
    """Refuse what cannot be drawn.

    Raises:
        UserError: there is no image, or images have other than 1 to 4 channels.
    """
    if images.ndim != 4 or not 1 <= images.shape[1] <= 4 or 0 in images.shape:
        raise UserError(
            f"images to draw have shape {images.shape}; give at least one, as (n, c, h, w) with 1 to 4 channels"
        )


def width_for(width: int, room: int | float) -> int:
    """The width in pixels at which to draw images `width` pixels wide where there is room for `room`.

    From twice the size on it is a multiple, so that every pixel comes out as a square of one colour. Below that
    neither repeating nor dropping pixels gives an even picture: the whole room is used and pixels are averaged.

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
        images: In [0, 1]; grey, grey and alpha, RGB, or RGB and alpha. What is outside is clipped, NaN is black.
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
