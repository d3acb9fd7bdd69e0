"""From the content of one file, or one row of an array, to a square uint8 image.

One rule each, in this order:

| input | result |
|---|---|
| more than 50 million pixels, or 65,535 on a side | refused before decoding |
| JPEG 2000 of over 2,000 pixels per byte | refused before decoding: it takes seconds |
| animated or of several pages | the first frame; pages of TIFF files are counted |
| .npy, (h, w), (h, w, c) or (c, h, w) with c from 1 to 4 | its numbers |
| EXIF orientation | applied |
| 1 bit | 0 and 255 |
| 16 bits a channel in colour, or in grey with alpha | the upper 8, which is all that Pillow reads |
| booleans | 0 and 255 |
| deep integers, floats | by the scale of the whole collection: see `levels` |
| a NaN or an infinity | refused |
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

import importlib
import importlib.util
import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps, TiffImagePlugin
from torch import Tensor

from latent_atlas.data.levels import Levels, Scale, Tally, tally_of
from latent_atlas.errors import UserError
from latent_atlas.shapes import Images

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Content",
    "Square",
    "UndecodableError",
    "Whole",
    "check_size",
    "decode",
    "decode_whole",
    "open_image",
    "quiet",
    "read_file",
    "squared",
]

MAX_PIXELS = 50_000_000
"""Images with more pixels are refused: decoded, they would fill the memory."""

MAX_SIDE = 65_535
"""Images with a longer side are refused: decoders take time per row, however short."""

MAX_BYTES = 256 * 2**20
"""Larger files and archive members are refused without being read."""

_SUFFIXES = """.avif .bmp .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm
.ppm .tga .tif .tiff .webp"""

IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
"""Suffixes of image files. Such a file is a reject if it cannot be decoded; all other files are
ignored."""

Content = bytes | Shaped[np.ndarray, "height width bands"]
"""An encoded file, or numbers with 1 (grey), 2 (and alpha), 3 (RGB) or 4 (RGBA) channels."""

DRAFT = 512
"""JPEG files are decoded at a half, a quarter or an eighth while both sides keep as many pixels."""

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


@dataclass(frozen=True, eq=False)
class Whole:
    """One upright image at its full size, before it becomes a square.

    Attributes:
        pixels: In 0..255, with the fewest channels that hold the image: those of a colour file
            whose pixels are all grey are grey, and an alpha of 255 everywhere is left out. A large
            JPEG is decoded at a fraction of its size.
        size: Width and height of the whole image, upright.
        pages: Pages of the file, of which this is the first.
        shortened: Whether the file has 16 bits a channel, of which Pillow reads the upper 8.
        tally: Of the numbers that a scale brought to 0..255; None for an image of 8 bits.
    """

    pixels: UInt8[np.ndarray, "height width bands"]
    size: tuple[int, int]
    pages: int = 1
    shortened: bool = False
    tally: Tally | None = None


_ALONE = Levels()  # of images that belong to no collection


def decode_whole(
    content: Content, scale_of: Callable[[Tally], Scale | str] = _ALONE.scale, name: str = ""
) -> Whole:
    """Decode one image by the rules at the head of this module, up to its size.

    Arguments:
        content: An encoded file or an array of numbers.
        scale_of: The scale of floats and deep integers, or a sentence that refuses the image; by
            default, floats are taken by those of this image alone, and deep integers as 16-bit.
        name: Of the image, for messages about the range of a collection.

    Raises:
        UndecodableError: the content is empty, damaged, too large, of an unknown format, or its
            numbers fit no scale.
    """
    if isinstance(content, bytes):
        values, size, pages, shortened = _opened(content)
    else:
        values, size, pages, shortened = content, (content.shape[1], content.shape[0]), 1, False
    if values.dtype == np.bool_:
        values = values * np.uint8(255)
    if values.dtype == np.uint8:
        return Whole(_fewest_channels(values), size, pages, shortened)
    if values.dtype.kind not in "iuf":
        raise UndecodableError(
            f"its numbers are of type {values.dtype}; convert them to uint8 or floats"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UndecodableError("it has a NaN or an infinity")
    tally = tally_of(values, name)
    scale = scale_of(tally)
    if isinstance(scale, str):
        raise UndecodableError(scale)
    return Whole(_fewest_channels(scale.to_bytes(values)), size, pages, tally=tally)


def _opened(content: bytes) -> tuple[Shaped[np.ndarray, "h w c"], tuple[int, int], int, bool]:
    """The numbers of an upright image, its width and height, its number of pages, and whether the
    lower half of its bits was lost.
    """
    if not content:
        raise UndecodableError("the file is empty")
    try:
        if content.startswith(_NUMPY):
            array = _one_array(np.load(io.BytesIO(content), allow_pickle=False))
            return array, (array.shape[1], array.shape[0]), 1, False
        image = _open(content)
        width, height = image.size
        if width * height <= MAX_PIXELS and max(width, height) <= MAX_SIDE:
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            bits = _bits(image, content)
            image.draft(None, (DRAFT, DRAFT))
            image.load()
            _forget_long_exif(image)
            if image.format == "PNG" and _lacks_rows(image, content):
                raise UndecodableError("it has fewer rows than it says: it is cut or damaged")
            if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
                width, height = height, width
            ImageOps.exif_transpose(image, in_place=True)
            deep = image.mode.startswith("I") or image.mode == "F"
            values = np.asarray(image if deep else _plain(image))
            values = values if values.ndim == 3 else values[..., None]
            return values, (width, height), pages, bits > 8 and not deep
    except UndecodableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UndecodableError(f"it has more than {MAX_PIXELS:,} pixels") from None
    # On damaged files decoders raise almost anything, from SyntaxError to struct.error; none of it
    # may end a run.
    except Exception as error:
        raise UndecodableError(f"{type(error).__name__}: {_first_line(error)}") from None
    raise UndecodableError(
        f"it has {width} x {height} pixels, more than {MAX_PIXELS:,} or than {MAX_SIDE:,} on a side"
    )


def _open(content: bytes) -> Image.Image:
    """The image of a file, of which only the head has been read."""
    try:
        image = Image.open(io.BytesIO(content), formats=_formats())
    except Image.UnidentifiedImageError:
        raise UndecodableError(_unknown_format(content)) from None
    width, height = image.size
    if image.format == "JPEG2000" and width * height > _JPEG2000_PIXELS * len(content):
        raise UndecodableError(f"it has {width} x {height} pixels in {len(content):,} bytes")
    return image


_JPEG2000_PIXELS = 2_000  # per byte: more are a bomb that decodes for seconds
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, width and height are exchanged
_NUMPY = b"\x93NUMPY"


def _bits(image: Image.Image, content: bytes) -> int:
    """Bits of a channel of a PNG or TIFF; 8 for other formats."""
    if image.format == "PNG":
        return content[24]
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    return max(tags.get(_BITS_PER_SAMPLE, (8,)))


_BITS_PER_SAMPLE = 258  # the TIFF tag


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _one_array(array: np.ndarray) -> Shaped[np.ndarray, "h w c"]:
    """The numbers of a .npy file that holds one image."""
    if array.ndim == 2 and array.size:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[2] > 4 >= array.shape[0]:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or not array.size or array.shape[2] > 4:
        raise UndecodableError(
            f"its array has the shape {array.shape}, not (h, w), (h, w, c) or (c, h, w); give an "
            "array of many images as SOURCE itself"
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise UndecodableError(f"it has more than {MAX_PIXELS:,} pixels")
    return array


def _lacks_rows(image: Image.Image, content: bytes) -> bool:
    """Whether a PNG's compressed stream ends before its last row: Pillow leaves the rest black."""
    last = image.crop((0, image.height - 1, image.width, image.height))
    if last.getbbox(alpha_only=False) and not image.info.get("interlace"):
        return False
    depth, colour, interlaced = content[24], content[25], content[28]
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    grids = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    needed = 0
    for left, top, right, down in grids:
        columns, rows = -(-(image.width - left) // right), -(-(image.height - top) // down)
        needed += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    unpacked, place, stream = 0, 8, zlib.decompressobj()
    while place + 8 <= len(content) and unpacked < needed:
        length = int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 8] == b"IDAT":
            given = content[place + 8 : place + 8 + length]
            while given and unpacked < needed:
                unpacked += len(stream.decompress(given, 2**20))
                given = stream.unconsumed_tail
        place += length + 12
    return unpacked < needed


