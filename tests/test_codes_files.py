import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from latent_atlas.codes.files import collect, read_collection
from latent_atlas.errors import UserError

RANDOM = np.random.default_rng(0)
CODES = RANDOM.normal(size=(60, 4)).astype(np.float32)


def test_npy_npz_and_safetensors_hold_the_same_codes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CODES)
    np.savez(tmp_path / "b.npz", means=CODES, other=np.zeros(3))
    np.savez(tmp_path / "c.npz", anything=CODES, log_variances=-np.ones_like(CODES))
    save_file(
        {"latents": torch.tensor(CODES), "logvar": -torch.ones(60, 4)}, tmp_path / "d.safetensors"
    )
    for name in ("a.npy", "b.npz", "c.npz", "d.safetensors"):
        collection = read_collection(tmp_path / name)
        np.testing.assert_array_equal(collection.codes.means.numpy(), CODES)
        assert collection.shape == (4,)
        spread = collection.codes.log_variances
        assert (spread is None) == (name in ("a.npy", "b.npz"))
        assert spread is None or (spread == -1).all()


@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8", ">f8", "longdouble"])
def test_every_floating_type_and_byte_order_is_read(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", CODES.astype(kind))
    read = read_collection(tmp_path / "codes.npy").codes.means
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, torch.tensor(CODES), atol=2e-3, rtol=0)


def test_bfloat16_is_read(tmp_path: Path) -> None:
    save_file({"means": torch.tensor(CODES).bfloat16()}, tmp_path / "codes.safetensors")
    read = read_collection(tmp_path / "codes.safetensors").codes.means
    torch.testing.assert_close(read, torch.tensor(CODES), atol=0.02, rtol=0)


def test_spatial_codes_come_back_in_their_shape(tmp_path: Path) -> None:
    spatial = RANDOM.normal(size=(60, 2, 3, 4)).astype(np.float32)
    np.save(tmp_path / "codes.npy", spatial)
    collection = read_collection(tmp_path / "codes.npy")
    assert collection.codes.means.shape == (60, 24)
    means, spread = collection.arrays()
    np.testing.assert_array_equal(means.numpy(), spatial)
    assert spread is None


def test_labels_follow_their_codes_through_repeats_and_split(generator: torch.Generator) -> None:
    means = torch.arange(50.0)[:, None] * torch.ones(50, 2)
    means[7] = means[3]
    collection = collect(means, labels=torch.arange(50), label_names=tuple(map(str, range(50))))
    assert len(collection.codes) == 49
    assert "1 of 50 codes repeat others" in collection.warnings[0]
    train, held_out = collection.split(0.3, generator=generator)
    assert (len(train.codes), len(held_out.codes)) == (35, 14)
    for part in (train, held_out):
        assert part.labels is not None
        assert torch.equal(part.codes.means[:, 0], part.labels.float())
    together = torch.cat([train.codes.means, held_out.codes.means])[:, 0]
    assert sorted(together.tolist()) == [float(i) for i in range(50) if i != 7]


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (np.array(["b", "a", "b"] * 20), [1, 0, 1] * 20, ("a", "b")),
        (np.array([7, -1, 3] * 20), [1, -1, 0] * 20, ("3", "7")),
        (np.array([True, False, True] * 20), [1, 0, 1] * 20, ("False", "True")),
    ],
)
def test_labels_are_words_or_numbers(
    labels: np.ndarray, numbers: list[int], names: tuple[str, ...], tmp_path: Path
) -> None:
    np.savez(tmp_path / "codes.npz", means=CODES, labels=labels)
    collection = read_collection(tmp_path / "codes.npz")
    assert collection.labels is not None
    assert collection.labels.tolist() == numbers
    assert collection.label_names == names


class Harmful:
    """What pickle would run on loading."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harm",)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("codes.npy", np.array([Harmful()] * 40, dtype=object), allow_pickle=True)
    np.savez("codes.npz", means=np.array([Harmful()] * 40, dtype=object))
    for name in ("codes.npy", "codes.npz"):
        with pytest.raises(
            UserError, match="pickled objects are never loaded, so save plain numbers with"
        ):
            read_collection(Path(name))
    assert not Path("harm").exists()


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"a": CODES, "b": CODES},
            r"holds a \(60, 4\), b \(60, 4\); name the array of codes `means`",
        ),
        ({"labels": np.zeros(60, int)}, r"holds labels \(60,\); name the array of codes `means`"),
        (
            {"means": CODES, "labels": np.zeros(60)},
            r"`labels` in .* has the shape \(60,\) and type float64",
        ),
        (
            {"means": CODES, "labels": np.zeros(59, int)},
            r"labels must have one number per code, \(60,\)",
        ),
        (
            {"means": CODES, "log_variances": CODES[:, :3]},
            r"log_variances must have the shape of means",
        ),
        ({"means": CODES.astype(str)}, r"holds values of type <U32; save plain numbers"),
        ({"means": CODES.astype(int)}, r"codes must be floats; these are int64"),
        ({"means": np.float32(1)}, r"codes must have shape .* these have \(\)"),
        (
            {"means": CODES[:0]},
            r"there are no codes, only an empty array of shape \(0, 4\); give at least 30",
        ),
        (
            {"means": np.where(np.arange(60)[:, None] == 9, np.nan, CODES)},
            "1 of 60 codes are not finite, the first at row 9",
        ),
    ],
)
def test_what_is_no_codes_is_refused(
    arrays: dict[str, np.ndarray], sentence: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "codes.npz", **arrays)
    with pytest.raises(UserError, match=sentence):
        read_collection(tmp_path / "codes.npz")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("codes.pt", b"", "no .npy, .npz or .safetensors file; save plain numbers"),
        ("codes.npy", b"", "cannot read"),
        ("codes.npy", b"no array", "cannot read"),
        ("codes.npz", b"PK\x03\x04 no archive", "cannot read"),
        ("codes.safetensors", b"no tensors", "is damaged"),
    ],
)
def test_what_is_no_file_of_codes_is_refused(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        read_collection(tmp_path / name)


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    for name in ("absent.npy", "folder.npy"):
        with pytest.raises(UserError, match="there is no file of codes at"):
            read_collection(tmp_path / name)


def test_too_few_codes_to_hold_some_out_are_refused(generator: torch.Generator) -> None:
    means = torch.randn(29, 2, generator=generator)
    with pytest.raises(
        UserError, match="29 different codes, and a map needs 30: 20 to fit it and 10 held out"
    ):
        collect(means).split(0.1, generator=generator)
