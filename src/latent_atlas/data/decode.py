"""From the content of one file, or one row of an array, to a square uint8 image.

One rule each, in this order:

| what comes | what is done |
|---|---|
| more than 50 million pixels | refused before decoding |
| animated or of several pages | the first frame |
| EXIF orientation | applied |
| 1 bit | 0 and 255 |
| 16-bit grey, 32-bit integers | value / 257, rounded: 65535 becomes 255; refused outside 0..65535 |
| 32-bit floats | times 255 if all lie in [0, 1], as they are if in [0, 255], else refused |
| palette | its colours; with a transparent entry, RGBA |
| CMYK, YCbCr, HSV | RGB by Pillow's formulas, no colour profile |
| a transparent colour in grey or RGB | becomes alpha |
| alpha, 1 or 3 channels wanted | composited over white |
| alpha, 2 or 4 channels wanted | kept; images without get 255 |
| colour, 1 or 2 channels wanted | luma, 0.299 R + 0.587 G + 0.114 B |
| grey, 3 or 4 channels wanted | three equal channels |
| not square, `crop` | the largest centred square |
| not square, `pad` | all of it, centred; the rest is 0: black, and transparent where there is alpha |
| too large | shrunk with Lanczos, which averages what it merges |
| too small | enlarged with a bicubic filter |
| already of the size | not resampled |
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from latent_atlas.data.unpack import (
    CHANNEL_MODES,
    Content,
    UndecodableError,
    quiet,
    read_file,
    unpack,
)
from latent_atlas.errors import UserError
from latent_atlas.shapes import Images

__all__ = ["Square", "decode", "open_image", "plain"]


@dataclass(frozen=True)
class Square:
    """What every image becomes.

    Arguments:
        size: Side in pixels.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        fit: What happens to images that are not square.
    """

    size: int
    channels: int
    fit: Literal["crop", "pad"] = "crop"


def decode(content: Content, square: Square) -> UInt8[Tensor, "c h w"]:
    """Decode one image and make it square, by the rules at the head of this module.

    Arguments:
        content: An encoded file or an array of pixels.
        square: The size and channels wanted.

    Returns:
        Of shape (channels, size, size), in 0..255.

    Raises:
        UndecodableError: the content is no image that can be decoded.

    Examples:
        >>> decode(np.full((2, 2, 1), 7, np.uint8), Square(1, 3)).flatten().tolist()
        [7, 7, 7]
    """
    if isinstance(content, np.ndarray) and content.shape == (
        square.size,
        square.size,
        square.channels,
    ):
        return torch.from_numpy(content.copy()).permute(2, 0, 1)
    image = _fitted(
        _with_channels(plain(unpack(content, 2 * square.size)), square.channels), square
    )
    pixels = np.array(image).reshape(square.size, square.size, square.channels)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def open_image(
    source: str | Path | bytes, image_size: int, channels: int, fit: Literal["crop", "pad"] = "crop"
) -> Images:
    """Read one image file.

    Arguments:
        source: The file, of any format that Pillow reads among `IMAGE_SUFFIXES`; or its content.
        image_size: Side wanted, in pixels.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        fit: Crop the centre of an image that is not square, or pad its short side.

    Returns:
        Of shape (1, channels, image_size, image_size), in [0, 1].

    Raises:
        UserError: there is no such file, or it cannot be decoded.
    """
    try:
        with quiet():
            content = source if isinstance(source, bytes) else read_file(Path(source).expanduser())
            image = decode(content, Square(image_size, channels, fit))
    except OSError as error:
        raise UserError(
            f"cannot read the image '{source}' ({error.strerror}); give the path of an image file"
        ) from None
    except UndecodableError as error:
        name = "this" if isinstance(source, bytes) else f"'{source}'"
        raise UserError(
            f"{name} is not an image that can be used ({error}); give another file"
        ) from None
    return image[None].float() / 255


def plain(image: Image.Image) -> Image.Image:
    """Convert any mode to 8 bits of L, LA, RGB or RGBA, whichever holds the image.

    Raises:
        UndecodableError: the mode is unknown, or its numbers are out of range.
    """
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_from_floats(image) if mode == "F" else _from_long_integers(image))
    transparent = "transparency" in image.info
    if mode in ("1", "L", "LA", "La"):
        return image.convert("LA" if transparent or mode in ("LA", "La") else "L")
    if mode in ("RGBA", "RGBa", "PA"):
        return image.convert("RGBA")
    if mode in ("P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"):
        return image.convert("RGBA" if transparent and mode in ("P", "RGB") else "RGB")
    raise UndecodableError(f"its mode {mode} has no rule")


def _from_long_integers(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    # Pillow's own conversion to 8 bits clips: every value above 255 would become white.
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UndecodableError(
            f"its integers go from {values.min()} to {values.max()}, 0 to 65535 are understood"
        )
    return ((values + 128) // 257).astype(np.uint8)


def _from_floats(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):
        raise UndecodableError(
            f"its values go from {low} to {high}, [0, 1] and [0, 255] are understood"
        )
    return np.rint(values * 255 if high <= 1 else values).astype(np.uint8)


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    if channels in (1, 3) and image.mode in ("LA", "RGBA"):
        # Before any resizing: colours under full transparency must not bleed into the edges.
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(CHANNEL_MODES[channels])


def _fitted(image: Image.Image, square: Square) -> Image.Image:
    width, height = image.size
    if square.fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side)) if width != height else image
        return _resized(image, (square.size, square.size))
    scale = square.size / max(width, height)
    image = _resized(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    if image.width == image.height:
        return image
    padded = Image.new(image.mode, (square.size, square.size))
    padded.paste(image, ((square.size - image.width) // 2, (square.size - image.height) // 2))
    return padded


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    shrinks = max(size) < max(image.size)
    return image.resize(size, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC)