# Of the seven passes of an interlaced PNG: first column and row, and the steps to the next.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def _unknown_format(content: bytes) -> str:
    """Why no decoder took a file: HEIC and AVIF need a library."""
    brand = content[8:12] if content[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis"):
        return "it is an AVIF image that this Pillow cannot read; pip install -U 'pillow>=11.3'"
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        return (
            "it is a damaged HEIC photo"
            if _reads_heif()
            else "it is a HEIC photo, as phones make them; pip install 'latent-atlas[heif]' reads "
            "them"
        )
    return "its format is unknown"


def _reads_heif() -> bool:
    """Whether the extra `heif` is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def _fewest_channels(
    pixels: UInt8[np.ndarray, "h w c"],
) -> UInt8[np.ndarray, "h w k"]:
    """The same image without an alpha that is 255 everywhere, and in one channel if it is grey."""
    if pixels.shape[2] in (2, 4) and (pixels[..., -1] == 255).all():
        pixels = pixels[..., :-1]
    # A few pixels first: they tell most colour images without a look at all of them.
    if pixels.shape[2] >= 3 and _is_grey(pixels[::16, ::16]) and _is_grey(pixels):
        pixels = pixels[..., [0, 3]] if pixels.shape[2] == 4 else pixels[..., :1]
    return np.ascontiguousarray(pixels)


def _is_grey(pixels: UInt8[np.ndarray, "h w c"]) -> bool:
    return bool((pixels[..., 1:3] == pixels[..., :1]).all())


_MAX_EXIF = 2**16  # bytes, for more than which a JPEG has no room


def _forget_long_exif(image: Image.Image) -> None:
    """Drop EXIF data that Pillow would copy once per entry, which takes gigabytes."""
    for name, bytes_per_character in (("exif", 1), ("Raw profile type exif", 0.5)):
        if len(image.info.get(name) or "") * bytes_per_character > _MAX_EXIF:
            del image.info[name]


@cache
def _formats() -> tuple[str, ...]:
    """Names of the formats to try; none of them starts another program, as EPS does."""
    Image.init()
    if _reads_heif():
        importlib.import_module("pillow_heif").register_heif_opener()
    wanted = "AVIF BMP GIF HEIF ICO JPEG JPEG2000 MPO PNG PPM TGA TIFF WEBP"
    return tuple(name for name in wanted.split() if name in Image.OPEN)


@dataclass(frozen=True)
class Square:
    """The shape that every image is brought to.

    Arguments:
        size: Side in pixels.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        fit: What happens to images that are not square.
        levels: The scales of floats and deep integers, where they are known.
    """

    size: int
    channels: int
    fit: Literal["crop", "pad"] = "crop"
    levels: Levels = field(default_factory=Levels)


def decode(content: Content, square: Square) -> UInt8[Tensor, "c h w"]:
    """Decode one image and make it square, by the rules at the head of this module.

    Arguments:
        content: An encoded file or an array of numbers.
        square: What the image becomes.

    Returns:
        Of shape (channels, size, size), in 0..255.

    Raises:
        UndecodableError: the content cannot be decoded.

    Examples:
        >>> decode(np.full((2, 2, 1), 7, np.uint8), Square(1, 3)).flatten().tolist()
        [7, 7, 7]
    """
    return squared(decode_whole(content, square.levels.scale).pixels, square)


def squared(
    pixels: UInt8[np.ndarray, "height width bands"], square: Square
) -> UInt8[Tensor, "c h w"]:
    """Bring an image to the square's size and channels."""
    if pixels.shape != (square.size, square.size, square.channels):
        mode = CHANNEL_MODES[pixels.shape[2]]
        image = Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if mode == "L" else pixels))
        pixels = np.asarray(_fitted(_with_channels(image, square.channels), square))
    # A copy, which torch may write to.
    pixels = pixels.reshape(square.size, square.size, square.channels).transpose(2, 0, 1).copy()
    return torch.from_numpy(pixels)


def open_image(source: str | Path | bytes, square: Square) -> Images:
    """Read one image file.

    Arguments:
        source: The file, of any format that Pillow reads among `IMAGE_SUFFIXES`; or its content.
        square: What the image becomes.

    Returns:
        Of shape (1, channels, size, size), in [0, 1].

    Raises:
        UserError: there is no such file, or it cannot be decoded.
    """
    try:
        with quiet():
            content = source if isinstance(source, bytes) else read_file(Path(source).expanduser())
            image = decode(content, square)
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


def _plain(image: Image.Image) -> Image.Image:
    """Convert any mode of 8 bits to L, LA, RGB or RGBA, whichever holds the image."""
    mode = image.mode
    transparent = "transparency" in image.info
    if mode in ("1", "L", "LA", "La"):
        return image.convert("LA" if transparent or mode in ("LA", "La") else "L")
    if mode in ("RGBA", "RGBa", "PA"):
        return image.convert("RGBA")
    if mode in ("P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"):
        return image.convert("RGBA" if transparent and mode in ("P", "RGB") else "RGB")
    raise UndecodableError(f"its colour mode {mode} is not supported")


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
