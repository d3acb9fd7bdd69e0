"""Collections as people have them: scales, parts, folders, tables, copies, formats and damage."""

import io
import json
import runpy
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latent_atlas.config import DataConfig
from latent_atlas.data import ImageSet, decode, load_images, probe_source, read_images
from latent_atlas.data.decode import Square, UndecodableError, open_image
from latent_atlas.data.layout import understand
from latent_atlas.data.load import square_of, with_levels
from latent_atlas.data.tables import read_tables
from latent_atlas.errors import UserError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (60, 8, 8, 1), np.uint8)
EXPECTED = torch.from_numpy(BYTES).permute(0, 3, 1, 2)


def loaded(path: Path | str, channels: int = 1, **settings: Any) -> ImageSet:
    return load_images(DataConfig(source=str(path), **settings), 8, channels)


def saved(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


def encoded(pixels: np.ndarray, kind: str = "PNG", **settings: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **settings)
    return stream.getvalue()


def filled(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def picture(i: int) -> bytes:
    return encoded(BYTES[i % 60, ..., 0])


# One scale for a whole collection.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x / 255, "0 is read as black and 1 as white"),
        (lambda x: x / 255 * (1 + 1e-7), "0 is read as black and 1 as white"),
        (lambda x: x / 127.5 - 1, "-1 is read as black and 1 as white"),
        (lambda x: x + 0.0, "0 is read as black and 255 as white"),
    ],
)
def test_floats_have_the_scale_of_the_collection(tmp_path: Path, change: Any, said: str) -> None:
    found = loaded(saved(tmp_path, change(BYTES)))
    assert torch.equal(found.images, EXPECTED)
    assert said in " ".join(found.notes)


def test_one_value_beyond_the_scale_is_clamped_and_said(tmp_path: Path) -> None:
    floats = BYTES / 255
    floats[7, 3, 3] = 40.0
    found = loaded(saved(tmp_path, floats))
    expected = EXPECTED.clone()
    expected[7, 0, 3, 3] = 255
    assert torch.equal(found.images, expected)
    assert "1 of 3,840 values lie beyond and are clamped" in " ".join(found.notes)
    assert "to 40 (" in " ".join(found.notes)
    assert "row:7" in " ".join(found.notes)


def test_a_series_with_a_dark_frame_keeps_its_scale(tmp_path: Path) -> None:
    floats = BYTES.astype(np.float32)
    floats[5] = RNG.random((8, 8, 1)) > 0.5  # all of it within [0, 1]
    folder = filled(
        tmp_path / "tiffs",
        {f"{i:02}.tif": encoded(row[..., 0], "TIFF") for i, row in enumerate(floats)},
    )
    for found in (loaded(saved(tmp_path, floats)), loaded(folder)):
        assert int(found.images[5].max()) == 1
        assert torch.equal(found.images[6:], EXPECTED[6:])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x / 10,  # to 25.5: neither shares nor bytes
        lambda x: (x / 255) ** 8 * 300,  # most values below 1, lights far above
        lambda x: (x - 127.0) / 60,  # standardised
        lambda x: x / 255 * 1.1 - 0.05,  # ringing beyond both ends
        lambda x: x.astype(np.int32) - 1000,
        lambda x: x.astype(np.int32) * 1000,
    ],
)
def test_other_ranges_are_refused_with_what_was_seen(tmp_path: Path, change: Any) -> None:
    array = change(BYTES)
    with pytest.raises(UserError, match="uint8") as caught:
        loaded(saved(tmp_path, array))
    assert f"{array.max():.7g}"[:5] in str(caught.value)


def test_a_range_of_its_own_can_be_given(tmp_path: Path) -> None:
    floats = saved(tmp_path, 3 * BYTES.astype(np.float32) / 255 - 1.5)
    assert probe_source(str(floats)) == (8, 1)  # before the range is known
    found = load_images(DataConfig(source=str(floats), float_range=(-1.5, 1.5)), 8, 1)
    pixels = found.images.flatten(1).float().sort(dim=0).values  # held-out images come last
    assert (pixels - torch.tensor(BYTES).flatten(1).float().sort(dim=0).values).abs().max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_depth_is_that_of_the_brightest_image(tmp_path: Path, bits: int) -> None:
    white = 2**bits - 1
    deep = np.rint(BYTES / 255 * white).astype(np.uint16)
    deep[0] = deep[0] // 8  # a dark image stays dark
    files = {f"{i:02}.png": encoded(row[..., 0]) for i, row in enumerate(deep)}
    for found in (loaded(saved(tmp_path, deep)), loaded(filled(tmp_path / "set", files))):
        assert int(found.images[0].max()) <= 32
        assert (found.images[1:].int() - EXPECTED[1:].int()).abs().max() <= 1
        assert f"{white} as white" in " ".join(found.notes)


