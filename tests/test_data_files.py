"""Folders, zip and tar archives hold the same images under the same rules; bad ones are explained."""

import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latent_atlas.config import DataConfig
from latent_atlas.data import ImageSet, decode, load_images, probe_source, source
from latent_atlas.errors import UserError


def png(seed: int, side: int = 10) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def tree(n: int = 24) -> dict[str, bytes]:
    """Contents of a small labelled collection, with what is to be ignored."""
    found = {f"{('cats', 'dogs')[i % 2]}/deep/{i:03}.png": png(i) for i in range(n)}
    found["zebras/odd.PNG"] = png(n)
    found["stray.png"] = png(n + 1)
    ignored = [
        "notes.txt",
        "cats/labels.csv",
        ".DS_Store",
        ".hidden/a.png",
        "cats/.thumb.png",
        "__MACOSX/cats/._1.png",
    ]
    return found | dict.fromkeys(ignored, b"not an image")


def as_folder(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(content)
    return root / "images"


def as_zip(root: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(root / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in reversed(contents.items()):
            archive.writestr(name, content)
    return root / "images.zip"


def as_tar(mode: str) -> Callable[[Path, dict[str, bytes]], Path]:
    def pack(root: Path, contents: dict[str, bytes]) -> Path:
        path = root / f"images.tar.{mode}"
        with tarfile.open(path, f"w:{mode}") as archive:
            for name, content in reversed(contents.items()):
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return pack


PACKERS = {"folder": as_folder, "zip": as_zip} | {
    f"tar {mode}": as_tar(mode) for mode in ("", "gz", "bz2", "xz")
}


def loaded(path: Path, **settings: object) -> ImageSet:
    return load_images(DataConfig(source=str(path), **settings), 10, 3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS.keys())
def test_every_packing_gives_the_same_set(tmp_path: Path, packer: Callable[..., Path]) -> None:
    found = loaded(packer(tmp_path, tree()))
    assert found.names == tuple(
        sorted(name for name, content in tree().items() if content != b"not an image")
    )
    assert found.label_names == ("cats", "dogs", "zebras")
    assert found.labels is not None
    for i, name in enumerate(found.names):
        expected = np.asarray(Image.open(io.BytesIO(tree()[name]))).transpose(2, 0, 1)
        assert np.array_equal(found.images[i].numpy(), expected)
        label = int(found.labels[i])
        assert (
            label == -1 if name == "stray.png" else found.label_names[label] == name.split("/")[0]
        )
    assert found.rejects == ()


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    found = loaded(as_folder(tmp_path, {f"{i}.png": png(i) for i in range(30)}))
    assert found.labels is None
    assert found.label_names == ()


def test_loops_of_links_end(tmp_path: Path) -> None:
    root = as_folder(tmp_path, tree())
    (root / "cats" / "loop").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root / "self")
    assert len(loaded(root)) == 26


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    root = as_folder(tmp_path, tree())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(png(100))
    (root / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert {"linked/a.png", "link.png"} <= set(loaded(root).names)


def test_special_files_and_dead_links_are_rejects(tmp_path: Path) -> None:
    root = as_folder(tmp_path, tree(60))
    os.mkfifo(root / "pipe.png")
    (root / "dead.png").symlink_to(tmp_path / "nowhere.png")
    reasons = {reject.path: reject.reason for reject in loaded(root).rejects}
    assert "regular" in reasons.pop("pipe.png")
    assert "FileNotFoundError" in reasons.pop("dead.png")
    assert not reasons


def test_rejects_are_counted_written_and_survived(tmp_path: Path) -> None:
    bad = {"cats/empty.png": b"", "cats/words.jpg": b"words", "dogs/cut.png": png(7)[:60]}
    root = as_folder(tmp_path, tree(60) | bad)
    calls: list[tuple[int, int, int]] = []
    data = DataConfig(source=str(root), max_rejects=0.05)
    found = load_images(
        data,
        10,
        3,
        progress=lambda *numbers: calls.append(numbers),
        rejects_file=tmp_path / "run" / "rejects.jsonl",
    )
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "rejects.jsonl").read_text().splitlines()
    ]
    assert [line["path"] for line in lines] == sorted(bad)
    assert [(reject.path, reject.reason) for reject in found.rejects] == [
        (x["path"], x["reason"]) for x in lines
    ]
    assert "empty" in lines[0]["reason"]
    assert calls[-1] == (65, 65, 3)
    assert len(found) == 62
    assert not set(bad) & set(found.names)
    assert found.manifest()["rejects"] == 3


@pytest.mark.parametrize(
    ("allowed", "stops"), [(0.0, True), (0.24, True), (0.25, False), (1.0, False)]
)
def test_only_too_many_rejects_stop(tmp_path: Path, allowed: float, stops: bool) -> None:
    contents = {f"{i:02}.png": png(i) if i % 4 else b"words" for i in range(40)}
    root = as_folder(tmp_path, contents)
    if not stops:
        assert len(loaded(root, max_rejects=allowed)) == 30
        return
    with pytest.raises(UserError, match=r"10 of 40 .* 00\.png .*known.*--max-rejects") as caught:
        load_images(
            DataConfig(source=str(root), max_rejects=allowed),
            10,
            3,
            rejects_file=tmp_path / "r.jsonl",
        )
    assert f"fraction {allowed:g}" in str(caught.value)
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 10


def test_nothing_left_after_allowed_rejects(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0 distinct images to train on \(0 usable"):
        loaded(as_folder(tmp_path, {"a/1.png": b"words", "a/2.png": b""}), max_rejects=1.0)


def test_an_old_list_of_rejects_is_removed(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("old")
    data = DataConfig(source=str(as_folder(tmp_path, tree())))
    load_images(data, 10, 3, rejects_file=tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()


def test_encrypted_members_are_rejects(tmp_path: Path) -> None:
    path = as_zip(tmp_path, tree(60))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    header = struct.unpack_from("<I", content, entry + 42)[0]
    content[entry + 8] |= 1
    content[header + 6] |= 1
    path.write_bytes(content)
    names = {name for name, body in tree(60).items() if body != b"not an image"}
    found = loaded(path)
    assert [reject.reason for reject in found.rejects] == ["it is encrypted"]
    assert {reject.path for reject in found.rejects} == names - set(found.names)


def test_links_in_a_tar_are_rejects(tmp_path: Path) -> None:
    path = as_tar("")(tmp_path, tree(60))
    with tarfile.open(path, "a:") as archive:
        link = tarfile.TarInfo("cats/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert [reject.path for reject in loaded(path).rejects] == ["cats/link.png"]


def test_oversized_files_and_members_are_rejects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "MAX_BYTES", 2**20)
    contents = tree(60) | {"cats/bomb.png": bytes(2**20 + 1)}
    for packer in PACKERS.values():
        (reject,) = loaded(packer(tmp_path, contents)).rejects
        assert reject.path == "cats/bomb.png"
        assert "MiB" in reject.reason


@pytest.mark.parametrize("packer", [as_zip, as_tar("gz")])
def test_archive_bombs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packer: Callable[..., Path]
) -> None:
    monkeypatch.setattr(source, "_BOMB_BYTES", 2**20)
    path = packer(tmp_path, {"a.png": png(0), "zeros.bin": bytes(2**24)})
    with pytest.raises(UserError, match="unpacks to"):
        loaded(path)


@pytest.mark.parametrize("packer", [as_zip, as_tar("gz"), as_tar("bz2"), as_tar("xz"), as_tar("")])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.65])
def test_cut_archives_end_in_one_sentence(
    tmp_path: Path, packer: Callable[..., Path], share: float
) -> None:
    path = packer(tmp_path, tree(60))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match="damaged") as caught:
        loaded(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_member_is_a_reject(tmp_path: Path) -> None:
    path = as_zip(tmp_path, tree(60))
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("dogs/deep/001.png").header_offset
    content = bytearray(path.read_bytes())
    content[start + 100] ^= 0xFF
    path.write_bytes(content)
    assert [reject.path for reject in loaded(path).rejects] == ["dogs/deep/001.png"]


@pytest.mark.parametrize("name", ["", "no-such-set", "missing/folder"])
def test_unknown_sources_list_what_there_is(name: str) -> None:
    with pytest.raises(
        UserError, match=r"digits.*fashion-mnist.*faces|digits, faces.*fashion-mnist"
    ) as caught:
        load_images(DataConfig(source=name), 8, 1)
    assert str(Path(name).absolute()) in str(caught.value)


def test_folders_and_archives_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no image.*\.png"):
        loaded(tmp_path / "empty")
    with pytest.raises(UserError, match="no image"):
        loaded(as_zip(tmp_path, {"a.txt": b"words"}))
    (tmp_path / "one.png").write_bytes(png(0))
    with pytest.raises(UserError, match="not a folder"):
        loaded(tmp_path / "one.png")


def test_probe_looks_at_sizes_and_colours(tmp_path: Path) -> None:
    sides = [9] * 3 + [40] * 4 + [600] * 3
    contents = {f"{i}.png": png(i, side) for i, side in enumerate(sides)} | {"bad.png": b"words"}
    assert probe_source(str(as_folder(tmp_path, contents))) == (40, 3)


def test_probe_keeps_to_its_bounds_and_sees_grey(tmp_path: Path) -> None:
    for name, size, expected in (("small", (3, 5), 8), ("large", (900, 400), 256)):
        (tmp_path / name).mkdir()
        Image.new("RGB", size, (9, 9, 9)).save(tmp_path / name / "a.png")
        Image.new("L", size, 9).save(tmp_path / name / "b.jpg")
        assert probe_source(str(tmp_path / name)) == (expected, 1)


def test_probe_explains_when_nothing_can_be_decoded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of 2 .*a\.png"):
        probe_source(str(as_folder(tmp_path, {"a.png": b"words", "b.png": b""})))


def test_huge_images_are_rejects_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 99)
    contents = {f"{i:02}.png": png(i, 9) for i in range(40)} | {"huge.png": png(1, 10)}
    (reject,) = loaded(as_folder(tmp_path, contents)).rejects
    assert reject.path == "huge.png"
    monkeypatch.undo()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    (reject,) = loaded(tmp_path / "images").rejects
    assert "pixels" in reject.reason


def test_torch_images_do_not_share_memory_with_each_other(tmp_path: Path) -> None:
    found = loaded(as_folder(tmp_path, tree()))
    part = found.select(torch.tensor([0, 1]))
    part.images.zero_()
    assert found.images[:2].any()
