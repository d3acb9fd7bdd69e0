"""Packed sources: the same images, splits and runs as from the source itself, without the memory."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas.cli.arguments import preset_of
from latent_atlas.codes.codec import reconstruction_errors
from latent_atlas.config import DataConfig
from latent_atlas.config.presets import PRESETS
from latent_atlas.config.run import with_settings
from latent_atlas.data import (
    ImageSet,
    Square,
    load,
    load_images,
    probe_source,
    read_images,
    shards,
)
from latent_atlas.data.packed import Pack
from latent_atlas.data.pixels import PackedImages, PackedNames, batches, select
from latent_atlas.distributed import packing
from latent_atlas.errors import UserError
from latent_atlas.runs import Run, read_tensors
from latent_atlas.training.batches import Batches
from latent_atlas.training.loop import encode_all, train_model
from latent_atlas.training.run_files import check_images, write_examples

SHAPE = ("--image-size", "8", "--channels", "3")
SETTINGS = """model.image_size=8 model.channels=3 model.width=4 model.discriminator_width=4
    model.latent_dim=3 train.steps=4 train.batch_size=16 train.adversarial_start=2 train.device=cpu
    train.precision=32 map.precision=32 map.steps=20 map.width=8 map.depth=1 map.check_every=10"""


def png(number: int) -> bytes:
    generator = np.random.default_rng(number)
    file = io.BytesIO()
    pixels = np.clip(generator.normal(128, 60, (9, 12, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 images in two classes with a table of their weights, and one file that is no image."""
    root = tmp_path_factory.mktemp("source") / "f"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
    lines = ["file_name,label,weight", "cat/no.png,cat,7"]
    for number in range(90):
        name = f"{'cat' if number % 3 else 'dog'}/ä{number:03}.png"
        (root / name).write_bytes(png(number))
        lines.append(f"{name},{name[:3]},{number / 8}")
    (root / "cat" / "no.png").write_bytes(b"no image")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def pack(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder packed in shards of 20."""
    out = tmp_path_factory.mktemp("packed") / "p"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(shards, "ROWS", 20)
        monkeypatch.setattr(shards, "CHUNK", 7)
        assert latent_atlas("pack", str(folder), str(out), *SHAPE) == 0
    return out


def loaded(source: Path, **settings: object) -> ImageSet:
    return load_images(DataConfig(source=str(source), **settings), 8, 3)  # pyright: ignore[reportArgumentType]


def test_a_pack_holds_what_its_source_holds(folder: Path, pack: Path) -> None:
    plain, packed = loaded(folder), loaded(pack)
    assert isinstance(packed.images, PackedImages)
    assert len(list(pack.glob("shard-*.safetensors"))) == 5
    assert torch.equal(packed.images[:], plain.images[:])
    assert tuple(packed.names) == plain.names
    assert packed.rejects == plain.rejects
    assert packed.label_names == plain.label_names == ("cat", "dog")
    assert packed.labels is not None
    assert plain.labels is not None
    assert torch.equal(packed.labels, plain.labels)
    assert packed.attributes is not None
    assert plain.attributes is not None
    assert torch.equal(packed.attributes["weight"], plain.attributes["weight"])
    assert packed.summary == plain.summary
    assert packed.notes == plain.notes


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_the_same_images_are_held_out(folder: Path, pack: Path, share: float) -> None:
    held_out = loaded(pack, held_out=share).held_out
    assert torch.equal(held_out, loaded(folder, held_out=share).held_out)
    assert 0 < held_out.sum() < 90


def test_parts_of_the_source_stay_parts(tmp_path: Path) -> None:
    for number in range(40):
        path = tmp_path / "s" / ("test" if number % 4 == 0 else "train") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    assert latent_atlas("pack", str(tmp_path / "s"), str(tmp_path / "p"), *SHAPE) == 0
    packed = loaded(tmp_path / "p")
    assert torch.equal(packed.held_out, loaded(tmp_path / "s").held_out)
    assert packed.held_out.sum() == 10
    assert packed.notes == loaded(tmp_path / "s").notes


def test_rows_are_read_by_any_index(pack: Path) -> None:
    whole = loaded(pack)
    images, tensor = whole.images, whole.images[:]
    assert images.shape == tensor.shape
    assert images.nbytes == tensor.nbytes
    places = torch.tensor([80, 3, 3, 19, 20, 0, -1])
    for which in (0, 25, -1, slice(15, 45), slice(None, None, 7), places, whole.held_out):
        assert torch.equal(images[which], tensor[which])
    some = select(images, places)
    assert torch.equal(some[:], tensor[places])
    assert torch.equal(select(some, torch.tensor([2, 0]))[:], tensor[[3, 80]])
    assert torch.equal(torch.cat(list(batches(some, 3))), tensor[places])
    with pytest.raises(IndexError):
        images[torch.tensor([90])]
    names = whole.select(places).names
    assert isinstance(names, PackedNames)
    assert names[0] == whole.names[80]
    assert names[1:3] == (whole.names[3],) * 2


def test_a_limit_takes_the_least_digests(pack: Path) -> None:
    few = loaded(pack, limit=30)
    assert len(few) == 30
    digests = [bytes(row) for row in Pack.open(pack).rows("digests")]
    places = sorted(sorted(range(90), key=lambda i: digests[i][:8])[:30])
    assert torch.equal(few.images[:], loaded(pack).images[torch.tensor(places)])
    assert few.summary["images"] == 30


def test_training_is_the_same_and_reads_from_the_disk(
    folder: Path, pack: Path, tmp_path: Path
) -> None:
    found = {}
    for source in (folder, pack):
        config = with_settings(PRESETS["digits"], SETTINGS.split())
        config = replace(config, data=DataConfig(source=str(source)))
        run = Run(tmp_path / source.name)
        run.claim()
        run.begin(config)
        images = loaded(source)
        check_images(images, run)
        write_examples(images.test, run)
        model = train_model(images.train.images, config, run, log=lambda entry: None, resume=False)
        codes = encode_all(model, images.test.images)
        errors = reconstruction_errors(model.decode, images.test.images, codes.means)
        examples = read_tensors(run.file("examples.safetensors"))[0]
        found[source] = model.state_dict() | {"means": codes.means, "errors": errors} | examples
    assert all(torch.equal(value, found[pack][name]) for name, value in found[folder].items())
    learning = loaded(pack).train.images
    assert isinstance(learning, PackedImages)
    config = with_settings(PRESETS["digits"], SETTINGS.split()).train
    assert Batches(learning, config, torch.device("cpu")).images is learning


def test_the_digest_of_a_run_changes_with_the_pixels(
    folder: Path, pack: Path, tmp_path: Path
) -> None:
    same = loaded(pack).manifest()["digest"]
    assert same == loaded(pack).manifest()["digest"]
    assert same != loaded(pack).train.manifest()["digest"]
    out = tmp_path / "p"
    assert latent_atlas("pack", str(folder), str(out), *SHAPE, "--fit", "pad") == 0
    other = load_images(DataConfig(source=str(out), fit="pad"), 8, 3)
    assert same != other.manifest()["digest"]


def test_other_commands_take_a_pack(pack: Path) -> None:
    assert probe_source(str(pack)) == (8, 3)
    read = read_images([str(pack)], Square(8, 3))
    assert torch.equal(read.images[:], loaded(pack).images[:])
    assert tuple(read.names) == tuple(loaded(pack).names)


def test_a_pack_is_trained_at_its_own_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (40, 72, 72), np.uint8))
    words = ("pack", str(tmp_path / "a.npy"), str(tmp_path / "p"), "--image-size", "72")
    assert latent_atlas(*words) == 0
    for source, side in (("a.npy", 64), ("p", 72)):
        assert preset_of(str(tmp_path / source), None).model.image_size == side


def test_other_squares_are_refused_with_those_packed(pack: Path) -> None:
    for config, size, channels in (
        (DataConfig(source=str(pack)), 16, 3),
        (DataConfig(source=str(pack)), 8, 1),
        (DataConfig(source=str(pack), fit="pad"), 8, 3),
    ):
        with pytest.raises(UserError, match="holds images of 8 x 8 pixels, RGB, made square by"):
            load_images(config, size, channels)


def test_a_pack_is_not_packed_and_images_without_any_are_refused(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas("pack", str(pack), str(tmp_path / "p"), *SHAPE) == 2
    assert "is packed already" in capsys.readouterr().err
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.png").write_bytes(b"no image")
    assert latent_atlas("pack", str(tmp_path / "s"), str(tmp_path / "q"), *SHAPE) == 2
    assert "none of the 1 images" in capsys.readouterr().err
    assert not Pack.is_at(tmp_path / "q")


def test_too_many_rejects_are_refused(pack: Path) -> None:
    with pytest.raises(UserError, match="1 of 91 images"):
        loaded(pack, max_rejects=0.0)


@pytest.mark.parametrize("damage", ["cut", "gone", "junk"])
def test_a_damaged_shard_is_named(folder: Path, tmp_path: Path, damage: str) -> None:
    assert latent_atlas("pack", str(folder), str(tmp_path / "p"), *SHAPE) == 0
    shard = tmp_path / "p" / "shard-00000.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] if damage == "cut" else b"\xff" * 100)
    if damage == "gone":
        shard.unlink()
    with pytest.raises(UserError, match=r"shard-00000.safetensors"):
        loaded(tmp_path / "p")


def test_floats_of_one_scale_are_packed_and_others_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packing, "SHARD_BYTES", 40 * 8 * 8)
    rows = np.random.default_rng(0).uniform(-1, 1, (80, 8, 8)).astype(np.float32)
    shape = ("--image-size", "8", "--channels", "1")
    np.save(tmp_path / "a.npy", rows)
    assert latent_atlas("pack", str(tmp_path / "a.npy"), str(tmp_path / "p"), *shape) == 0
    packed = load_images(DataConfig(source=str(tmp_path / "p")), 8, 1)
    plain = load_images(DataConfig(source=str(tmp_path / "a.npy")), 8, 1)
    assert torch.equal(packed.images[:], plain.images[:])
    assert (packed.levels.floats, packed.levels.integers) == (plain.levels.floats, None)
    rows[:40] = abs(rows[:40])
    np.save(tmp_path / "b.npy", rows)
    capsys.readouterr()
    assert latent_atlas("pack", str(tmp_path / "b.npy"), str(tmp_path / "q"), *shape) == 2
    assert "floats of shard-00000 were read by the scale [0" in capsys.readouterr().err
    scale = ("--set", "data.float_range=[-1,1]")
    assert latent_atlas("pack", str(tmp_path / "b.npy"), str(tmp_path / "r"), *shape, *scale) == 0


def test_a_source_larger_than_memory_names_pack(
    folder: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 91 * 3 * 8 * 8
    said: list[str] = []
    for free, count in ((5 * decoded, 0), (3 * decoded, 1)):
        monkeypatch.setattr(load, "free_memory", lambda device, free=free: free)
        load_images(DataConfig(source=str(folder)), 8, 3, say=said.append)
        assert len(said) == count
    assert f"latent-atlas pack {folder} PACK --image-size 8" in said[0]
    monkeypatch.setattr(load, "free_memory", lambda device: decoded)
    with pytest.raises(UserError, match="latent-atlas pack"):
        loaded(folder)
    assert len(loaded(pack)) == 90


def test_members_of_a_plain_archive_are_read_anywhere(tmp_path: Path) -> None:
    for mode in ("w", "w:gz"):
        path = tmp_path / f"a{mode[1:].replace(':', '.')}.tar"
        with tarfile.open(path, mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
            for number in (5, 3, 4):
                member = tarfile.TarInfo(f"{number}.png")
                member.size = len(png(number))
                archive.addfile(member, io.BytesIO(png(number)))
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "3.png"
            archive.addfile(link)
        source = load.open_source(str(path))
        assert source.portable == (mode == "w")
        assert [item.name for item in source.items] == ["3.png", "4.png", "5.png", "link.png"]
        assert source.items[0].read() == png(3)
        assert source.items[2].read() == png(5)
        with pytest.raises(Exception, match="it is a link"):
            source.items[3].read()
        source.close()


def test_a_folder_of_archives_is_packed_and_otherwise_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    for part in range(3):
        with tarfile.open(folder / f"{part}.tar", "w") as archive:
            for number in range(part * 10, part * 10 + 10):
                member = tarfile.TarInfo(f"class/{number}.png")
                member.size = len(png(number))
                archive.addfile(member, io.BytesIO(png(number)))
    with pytest.raises(UserError, match="is a folder of archives; `latent-atlas pack"):
        loaded(folder)
    assert latent_atlas("pack", str(folder), str(tmp_path / "p"), "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["images"], printed["shards"]) == (30, 3)
    assert Pack.open(tmp_path / "p").about["image_size"] == 9
    packed = load_images(DataConfig(source=str(tmp_path / "p")), 9, 3)
    assert packed.labels is None
    assert packed.names[12] == "class/12.png"
    (folder / "3.tar").write_bytes((folder / "2.tar").read_bytes()[:2000])
    assert latent_atlas("pack", str(folder), str(tmp_path / "q")) == 1
    notes = load_images(DataConfig(source=str(tmp_path / "q")), 9, 3).notes
    assert any("1 shard of the source is missing" in note and "3.tar" in note for note in notes)


def test_a_quick_run_has_the_size_of_its_pack(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    assert latent_atlas("pack", str(folder), str(out), "--image-size", "40") == 0
    run = str(tmp_path / "run")
    assert latent_atlas("train", str(out), "--out", run, "--quick", "--dry-run") == 0
