"""From the bytes of a file to an upright image in memory, or a reason why not."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

__all__ = [
    "CHANNEL_MODES",
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Content",
    "UndecodableError",
    "check_size",
    "quiet",
    "read_file",
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

CHANNEL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's word for each number of channels."""


class UndecodableError(Exception):
    """One image cannot be had; the text is the reason, for the list of rejects."""


def read_file(path: Path) -> bytes:
    """Read a regular file of at most `MAX_BYTES`.

    Raises:
        UndecodableError: it is larger, or something else than a file.
        OSError: there is no such file, or it may not be read.
    """
    if path.exists() and not path.is_file():
        # Opening a named pipe would wait for ever.
        raise UndecodableError("it is not a regular file")
    check_size(path.stat().st_size)
    return path.read_bytes()


def check_size(count: int) -> None:
    """Refuse content of so many bytes.

    Raises:
        UndecodableError: it is more than `MAX_BYTES`.
    """
    if count > MAX_BYTES:
        raise UndecodableError(f"it has more than {MAX_BYTES // 2**20} MiB")


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
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UndecodableError(f"it has more than {MAX_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise UndecodableError("its format is not known") from None
    # Decoders raise almost anything on damaged files, from SyntaxError to struct.error, and none may end a run.
    except Exception as error:
        raise UndecodableError(f"{type(error).__name__}: {error}") from None
    raise UndecodableError(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")


@cache
def _formats() -> tuple[str, ...]:
    """The formats tried, of those that this Pillow reads: none that starts a program, as EPS does."""
    Image.init()
    wanted = "AVIF BMP GIF ICO JPEG JPEG2000 MPO PNG PPM TGA TIFF WEBP"
    return tuple(name for name in wanted.split() if name in Image.OPEN)
