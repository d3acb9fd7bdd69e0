"""Each rule of `decode` against pixels that are known, and each damaged file against its reason."""

import io
import os
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latent_atlas.data import open_image
from latent_atlas.data.decode import MAX_PIXELS, Square, UndecodableError, decode, quiet
from latent_atlas.errors import UserError


def encoded(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def pixel(content: bytes, channels: int, size: int = 1) -> list[int]:
    return decode(content, Square(size, channels))[:, 0, 0].tolist()


def halves(width: int, height: int) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


LUMA_OF_RED = round(0.299 * 255)

COLOURS = [
    ("1", 1, 1, [255]),
    ("L", 90, 1, [90]),
    ("L", 90, 2, [90, 255]),
    ("L", 90, 3, [90, 90, 90]),
    ("L", 90, 4, [90, 90, 90, 255]),
    ("RGB", (255, 0, 0), 1, [LUMA_OF_RED]),
    ("RGB", (255, 0, 0), 2, [LUMA_OF_RED, 255]),
    ("RGB", (10, 20, 30), 3, [10, 20, 30]),
    ("RGB", (10, 20, 30), 4, [10, 20, 30, 255]),
    ("RGBA", (10, 20, 30, 0), 3, [255, 255, 255]),
    ("RGBA", (0, 0, 0, 51), 3, [204, 204, 204]),
    ("RGBA", (0, 0, 0, 51), 1, [204]),
    ("RGBA", (10, 20, 30, 40), 4, [10, 20, 30, 40]),
    ("RGBA", (255, 0, 0, 40), 2, [LUMA_OF_RED, 40]),
    ("LA", (0, 51), 1, [204]),
    ("LA", (70, 80), 2, [70, 80]),
    ("LA", (70, 80), 4, [70, 70, 70, 80]),
]


@pytest.mark.parametrize(("mode", "colour", "channels", "expected"), COLOURS)
def test_modes_become_channels(mode: str, colour: Any, channels: int, expected: list[int]) -> None:
    assert pixel(encoded(Image.new(mode, (3, 3), colour)), channels, size=3) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (257, 1), (300, 1), (25700, 100), (65535, 255)]
)
def test_sixteen_bit_grey_is_scaled_not_clipped(value: int, expected: int) -> None:
    deep = Image.fromarray(np.full((4, 4), value, np.uint16))
    assert pixel(encoded(deep), 1) == [expected]
    assert pixel(encoded(deep, "TIFF"), 3) == [expected] * 3


def test_long_integers_are_read_as_sixteen_bit() -> None:
    assert pixel(encoded(Image.fromarray(np.full((4, 4), 25700, np.int32)), "TIFF"), 1) == [100]
    with pytest.raises(UndecodableError, match="70000"):
        pixel(encoded(Image.fromarray(np.full((4, 4), 70000, np.int32)), "TIFF"), 1)


@pytest.mark.parametrize(("value", "expected"), [(0.2, 51), (1.0, 255), (100.4, 100)])
def test_floats_in_either_range(value: float, expected: int) -> None:
    assert pixel(encoded(Image.fromarray(np.full((4, 4), value, np.float32)), "TIFF"), 1) == [
        expected
    ]


@pytest.mark.parametrize(
    ("value", "reason"), [(-0.5, "floats go from -0.5"), (256.0, "to 256"), (np.nan, "a NaN")]
)
def test_floats_out_of_range_are_refused(value: float, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason):
        pixel(encoded(Image.fromarray(np.full((4, 4), value, np.float32)), "TIFF"), 1)


def palette_image() -> Image.Image:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    return image


def test_palette() -> None:
    assert pixel(encoded(palette_image()), 3) == [10, 20, 30]
    clear = encoded(palette_image(), transparency=1)
    assert pixel(clear, 3) == [255, 255, 255]
    assert pixel(clear, 4, size=4) == [10, 20, 30, 0]
    half = encoded(palette_image(), transparency=b"\xff\x33")
    assert pixel(half, 4, size=4) == [10, 20, 30, 51]


def test_a_transparent_colour_becomes_alpha() -> None:
    assert pixel(encoded(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3)), 4)[3] == 0
    assert pixel(encoded(Image.new("L", (4, 4), 7), transparency=7), 1) == [255]


def test_cmyk() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert pixel(encoded(cyan, "TIFF"), 3) == [0, 255, 255]
    red, green, blue = pixel(encoded(cyan, "JPEG", quality=100), 3)
    assert red < 5
    assert min(green, blue) > 250


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied_once(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn clockwise to look at it
    content = encoded(halves(16, 16), kind, exif=exif)
    image = decode(content, Square(16, 3)).float()
    assert image[0, :7].mean() > 240  # what was left is now on top
    assert image[2, 9:].mean() > 240
    assert image[2, :7].mean() < 15


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "TIFF"):
        assert pixel(encoded(frames[0], kind, save_all=True, append_images=frames[1:]), 3) == [
            255,
            0,
            0,
        ]


