"""From the content of one file, or one row of an array, to a square uint8 image.

One rule each, in this order:

| input | result |
|---|---|
| more than 50 million pixels | refused before decoding |
| animated or of several pages | the first frame |
| EXIF orientation | applied |
| 1 bit | 0 and 255 |
| 16-bit grey, 32-bit integers | value / 257, rounded: 65535 is 255; refused outside 0..65535 |
| 32-bit floats | times 255 if all lie in [0, 1], as they are if in [0, 255], else refused |
| palette | its colours; with a transparent entry, RGBA |
| CMYK, YCbCr, HSV | RGB by Pillow's formulas, no colour profile |
| a transparent colour in grey or RGB | becomes alpha |
| alpha, 1 or 3 channels wanted | composited over white |
| alpha, 2 or 4 channels wanted | kept; images without get 255 |
| colour, 1 or 2 channels wanted | luma, 0.299 R + 0.587 G + 0.114 B |
| grey, 3 or 4 channels wanted | three equal channels |
| not square, `crop` | the largest centred square |
| not square, `pad` | all of it, centred; the padding is 0: black, transparent with alpha |
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
    "check_size",
    "decode",
    "open_image",
    "plain",
    "quiet",
    "read_file",
    "unpack",
]

MAX_PIXELS = 50_000_000
"""Images with more pixels are refused: decoded, they would fill the memory."""

MAX_BYTES = 256 * 2**20
"""Larger files and archive members are refused without being read."""

_SUFFIXES = """.avif .bmp .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm
.ppm .tga .tif .tiff .webp"""

IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
"""Suffixes of image files. Such a file is a reject if it cannot be decoded; all other files are
ignored."""

Content = bytes | UInt8[np.ndarray, "height width bands"]
"""An encoded file, or pixels with 1 (grey), 2 (and alpha), 3 (RGB) or 4 (RGBA) channels."""

CHANNEL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's word for each number of channels."""


class UndecodableError(Exception):
    """One image cannot be read or decoded; the text is the reason, for the list of rejects."""


def read_file(path: Path) -> bytes:
    """Read a regular file of at most `MAX_BYTES`.

    Raises:
        UndecodableError: it is larger, or is not a regular file.
        OSError: there is no such file, or it may not be read.
    """
    if path.exists() and not path.is_file():
        # Opening a named pipe would block for ever.
        raise UndecodableError("it is not a regular file")
    check_size(path.stat().st_size)
    return path.read_bytes()


def check_size(count: int) -> None:
    """Refuse content that has too many bytes.

    Raises:
        UndecodableError: there are more than `MAX_BYTES`.
    """
    if count > MAX_BYTES:
        raise UndecodableError(f"it has more than {MAX_BYTES // 2**20} MiB")


@contextmanager
def quiet() -> Iterator[None]:
    """Turn Pillow's warning about huge images into an error, and ignore those about metadata.

    Warning filters belong to the process: enter this once, outside the threads that decode.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def unpack(content: Content, enough: int) -> Image.Image:
    """Decode to an upright image, in the mode in which it is stored.

    Arguments:
        content: An encoded file or an array of pixels.
        enough: JPEG files may be decoded at a half, a quarter or an eighth of their size, while
            both sides keep this many pixels.

    Raises:
        UndecodableError: the content is empty, damaged, too large, or of an unknown format.
    """
    if isinstance(content, np.ndarray):
        mode = CHANNEL_MODES[content.shape[2]]
        return Image.fromarray(np.ascontiguousarray(content.squeeze(2) if mode == "L" else content))
    if not content:
        raise UndecodableError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=_formats())
        width, height = image.size
        if width * height <= MAX_PIXELS:
            image.draft(None, (enough, enough))
            image.load()
            _forget_long_exif(image)
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UndecodableError(f"it has more than {MAX_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise UndecodableError("its format is unknown") from None
    # On damaged files decoders raise almost anything, from SyntaxError to struct.error; none of it
    # may end a run.
    except Exception as error:
        raise UndecodableError(f"{type(error).__name__}: {error}") from None
    raise UndecodableError(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")


_MAX_EXIF = 2**16  # bytes, for more than which a JPEG has no room


def _forget_long_exif(image: Image.Image) -> None:
    """Drop EXIF data that Pillow would copy once per entry, which takes gigabytes."""
    for name, bytes_per_character in (("exif", 1), ("Raw profile type exif", 0.5)):
        if len(image.info.get(name, "")) * bytes_per_character > _MAX_EXIF:
            del image.info[name]


@cache
def _formats() -> tuple[str, ...]:
    """Names of the formats to try; none of them starts another program, as EPS does."""
    Image.init()
    wanted = "AVIF BMP GIF ICO JPEG JPEG2000 MPO PNG PPM TGA TIFF WEBP"
    return tuple(name for name in wanted.split() if name in Image.OPEN)


@dataclass(frozen=True)
class Square:
    """The shape that every image is brought to.

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
        UndecodableError: the content cannot be decoded.

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
    raise UndecodableError(f"its colour mode {mode} is not supported")


def _from_long_integers(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    # Pillow's own conversion to 8 bits clips: every value above 255 would become white.
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UndecodableError(
            f"its integers go from {values.min()} to {values.max()}, not 0 to 65535"
        )
    return ((values + 128) // 257).astype(np.uint8)


def _from_floats(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):
        raise UndecodableError(f"its values go from {low} to {high}, not 0 to 1 or 0 to 255")
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
