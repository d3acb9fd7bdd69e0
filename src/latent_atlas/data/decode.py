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

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import Images

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Content",
    "Square",
    "UndecodableError",
    "decode",
    "open_image",
    "plain",
    "quiet",
    "unpack",
]

MAX_PIXELS = 50_000_000
"""Larger images are refused: decoded, they would fill the memory."""

MAX_BYTES = 256 * 2**20
"""Larger files and archive members are refused without being read."""

_SUFFIXES = ".avif .bmp .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff"

IMAGE_SUFFIXES = frozenset([*_SUFFIXES.split(), ".webp"])
"""Files that are meant to be images: those of them that cannot be decoded are rejects, all others are ignored."""

Content = bytes | UInt8[np.ndarray, "height width bands"]
"""An encoded file, or pixels with 1 (grey), 2 (and alpha), 3 (RGB) or 4 (RGBA) channels."""

_CHANNEL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class UndecodableError(Exception):
    """One image cannot be had; the text is the reason, for the list of rejects."""


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

    Example:
        >>> decode(np.full((2, 2, 1), 7, np.uint8), Square(1, 3)).flatten().tolist()
        [7, 7, 7]
    """
    if isinstance(content, np.ndarray) and content.shape == (square.size, square.size, square.channels):
        return torch.from_numpy(content.copy()).permute(2, 0, 1)
    image = _fitted(_with_channels(plain(unpack(content, 2 * square.size)), square.channels), square)
    pixels = np.array(image).reshape(square.size, square.size, square.channels)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def open_image(path: str | Path, image_size: int, channels: int, fit: Literal["crop", "pad"] = "crop") -> Images:
    """Read one image file.

    Arguments:
        path: The file, of any format that Pillow reads among `IMAGE_SUFFIXES`.
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
            image = decode(Path(path).expanduser().read_bytes(), Square(image_size, channels, fit))
    except OSError as error:
        raise UserError(f"cannot read the image '{path}' ({error.strerror}); give the path of an image file") from None
    except UndecodableError as error:
        raise UserError(f"'{path}' is not an image that can be used ({error}); give another file") from None
    return image[None].float() / 255


@contextmanager
def quiet() -> Iterator[None]:
    """Turn Pillow's warning about huge images into an error, and drop its remarks on odd metadata.

    Filters belong to the process: enter it once, outside the threads that decode.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def unpack(content: Content, enough: int) -> Image.Image:
    """Decode to an image in whatever mode it is stored, upright.

    Arguments:
        content: An encoded file or an array of pixels.
        enough: JPEG files may be decoded at a half, a quarter or an eighth, as long as both sides keep so many pixels.

    Raises:
        UndecodableError: the content is empty, damaged, too large, or of an unknown format.
    """
    if isinstance(content, np.ndarray):
        mode = _CHANNEL_MODES[content.shape[2]]
        return Image.fromarray(np.ascontiguousarray(content.squeeze(2) if mode == "L" else content))
    if not content:
        raise UndecodableError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=_formats())
        width, height = image.size
        if width * height <= MAX_PIXELS:
            image.draft(None, (enough, enough))
            image.load()
            return ImageOps.exif_transpose(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UndecodableError(f"it has more than {MAX_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise UndecodableError("its format is not known") from None
    # Decoders raise almost anything on damaged files, from SyntaxError to struct.error, and none may end a run.
    except Exception as error:
        raise UndecodableError(f"{type(error).__name__}: {error}") from None
    raise UndecodableError(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")


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
        raise UndecodableError(f"its integers go from {values.min()} to {values.max()}, 0 to 65535 are understood")
    return ((values + 128) // 257).astype(np.uint8)


def _from_floats(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):
        raise UndecodableError(f"its values go from {low} to {high}, [0, 1] and [0, 255] are understood")
    return np.rint(values * 255 if high <= 1 else values).astype(np.uint8)


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    if channels in (1, 3) and image.mode in ("LA", "RGBA"):
        # Before any resizing: colours under full transparency must not bleed into the edges.
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(_CHANNEL_MODES[channels])


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


@cache
def _formats() -> tuple[str, ...]:
    """The formats tried, of those that this Pillow reads: none that starts a program, as EPS does."""
    Image.init()
    wanted = "AVIF BMP GIF ICO JPEG JPEG2000 MPO PNG PPM TGA TIFF WEBP"
    return tuple(name for name in wanted.split() if name in Image.OPEN)
