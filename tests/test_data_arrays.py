"""Layouts, value ranges and labels of .npy and .npz files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latent_atlas.config import DataConfig
from latent_atlas.data import ImageSet, load_images, probe_source
from latent_atlas.errors import UserError

BYTES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
EXPECTED = torch.from_numpy(BYTES).permute(0, 3, 1, 2)


def loaded(path: Path, channels: int = 3, **settings: object) -> ImageSet:
    return load_images(DataConfig(source=str(path), **settings), 8, channels)  # pyright: ignore[reportArgumentType]


def saved(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


def test_layouts(tmp_path: Path) -> None:
    last = loaded(saved(tmp_path, BYTES))
    first = loaded(saved(tmp_path, BYTES.transpose(0, 3, 1, 2)))
    assert torch.equal(last.images, EXPECTED)
    assert torch.equal(first.images, EXPECTED)
    assert torch.equal(first.held_out, last.held_out)
    grey = loaded(saved(tmp_path, BYTES[..., 0]), channels=1)
    assert torch.equal(grey.images, EXPECTED[:, :1])
    assert last.names[17] == "row:17"
    assert last.labels is None


@pytest.mark.parametrize(
    "array", [BYTES[0], BYTES[0, 0], np.zeros((30, 8, 8, 5), np.uint8), np.zeros((0, 8, 8))]
)
def test_other_shapes_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"shape|to train on|no image"):
        loaded(saved(tmp_path, array), max_rejects=1.0)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_either_range(tmp_path: Path, kind: type) -> None:
    assert torch.equal(loaded(saved(tmp_path, BYTES.astype(kind))).images, EXPECTED)
    assert torch.equal(loaded(saved(tmp_path, (BYTES / 255).astype(kind))).images, EXPECTED)


def test_integers_and_booleans(tmp_path: Path) -> None:
    assert torch.equal(loaded(saved(tmp_path, BYTES.astype(np.int64))).images, EXPECTED)
    assert torch.equal(
        loaded(saved(tmp_path, BYTES > 99)).images, (EXPECTED > 99) * torch.tensor(255).byte()
    )


@pytest.mark.parametrize(
    "array", [BYTES - 1.0, BYTES * 2.0, BYTES.astype(np.int64) * 300, BYTES + 1j, BYTES * 0 - 1.0]
)
def test_other_values_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(UserError, match="uint8"):
        loaded(saved(tmp_path, array))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_with_a_hole_is_a_reject(tmp_path: Path, bad: float) -> None:
    array = BYTES / 255
    array[3, 2, 1, 0] = bad
    found = loaded(saved(tmp_path, array))
    assert [reject.path for reject in found.rejects] == ["row:3"]
    assert torch.equal(found.images, EXPECTED[[i for i in range(40) if i != 3]])


@pytest.mark.parametrize(
    ("arrays", "key"),
    [
        ({"images": BYTES, "other": BYTES[::-1]}, "images"),
        ({"x": BYTES}, "x"),
        ({"mask": BYTES[..., 0], "x": BYTES}, "x"),
        ({"ids": np.arange(40), "x": BYTES[..., 0]}, "x"),
    ],
)
def test_npz_finds_the_images(tmp_path: Path, arrays: dict[str, np.ndarray], key: str) -> None:
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    expected = arrays[key].reshape(40, 8, 8, -1)
    found = loaded(tmp_path / "a.npz", channels=expected.shape[3])
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), expected)


def test_npz_without_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(4), b=np.arange(5))
    with pytest.raises(UserError, match=r"a \(4,\), b \(5,\).*`images`"):
        loaded(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (np.arange(40) % 3, ("0", "1", "2"), [0, 1, 2, 0]),
        (np.arange(40) % 2 * 5 - 1, ("4",), [-1, 0, -1, 0]),
        (np.array(["dog", "cat"] * 20), ("cat", "dog"), [1, 0, 1, 0]),
    ],
)
def test_npz_labels(
    tmp_path: Path, labels: np.ndarray, names: tuple[str, ...], numbers: list[int]
) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES, labels=labels)
    found = loaded(tmp_path / "a.npz")
    assert found.label_names == names
    assert found.labels is not None
    assert found.labels[:4].tolist() == numbers


@pytest.mark.parametrize("labels", [np.arange(39), np.linspace(0, 1, 40), np.zeros((40, 2), int)])
def test_npz_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES, labels=labels)
    with pytest.raises(UserError, match="`labels`"):
        loaded(tmp_path / "a.npz")


def test_pickles_are_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}] * 30, object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=objects)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UserError, match="plain numbers") as caught:
            loaded(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_damaged_files_end_in_one_sentence(tmp_path: Path, name: str, share: float) -> None:
    np.save(tmp_path / "a.npy", BYTES)
    np.savez(tmp_path / "a.npz", images=BYTES)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cannot read"):
        loaded(tmp_path / name)


def test_probe_of_arrays(tmp_path: Path) -> None:
    assert probe_source(str(saved(tmp_path, BYTES))) == (8, 3)
    assert probe_source(str(saved(tmp_path, np.zeros((5, 40, 30, 3), np.uint8)))) == (30, 1)
