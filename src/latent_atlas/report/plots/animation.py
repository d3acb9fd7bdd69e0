"""Journeys in motion: frames to an animated GIF or an MP4 that plays in browsers."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from latent_atlas.display import grid, require_images, tile
from latent_atlas.errors import UserError
from latent_atlas.files import replacing
from latent_atlas.report.plots.style import blank, text_width, write

__all__ = ["Animation", "animation", "save_animation"]

TALL = 256  # pixels that a path is high at least, while all of them fit
LARGEST = 1920  # pixels along either side, which small images stay within
GAP = 12  # pixels between neighbours
CAPTION = 44  # pixels of height that a caption takes
CAPTION_SIZE = 9  # points
FASTEST_GIF = 50  # frames a second: browsers slow a GIF down whose frames last less than 2/100 s
ENCODER = "libx264"
QUALITY = "16"  # constant rate factor of H.264, at which no block shows in flat colours
BT709 = 1  # the HDTV colour space in H.264; without the tag, players guess


@dataclass(frozen=True)
class Animation:
    """Moving pixels.

    Attributes:
        pixels: Frame by frame; height and width are even, as H.264 with subsampled colour requires.
        fps: Frames a second.
    """

    pixels: UInt8[np.ndarray, "frames height width 3"]
    fps: int | float


def animation(
    films: Float[np.ndarray, "frames *n c h w"],
    captions: Sequence[str] = (),
    *,
    fps: int | float = 12,
    bounce: bool = False,
) -> Animation:
    """Animate paths, side by side where there are several.

    Images less than 256 pixels high are enlarged by a whole factor, pixel by pixel, as long as all
    fit into 1920.

    Arguments:
        films: In [0, 1], 1 to 4 channels, one path (frames, c, h, w) or several (frames, n, c, h,
            w).
        captions: What to write above each path; none, or as many as there are.
        fps: Frames a second, above 0.
        bounce: Go there and back, so that it repeats without a jump: 2 frames - 2 frames.

    Raises:
        UserError: there is no frame, the captions are too few or too many, or fps is not positive.
    """
    if films.ndim not in (4, 5) or 0 in films.shape:
        raise UserError(
            f"frames to animate have shape {films.shape}; give at least one, as (frames, c, h, w) "
            "or (frames, n, c, h, w)"
        )
    if not 0 < fps < np.inf:
        raise UserError(f"fps is {fps}; choose a positive number of frames a second")
    films = films if films.ndim == 5 else films[:, None]
    if len(captions) not in (0, films.shape[1]):
        raise UserError(
            f"there are {films.shape[1]} paths and {len(captions)} captions; give one for each, or "
            "none"
        )
    require_images(films[0])
    count, _, height, width = films.shape[1:]
    columns, factor = _layout(count, height, width, captions)
    headings = [_heading(text, factor * width) for text in captions]
    pixels = np.stack(
        [_even(grid(_cells(frame, factor, headings), columns, GAP)) for frame in films]
    )
    return Animation(np.concatenate([pixels, pixels[-2:0:-1]]) if bounce else pixels, fps)


def save_animation(moving: Animation, path: Path) -> Path:
    """Write a .gif, which repeats for ever, or an .mp4.

    Returns:
        The path, for a result line.

    Raises:
        UserError: the file's name ends otherwise, fps is more than a GIF can have, or PyAV is
            missing.
    """
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix.lower() not in writers:
        raise UserError(
            f"an animation cannot be written to '{path.name}'; choose a name that ends in .gif or "
            ".mp4"
        )
    writers[path.suffix.lower()](moving, path)
    return path


def _layout(count: int, height: int, width: int, captions: Sequence[str]) -> tuple[int, int]:
    """Paths in a row, and the factor by which to enlarge them: the most that fits, up to `TALL`."""
    least = max((text_width(text, CAPTION_SIZE) for text in captions), default=0)
    factor = -(-TALL // height)
    while True:
        columns = min(count, max(1, (LARGEST + GAP) // (max(least, factor * width) + GAP)))
        rows = -(-count // columns)
        fits = (
            rows * (factor * height + GAP + CAPTION * bool(captions)) <= LARGEST + GAP
            and factor * width <= LARGEST
        )
        if fits or factor == 1:
            return columns, factor
        factor -= 1


def _heading(text: str, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """A caption as pixels, at least as wide as its path."""
    figure = blank(max(width, text_width(text, CAPTION_SIZE) + 2), CAPTION)
    write(figure, figure.bbox.width / 2, CAPTION / 2, text, CAPTION_SIZE, ha="center", va="center")
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]  # pyright: ignore[reportAttributeAccessIssue]


def _cells(
    images: Float[np.ndarray, "n c h w"], factor: int, headings: Sequence[np.ndarray]
) -> UInt8[np.ndarray, "n height width 3"]:
    """One frame of every path below its caption, all of one size."""
    tiles = tile(images, factor * images.shape[-1])
    if not headings:
        return tiles
    count, height, width, _ = tiles.shape
    cells = np.full(
        (count, CAPTION + height, max(width, *(h.shape[1] for h in headings)), 3), 255, np.uint8
    )
    for cell, heading, picture in zip(cells, headings, tiles, strict=True):
        for top, part in ((0, heading), (CAPTION, picture)):
            left = (cell.shape[1] - part.shape[1]) // 2
            cell[top : top + part.shape[0], left : left + part.shape[1]] = part
    return cells


def _even(canvas: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """The canvas with its last row or column repeated where a side is odd."""
    return np.pad(canvas, [(0, side % 2) for side in canvas.shape[:2]] + [(0, 0)], mode="edge")


def _write_gif(moving: Animation, path: Path) -> None:
    """One palette for all frames, and no dithering: what stands still does not flicker."""
    if moving.fps > FASTEST_GIF:
        raise UserError(
            f"a GIF shows at most {FASTEST_GIF} frames a second, not {moving.fps:g}; lower fps or "
            "use .mp4"
        )
    frames, height, width, _ = moving.pixels.shape
    column = Image.fromarray(moving.pixels.reshape(frames * height, width, 3))
    if (moving.pixels == moving.pixels[..., :1]).all():
        column = column.convert("L")  # 256 greys need no choice of colours
    else:
        column = column.quantize(256, dither=Image.Dither.NONE)
    pictures = [
        column.crop((0, top, width, top + height)) for top in range(0, frames * height, height)
    ]
    duration = 10 * round(100 / moving.fps)  # a GIF counts in hundredths of a second
    with replacing(path) as partial:
        pictures[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=duration,
            loop=0,
        )


def _write_mp4(moving: Animation, path: Path) -> None:
    """H.264 with subsampled colour, which browsers play, and the index first for streaming."""
    av = _pyav()
    options = {"movflags": "+faststart"}
    with (
        replacing(path) as partial,
        av.open(partial, "w", format="mp4", options=options) as container,
    ):
        stream = container.add_stream(ENCODER, rate=Fraction(moving.fps).limit_denominator(1000))
        stream.height, stream.width = moving.pixels.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": QUALITY}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        for pixels in moving.pixels:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=BT709)))
        container.mux(stream.encode())


def _pyav() -> ModuleType:
    """PyAV, an extra that is slow to import.

    Raises:
        UserError: it is missing, or was built without the encoder.
    """
    try:
        import av
    except ImportError:
        raise UserError(
            "MP4 needs PyAV, which is missing; pip install latent-atlas[video], or write a .gif"
        ) from None
    if ENCODER not in av.codecs_available:
        raise UserError(
            f"MP4 needs the encoder {ENCODER}, which this PyAV was built without; pip install "
            "--force-reinstall --only-binary av av, or write a .gif"
        )
    return av