def test_crop_takes_the_centre() -> None:
    wide = np.zeros((4, 12, 1), np.uint8)
    wide[:, 4:8] = 200
    assert (decode(wide, Square(4, 1)) == 200).all()
    assert (decode(wide.transpose(1, 0, 2), Square(4, 1)) == 200).all()
    assert (decode(wide, Square(2, 1)) == 200).all()


@pytest.mark.parametrize(
    ("channels", "rest"), [(1, [0]), (2, [0, 0]), (3, [0, 0, 0]), (4, [0, 0, 0, 0])]
)
def test_pad_keeps_everything(channels: int, rest: list[int]) -> None:
    wide = np.full((4, 8, 1), 200, np.uint8)
    image = decode(wide, Square(8, channels, "pad"))
    assert (image[0, 2:6] == 200).all()
    for row in (0, 1, 6, 7):
        assert image[:, row, 3].tolist() == rest
    tall = decode(wide.transpose(1, 0, 2), Square(8, channels, "pad"))
    assert torch.equal(tall, image.transpose(1, 2))


def test_no_resampling_at_the_right_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    expected = torch.from_numpy(noise).permute(2, 0, 1)
    assert torch.equal(decode(noise, Square(9, 3)), expected)
    assert torch.equal(decode(encoded(Image.fromarray(noise)), Square(9, 3)), expected)
    assert torch.equal(decode(encoded(Image.fromarray(noise)), Square(9, 3, "pad")), expected)


def test_shrinking_averages() -> None:
    checks = np.indices((64, 64)).sum(0)[..., None] % 2 * 255
    image = decode(checks.astype(np.uint8), Square(16, 1)).float()
    assert (image[:, 2:-2, 2:-2] - 127.5).abs().max() < 3


def test_transparent_colours_do_not_bleed() -> None:
    image = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 16, 32))
    for channels in (3, 4):
        small = decode(encoded(image), Square(5, channels))
        opaque = small[3] > 60 if channels == 4 else small[2] > 0
        assert (small[0, opaque] <= small[2, opaque]).all()
        assert small[0, :, 0].max() < 20


def test_enlarging_keeps_a_constant() -> None:
    assert (decode(np.full((2, 2, 3), 77, np.uint8), Square(32, 3)) == 77).all()


def test_a_large_jpeg_decoded_at_a_fraction_is_the_same_picture() -> None:
    ramp = np.tile(np.linspace(0, 255, 1024).astype(np.uint8), (1024, 1))
    fraction = decode(encoded(Image.fromarray(ramp), "JPEG", quality=95), Square(16, 1)).float()
    assert (
        fraction - decode(encoded(Image.fromarray(ramp)), Square(16, 1)).float()
    ).abs().max() < 3


def huge_png(side: int) -> bytes:
    """A PNG whose header promises side x side pixels, without delivering them."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


GOOD = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)))

DAMAGED = [
    (b"", "empty"),
    (b"these are words", "format is unknown"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "format is unknown"),
    (GOOD[:100], "truncated|Error"),
    (GOOD[: len(GOOD) // 2], "truncated|Error"),
    (encoded(Image.new("RGB", (40, 40), "red"), "JPEG")[:300], "truncated|Error"),
    (huge_png(8000), "64.* pixels|8000 x 8000"),
    (huge_png(11000), f"more than {MAX_PIXELS:,}"),
    (huge_png(60000), f"more than {MAX_PIXELS:,}"),
]


@pytest.mark.parametrize(("content", "reason"), DAMAGED)
def test_damaged_files_give_a_reason(content: bytes, reason: str) -> None:
    with quiet(), pytest.raises(UndecodableError, match=reason):
        decode(content, Square(8, 3))


def test_open_image(tmp_path: Any) -> None:
    Image.new("RGB", (6, 4), (255, 0, 51)).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png", Square(4, 3))
    assert image.shape == (1, 3, 4, 4)
    assert image.dtype == torch.float32
    assert image[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert open_image(str(tmp_path / "a.png"), Square(6, 3, "pad"))[0, :, 0, 0].tolist() == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("name", ["missing.png", "folder", "words.png", "empty.png", "pipe.png"])
def test_open_image_explains_in_one_sentence(tmp_path: Any, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "words.png").write_text("words")
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match=name) as caught:
        open_image(tmp_path / name, Square(4, 3))
    assert "\n" not in str(caught.value)