def test_nearly_black_collections_are_remarked_on(tmp_path: Path) -> None:
    assert "16 of 255" in " ".join(loaded(saved(tmp_path, BYTES // 16 + 1)).notes)
    assert "of 255" not in " ".join(loaded(saved(tmp_path, BYTES)).notes)


def test_images_to_look_at_have_the_scale_of_their_place(tmp_path: Path) -> None:
    deep = np.rint(BYTES / 255 * 4095).astype(np.uint16)
    found = read_images([str(saved(tmp_path, deep))], Square(8, 1))
    assert (found.images.int() - EXPECTED.int()).abs().max() <= 1
    assert "4095 as white" in found.notes[0]


def test_later_images_are_read_by_the_scale_of_the_run(tmp_path: Path) -> None:
    """Alone, an image of 12 bits would be taken for one of 16, and a dark float of 0 to 255 for one of 0 to 1."""
    for name, array in (
        ("deep", np.rint(BYTES / 255 * 4095).astype(np.uint16)),
        ("floats", BYTES.astype(np.float32)),
    ):
        found = loaded(saved(tmp_path, array))
        square = square_of(with_levels(DataConfig(), found.levels), 8, 1)
        dark = array[1] * array.dtype.type(0) + array.dtype.type(array.max() // 255)
        np.save(tmp_path / f"{name}.npy", dark)
        assert (
            open_image((tmp_path / f"{name}.npy").read_bytes(), square) * 255
        ).round().unique() == 1
        np.save(tmp_path / "brighter.npy", dark * array.dtype.type(15) + array.max())
        with pytest.raises(UserError, match="by which the other images are read"):
            open_image((tmp_path / "brighter.npy").read_bytes(), square)


def test_images_of_several_folders_are_named_with_their_folders(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        Image.fromarray(BYTES[0, ..., 0]).save(folder / "0.png")
    found = read_images([*map(str, folders)], Square(8, 1))
    assert [*found.names] == [f"{folder}/0.png" for folder in folders]
    assert [*read_images([str(folders[0])], Square(8, 1)).names] == ["0.png"]


def test_a_known_scale_is_kept_for_other_sets(tmp_path: Path) -> None:
    bright = np.rint(BYTES / 255 * 4095).astype(np.uint16)
    known = square_of(DataConfig(integer_white=4095), 8, 1)
    found = read_images([str(saved(tmp_path, bright // 16))], known)
    assert (found.images.int() - (EXPECTED // 16).int()).abs().max() <= 1


# Arrays.

LABELS = np.arange(60) % 3


@pytest.mark.parametrize(
    "keys",
    [
        ("x_test", "y_test", "x_train", "y_train"),
        ("test_images", "test_labels", "train_images", "train_labels"),
        ("X_valid", "Y_valid", "X_train", "Y_train"),
        ("images_val", "targets_val", "images_train", "targets_train"),
    ],
)
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_npz_parts(tmp_path: Path, keys: tuple[str, ...], shape: tuple[int, ...]) -> None:
    test, test_labels, train, train_labels = keys
    arrays = {
        test: BYTES[50:],
        test_labels: LABELS[50:].reshape(shape),
        train: BYTES[:50],
        train_labels: LABELS[:50].reshape(shape),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = loaded(tmp_path / "a.npz")
    assert torch.equal(found.images, EXPECTED)
    assert found.held_out.tolist() == [False] * 50 + [True] * 10
    assert found.labels is not None
    assert found.labels.tolist() == LABELS.tolist()
    assert found.names[:2] == ("row:0", "row:1")
    assert found.names[50] == "test:0"
    assert train in found.notes[0]
    assert test_labels in found.notes[0]


def test_npz_with_three_parts_and_one_hot_labels(tmp_path: Path) -> None:
    parts = {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, 60)}
    arrays = {f"{part}_images": BYTES[rows] for part, rows in parts.items()}
    arrays |= {f"{part}_labels": np.eye(3)[LABELS[rows]] for part, rows in parts.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    found = loaded(tmp_path / "a.npz")
    assert int(found.held_out.sum()) == 20
    assert found.labels is not None
    assert found.labels[:40].tolist() == LABELS[:40].tolist()


def test_unclear_npz_lists_what_is_inside_and_takes_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=BYTES, right=255 - BYTES, ids=np.arange(60))
    with pytest.raises(UserError, match=r"left \(60, 8, 8, 1\), right .*ids \(60,\).*a\.npz:NAME"):
        loaded(tmp_path / "a.npz")
    found = loaded(f"{tmp_path / 'a.npz'}:right")
    assert torch.equal(found.images, 255 - EXPECTED)
    with pytest.raises(UserError, match=r"no array 'middle'; it holds left"):
        loaded(f"{tmp_path / 'a.npz'}:middle")


def test_a_single_image_is_not_a_stack(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="looks like one image"):
        loaded(saved(tmp_path, np.zeros((64, 64, 3), np.uint8)), 3)


# Folders.


def layout(*names: str) -> list[tuple[str, bool | None]]:
    found = understand(names)
    return list(zip(found.classes, found.held_out or [None] * len(names), strict=True))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train/cat/1", "train/dog/2", "test/cat/3"), [("cat", 0), ("dog", 0), ("cat", 1)]),
        (("x/Train/a/1", "x/Val/b/2", "x/TEST/a/3"), [("a", 0), ("b", 1), ("a", 1)]),
        (
            ("p/training_set/training_set/a/1", "p/test_set/test_set/a/2", "p/test_set/b/3"),
            [("a", 0), ("a", 1), ("b", 1)],
        ),
        (("a/train/1", "a/test/2", "b/train/3"), [("a", 0), ("a", 1), ("b", 0)]),
        (("train/1", "test/2"), [("", 0), ("", 1)]),
        (
            ("flowers/rose/1", "flowers/rose/3", "flowers/tulip/2"),
            [("rose",), ("rose",), ("tulip",)],
        ),
        (("images/1", "images/2"), [("",), ("",)]),
        (("a/images/1", "b/images/2", "b/images/3"), [("a",), ("b",), ("b",)]),
        (("2019/cat/1", "2020/cat/2", "2020/dog/3"), [("cat",), ("cat",), ("dog",)]),
        (("cat/1", "cat/more/2", "dog/3"), [("cat",), ("cat",), ("dog",)]),
        (("val/a/1", "test/b/2", "test/b/3"), [("a",), ("b",), ("b",)]),
        (("test/1", "control/2", "control/3"), [("test",), ("control",), ("control",)]),
        (("p1/photo", "p2/photo"), [("",), ("",)]),
    ],
)
def test_what_folders_mean(names: tuple[str, ...], expected: list[tuple[Any, ...]]) -> None:
    assert layout(*names) == [(one[0], bool(one[1]) if len(one) == 2 else None) for one in expected]


def test_images_outside_of_the_parts_are_said() -> None:
    found = understand(("train/1.png", "test/2.png", "extra/3.png"))
    assert found.held_out == (False, True, False)
    assert found.notes == (
        "the folders train, test are the parts; held out: test",
        "1 image lies in no part and is trained on",
    )


def test_parts_without_one_to_train_on_are_said() -> None:
    found = understand(("val/a/1.png", "test/b/2.png", "test/b/3.png"))
    assert found.held_out is None
    assert "none to train on" in found.notes[0]


def test_a_zip_made_elsewhere(tmp_path: Path) -> None:
    """One wrapping folder, backslashes, and what macOS, Windows and NAS boxes leave behind."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(60):
            part, kind = ("test" if i < 12 else "train"), ("cat", "dog")[i % 2]
            info = zipfile.ZipInfo()
            info.filename = f"My Pets\\{part}\\{kind}\\{i:02}.png"
            archive.writestr(info, picture(i))
            archive.writestr(f"__MACOSX/My Pets/{part}/{kind}/._{i:02}.png", b"junk")
            archive.writestr(f"My Pets/{part}/{kind}/thumbs/{i:02}.png", picture(0))
        for junk in ("My Pets/.DS_Store", "My Pets/Thumbs.db", "My Pets/@eaDir/1.png"):
            archive.writestr(junk, b"junk")
    found = loaded(tmp_path / "a.zip")
    assert len(found) == 60
    assert found.label_names == ("cat", "dog")
    assert int(found.held_out.sum()) == 12
    assert found.rejects == ()
    assert "60 images in folders of thumbnails left out" in found.notes
    assert found.summary["classes"] == {"cat": 30, "dog": 30}
    assert (found.summary["train"], found.summary["held_out"]) == (48, 12)


# Copies.


def test_the_same_picture_in_other_bytes_is_on_the_same_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "holiday"
    files: dict[str, bytes] = {}
    for i in range(60):
        pixels = RNG.integers(0, 256, (8, 9, 3), np.uint8)
        turned = Image.Exif()
        turned[0x0112] = 3  # stored upside down
        files |= {
            f"{i:02}a.png": encoded(pixels),
            f"{i:02}b.png": encoded(pixels, compress_level=0, exif=exif),
            f"{i:02}c.bmp": encoded(pixels, "BMP"),
            f"{i:02}d.webp": encoded(pixels, "WEBP", lossless=True),
            f"{i:02}e.tif": encoded(pixels, "TIFF", compression="tiff_lzw"),
            f"{i:02}f.png": encoded(pixels[::-1, ::-1], exif=turned),
            f"{i:02}g.png": encoded(np.dstack([pixels, np.full((8, 9), 255, np.uint8)])),
        }
    found = loaded(filled(tmp_path, files), 3, held_out=0.5)
    sides = found.held_out.reshape(60, 7)
    assert (sides == sides[:, :1]).all()
    assert 10 < sides[:, 0].sum() < 50
    assert found.summary["distinct"] == 60
    assert "420 images are 60 distinct pictures and copies of them" in found.notes


def test_copies_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"distinct images to train on \(300 usable, 5 distinct"):
        loaded(saved(tmp_path, np.tile(BYTES[:5], (60, 1, 1, 1))))


def test_copies_across_the_parts_of_a_source_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=BYTES, x_test=BYTES[:7])
    assert any(
        "7 pictures are in a held-out part" in note for note in loaded(tmp_path / "a.npz").notes
    )


# Size and channels.


def test_probe_looks_all_over_the_source(tmp_path: Path) -> None:
    grey = {f"a/{i:03}.png": encoded(np.full((16, 16), i, np.uint8)) for i in range(150)}
    colour = {
        f"b/{i:03}.png": encoded(RNG.integers(0, 256, (40, 40, 3), np.uint8)) for i in range(170)
    }
    assert probe_source(str(filled(tmp_path, grey | colour))) == (40, 3)
    found = load_images(DataConfig(source=str(tmp_path)), 32, 1)
    assert "170 of 320 images have colours and become grey; --channels 3 keeps them" in found.notes
    assert "150 of 320 images have a side below 32 pixels and are enlarged" in found.notes
    assert (found.summary["smallest"], found.summary["largest"]) == ([16, 16], [40, 40])


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    large = encoded(np.zeros((1200, 2400, 3), np.uint8), "JPEG", exif=turned)
    files = {f"{i}.png": picture(i) for i in range(40)} | {"large.jpg": large}
    assert loaded(filled(tmp_path, files)).summary["largest"] == [1200, 2400]


# Formats.


def test_heic_photos(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    pixels = np.full((16, 16, 3), (200, 40, 40), np.uint8)
    content = encoded(pixels, "HEIF", quality=90)
    image = decode.decode(content, Square(8, 3))
    assert (image[:, 4, 4].int() - torch.tensor([200, 40, 40])).abs().max() < 8


def test_heic_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_formats", lambda: ("PNG", "JPEG"))
    monkeypatch.setattr(decode, "_reads_heif", lambda: False)
    box = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic"
    with pytest.raises(UndecodableError, match=r"HEIC.*pip install 'latent-atlas\[heif\]'"):
        decode.decode(box, Square(8, 3))
    with pytest.raises(UndecodableError, match="AVIF"):
        decode.decode(box.replace(b"heic", b"avif"), Square(8, 3))


def test_pages_are_counted_and_said(tmp_path: Path) -> None:
    pages = [Image.fromarray(row[..., 0]) for row in BYTES[:4]]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    files = {f"{i:02}.png": picture(i) for i in range(1, 40)} | {"00.tif": stream.getvalue()}
    found = loaded(filled(tmp_path, files))
    assert torch.equal(found.images[0], EXPECTED[0])
    (note,) = [note for note in found.notes if "pages" in note]
    assert note.startswith("1 of 40 images")
    assert "3 pages are left out" in note


def test_arrays_in_folders_of_classes(tmp_path: Path) -> None:
    for i in range(60):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        np.save(tmp_path / "ab"[i % 2] / f"{i:02}.npy", BYTES[i] / 127.5 - 1)
    found = loaded(tmp_path)
    assert found.label_names == ("a", "b")
    assert torch.equal(found.images, torch.cat([EXPECTED[::2], EXPECTED[1::2]]))
    (tmp_path / "a" / "photo.png").write_bytes(picture(0))
    with pytest.raises(UserError, match=r"leaves [01] distinct"):
        loaded(tmp_path)


# Tables.

NAMES = ("a/1.png", "a/2.png", "b/3.png", "b/4.png")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("labels.csv", "filename,label\na/1.png,x\na/2.png,y\nb/3.png,x\n"),
        ("labels.csv", "\ufeffimage;class\r\n1.png;x\r\n2.png;y\r\n3.png;x\r\n"),
        ("metadata.tsv", "id\tspecies\n1\tx\n2\ty\n3\tx\n"),
        ("metadata.csv", "file_name,target\na\\1.png,x\na\\2.png,y\nb\\3.png,x\nno.png,z\n"),
        (
            "metadata.jsonl",
            '{"file_name": "a/1.png", "label": "x"}\n{"file_name": "a/2.png", "label": "y"}\n\n'
            '{"file_name": "b/3.png", "label": "x"}\n',
        ),
    ],
)
def test_tables_of_labels(place: str, text: str) -> None:
    table = read_tables({place: text.encode()}, NAMES)
    assert table.classes == ("x", "y", "x", "")
    assert "3 images" in table.notes[0]


def test_a_table_in_each_part(tmp_path: Path) -> None:
    tables = {
        f"{part}/metadata.csv": b"file_name,label\n1.png,%s\n" % word
        for part, word in (("train", b"x"), ("test", b"y"))
    }
    assert read_tables(tables, ("test/1.png", "train/1.png")).classes == ("y", "x")


def test_further_columns_are_attributes_or_said() -> None:
    text = "file,label,age,sex,note\n" + "".join(
        f"{i}.png,{'xy'[i % 2]},{20 + i},{'fm'[i % 2]},word {i}\n" for i in range(10)
    )
    table = read_tables({"labels.csv": text.encode()}, [f"{i}.png" for i in range(10)])
    assert table.attributes["age"].tolist() == [20.0 + i for i in range(10)]
    assert table.attribute_names == {"sex": ("f", "m")}
    assert "columns not used: note" in table.notes


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"", b"a,b\n1,2\n", b'{"file": 1', b"[" * 100_000, b'"x', b"\0,\0"]
)
@pytest.mark.parametrize("place", ["labels.csv", "metadata.jsonl"])
def test_tables_that_cannot_be_used_are_said(place: str, content: bytes) -> None:
    table = read_tables({place: content}, NAMES)
    assert not table.classes
    assert "not used" in table.notes[0]


def test_a_table_beside_the_images(tmp_path: Path) -> None:
    rows = "".join(
        f"{i:02}.png,{'xyz'[i % 3]},{'test' if i > 50 else 'train'}\n" for i in range(60)
    )
    files = {f"images/{i:02}.png": picture(i) for i in range(60)}
    found = loaded(filled(tmp_path, files | {"labels.csv": b"image,label,split\n" + rows.encode()}))
    assert found.label_names == ("x", "y", "z")
    assert int(found.held_out.sum()) == 9
    assert found.labels is not None
    assert found.labels[:4].tolist() == [0, 1, 2, 0]


# Damage.


def test_a_flipped_byte_in_any_archive_ends_in_one_sentence_or_a_reject(tmp_path: Path) -> None:
    sentences: list[str] = []
    for mode in ("xz", "gz", "bz2"):
        path = tmp_path / f"a.tar.{mode}"
        with tarfile.open(path, f"w:{mode}") as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
            for i in range(40):
                member = tarfile.TarInfo(f"{i}.png")
                member.size = len(picture(i))
                archive.addfile(member, io.BytesIO(picture(i)))
        whole = path.read_bytes()
        for place in [*range(0, 32, 3), *np.linspace(32, len(whole) - 1, 20).astype(int)]:
            content = bytearray(whole)
            content[place] ^= 0x55
            path.write_bytes(content)
            try:
                found = loaded(path, max_rejects=1.0)
                assert len(found) + len(found.rejects) <= 40
            except UserError as error:
                sentences.append(str(error))
    assert len(sentences) > 10
    assert not any("\n" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 8, 8)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8, 8)}",
        b"{'descr': 'junk', 'fortran_order': False, 'shape': (3, 8, 8)}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (3, 8, 8)}",
        b"((((((((((",
        b"\xff\xfe",
        b"{}",
    ],
)
def test_junk_headers_of_arrays(tmp_path: Path, header: bytes) -> None:
    junk = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(300)
    (tmp_path / "a.npy").write_bytes(junk)
    with pytest.raises(UserError, match="cannot read"):
        loaded(tmp_path / "a.npy")
    with pytest.raises(UndecodableError):
        decode.decode(junk, Square(8, 1))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("images.npy", junk)
    with pytest.raises(UserError):
        loaded(tmp_path / "b.npz")


def test_junk_members_of_an_npz_do_not_matter(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("notes.txt", b"words")
        archive.writestr("junk.npy", b"\x93NUMPY junk")
    assert torch.equal(loaded(tmp_path / "a.npz").images, EXPECTED)


def png(width: int, height: int, raw: bytes, interlaced: int = 0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_png_with_too_few_rows_is_no_image() -> None:
    rows = [b"\0" + bytes(range(60)) for _ in range(20)]
    assert decode.decode(png(20, 20, b"".join(rows)), Square(20, 3)).any()
    for given in (0, 3, 19):
        with pytest.raises(UndecodableError):
            decode.decode(png(20, 20, b"".join(rows[:given])), Square(20, 3))
    black = b"".join(b"\0" + bytes(60) for _ in range(20))
    assert not decode.decode(png(20, 20, black), Square(20, 3)).any()


def test_interlaced_pngs_are_whole_or_no_image() -> None:
    columns = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    passes = b"".join(
        (b"\0" + bytes(3 * len(range(left, 13, right)))) * len(range(top, 11, down))
        for left, top, right, down in columns
    )
    assert decode.decode(png(13, 11, passes, 1), Square(8, 3)).shape == (3, 8, 8)
    with pytest.raises(UndecodableError):
        decode.decode(png(13, 11, passes[:-45], 1), Square(8, 3))


def deep_colours(value: int) -> bytes:
    """A PNG of 4 x 4 pixels of 16 bits a channel in colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = (b"\0" + struct.pack(">12H", *[value] * 12)) * 4
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_lost_bits_of_deep_colours_are_told(tmp_path: Path) -> None:
    for n in range(40):
        (tmp_path / f"{n}.png").write_bytes(deep_colours(1000 * n + n))
    notes = loaded(tmp_path).notes
    assert any("40 of 40 images have 16 bits a channel in colour" in note for note in notes)
    assert not decode.decode_whole(
        encoded(np.zeros((4, 4), np.uint16), "PNG")
    ).shortened  # grey keeps all


def test_bombs_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(UndecodableError, match="65,535 on a side"):
        decode.decode(png(1, 40_000_000, b""), Square(8, 3))
    content = bytearray(encoded(np.zeros((64, 64, 3), np.uint8), "JPEG2000"))
    place = content.index(b"ihdr") + 4
    content[place : place + 8] = struct.pack(">II", 6000, 6000)
    codestream = content.index(b"\xff\x51") + 6
    content[codestream : codestream + 8] = struct.pack(">II", 6000, 6000)
    with pytest.raises(UndecodableError, match="6000 x 6000 pixels in"):
        decode.decode(bytes(content), Square(8, 3))


def test_mutated_files_never_crash() -> None:
    """The small version of benchmarks/reliability/mutated_images.py."""
    path = Path(__file__).parents[1] / "benchmarks" / "reliability" / "mutated_images.py"
    mutated = runpy.run_path(str(path))
    found = mutated["nothing"]()
    mutated["run"](0, 300, 1, mutated["samples"](), found)
    assert found["crashes"] == []
    assert sum(found["outcomes"].values()) == found["cases"] == 300
    assert min(found["outcomes"][word] for word in ("read", "rejected", "refused")) > 20


def test_summaries_are_json(tmp_path: Path) -> None:
    assert json.loads(json.dumps(loaded(saved(tmp_path, BYTES)).summary))["images"] == 60
