"""Uploaded images, decoded within bounds of time and memory."""

import io
from collections.abc import Callable

from PIL import Image

from latent_atlas.data.decode import Square, open_image, quiet
from latent_atlas.errors import UserError
from latent_atlas.explorer.server.limits import Limits
from latent_atlas.explorer.server.worker import Gone
from latent_atlas.shapes import Images

__all__ = ["FORMATS", "decode_upload"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""The formats that are taken; a kilobyte of JPEG 2000 can keep a decoder busy for many seconds."""

READ = 4  # times its own length that a file may be read before it is decoded


def decode_upload(
    content: bytes, square: Square, limits: Limits, check: Callable[[], None]
) -> Images:
    """Decode an uploaded file, once its head has told that this is cheap.

    Arguments:
        content: The file.
        square: What the image becomes.
        limits: Bounds of its pixels.
        check: Called at every access to the file; raises where decoding is to stop.

    Returns:
        Shape (1, channels, size, size), in [0, 1].

    Raises:
        UserError: it is no image, of another format, too large, or damaged.
    """
    _check_head(content, limits, check)
    return open_image(content, square)


def _check_head(content: bytes, limits: Limits, check: Callable[[], None]) -> None:
    """Refuse an image that is large, or of another format, before it is decoded."""
    try:
        if content[4:8] == b"ftyp":  # AVIF or HEIC, whatever its first bytes are
            raise Image.UnidentifiedImageError
        with quiet():
            image = Image.open(_Watched(content, check), formats=FORMATS)
    except (UserError, Gone):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(
            f"the image has more than {limits.pixels:,} pixels; give a smaller one"
        ) from None
    except Exception:  # on damaged files Pillow raises almost anything
        raise UserError(
            "this is not an image that can be used; give a file of one of the formats "
            f"{', '.join(FORMATS)}"
        ) from None
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise UserError(
            f"the image has {width} x {height} pixels; give one of at most {limits.pixels:,}, and "
            f"{limits.side:,} along each side"
        )


class _Watched(io.BytesIO):
    """A file whose reading can be stopped, and is when tables in it refer to the same bytes again
    and again.
    """

    def __init__(self, content: bytes, check: Callable[[], None]) -> None:
        super().__init__(content)
        self._check = check
        self._left = READ * len(content) + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        part = super().read(size)
        self._left -= len(part)
        if self._left < 0:
            raise UserError("the image refers to the same bytes again and again; give another file")
        return part
