"""The split by content, limits, places of held-out images, and what an `ImageSet` tells of itself."""

import io
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latent_atlas.config import DataConfig
from latent_atlas.data import ImageSet, load_images
from latent_atlas.data.decode import Square
from latent_atlas.data.parallel_read import read_all
from latent_atlas.data.source import Item
from latent_atlas.data.split import as_digests, digest, first_by_content, held_out_by_content
from latent_atlas.errors import UserError

ROWS = np.random.default_rng(0).integers(0, 256, (400, 9, 9), np.uint8)


def folder(root: Path, order: np.ndarray, name: str) -> Path:
    """Write rows of `ROWS` as PNG files numbered in the given order."""
    (root / name).mkdir(parents=True)
    for place, row in enumerate(order):
        stream = io.BytesIO()
        Image.fromarray(ROWS[row]).save(stream, "PNG")
        (root / name / f"{name}{place:04}.png").write_bytes(stream.getvalue())
    return root / name


def loaded(path: Path, size: int = 9, **settings: object) -> ImageSet:
    return load_images(DataConfig(source=str(path), **settings), size, 1)  # pyright: ignore[reportArgumentType]


def array(root: Path, rows: np.ndarray) -> Path:
    np.save(root / "a.npy", rows)
    return root / "a.npy"


def test_split_depends_on_nothing_but_content(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(60)
    here = loaded(folder(tmp_path, np.arange(60), "a"), held_out=0.3)
    there = loaded(folder(tmp_path / "other", order, "b"), held_out=0.3)
    assert torch.equal(here.images[order], there.images)
    assert torch.equal(here.held_out[order], there.held_out)
    assert 0 < here.held_out.sum() < 60
    small = loaded(tmp_path / "a", size=8, held_out=0.3, fit="pad")
    assert torch.equal(small.held_out, here.held_out)


def test_split_of_arrays_depends_on_nothing_but_content(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(400)
    here = loaded(array(tmp_path, ROWS))
    assert torch.equal(loaded(array(tmp_path, ROWS[order])).held_out, here.held_out[order])
    assert torch.equal(loaded(array(tmp_path, ROWS[100:])).held_out, here.held_out[100:])
    assert torch.equal(loaded(array(tmp_path, ROWS.astype(np.float32))).held_out, here.held_out)


def test_copies_land_on_the_same_side(tmp_path: Path) -> None:
    twice = loaded(array(tmp_path, np.concatenate([ROWS, ROWS])), held_out=0.5)
    assert torch.equal(twice.held_out[:400], twice.held_out[400:])


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.8])
def test_share_held_out(share: float) -> None:
    digests = as_digests([digest(number.to_bytes(4, "big")) for number in range(4000)])
    held = held_out_by_content(digests, share).double().mean().item()
    assert abs(held - share) < 4 * (share * (1 - share) / 4000) ** 0.5


def test_a_larger_share_holds_out_the_same_and_more() -> None:
    digests = as_digests([digest(number.to_bytes(4, "big")) for number in range(500)])
    few, more = held_out_by_content(digests, 0.1), held_out_by_content(digests, 0.3)
    assert (more | ~few).all()
    assert more.sum() > few.sum()


def test_at_least_one_is_held_out(tmp_path: Path) -> None:
    found = loaded(array(tmp_path, ROWS[:30]), held_out=0.0)
    assert found.held_out.sum() == 1


def test_digest_sees_the_shape() -> None:
    row = np.zeros((4, 9, 1), np.uint8)
    assert digest(row) != digest(row.reshape(9, 4, 1))
    assert digest(row) == digest(np.asfortranarray(row))


def test_limit_takes_the_same_images_in_any_order(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(400)
    here = loaded(array(tmp_path, ROWS), limit=150)
    there = loaded(array(tmp_path, ROWS[order]), limit=150)
    assert len(here) == len(there) == 150
    assert {row.numpy().tobytes() for row in here.images} == {
        row.numpy().tobytes() for row in there.images
    }
    more = loaded(array(tmp_path, ROWS), limit=250)
    assert set(here.names) < set(more.names)
    assert list(here.names) == sorted(here.names, key=lambda name: int(name[4:]))


def test_limit_does_not_disturb_the_split(tmp_path: Path) -> None:
    whole, part = loaded(array(tmp_path, ROWS)), loaded(array(tmp_path, ROWS), limit=250)
    held = dict(zip(whole.names, whole.held_out.tolist(), strict=True))
    assert [held[name] for name in part.names] == part.held_out.tolist()
    assert 10 < part.held_out.sum() < 50


def test_limit_above_the_number_is_none(tmp_path: Path) -> None:
    assert len(loaded(array(tmp_path, ROWS), limit=1000)) == 400


def test_first_by_content_skips_nothing() -> None:
    digests = [digest(bytes([number])) for number in range(50)]
    assert first_by_content(digests, 50) == list(range(50))
    assert set(first_by_content(digests, 10)) < set(first_by_content(digests, 20))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"held_out": 1.0}, "held_out"),
        ({"held_out": -0.1}, "held_out"),
        ({"limit": 0}, "limit"),
        ({"max_rejects": 2.0}, "max_rejects"),
    ],
)
def test_impossible_settings(tmp_path: Path, settings: dict[str, float], name: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{name} is"):
        loaded(array(tmp_path, ROWS), **settings)


def test_too_few_and_few(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"1\d distinct images to train on \(20 usable, 20 distinct.*at least 20"
    ):
        loaded(array(tmp_path, ROWS[:20]))
    with pytest.raises(UserError, match=r"\b0 distinct images to train on \(50 usable, 1 distinct"):
        loaded(array(tmp_path, np.repeat(ROWS[:1], 50, 0)), held_out=0.0)
    few = loaded(array(tmp_path, ROWS[:100]))
    of_learned, of_held_out = few.notes
    assert "distinct images to train on" in of_learned
    assert of_held_out.startswith(f"only {len(few.test)} images are held out")
    (only,) = loaded(array(tmp_path, ROWS[:100]), held_out=0.4).notes
    assert "distinct images to train on" in only
    assert loaded(array(tmp_path, ROWS)).notes == ()


def test_progress_counts_up_to_the_end(tmp_path: Path) -> None:
    calls: list[tuple[int, int, int]] = []
    data = DataConfig(source=str(array(tmp_path, ROWS)), limit=333)
    load_images(data, 9, 1, progress=lambda *numbers: calls.append(numbers))
    assert [done for done, _, _ in calls] == sorted({done for done, _, _ in calls})
    assert len(calls) > 3
    assert calls[-1] == (333, 333, 0)


def test_items_in_turn_are_read_by_place_and_kept_in_order() -> None:
    seen: list[int] = []

    def read(i: int) -> np.ndarray:
        seen.append(i)
        return ROWS[i][..., None]

    items = tuple(Item(f"row:{i}", partial(read, i), place=i * 37 % 100) for i in range(100))
    reading = read_all(items, Square(9, 1), in_turn=True, progress=None)
    assert [i * 37 % 100 for i in seen] == list(range(100))
    assert np.array_equal(reading.images[:, 0].numpy(), ROWS[:100])


def test_order_is_that_of_the_source(tmp_path: Path) -> None:
    found = loaded(array(tmp_path, ROWS))
    assert np.array_equal(found.images[:, 0].numpy(), ROWS)
    assert found.names == tuple(f"row:{i}" for i in range(400))


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_images(DataConfig(source="digits"), 8, 1)


def test_train_and_test_are_the_two_parts(digits: ImageSet) -> None:
    train, test = digits.train, digits.test
    assert len(train) + len(test) == len(digits) == 1797
    assert not train.held_out.any()
    assert test.held_out.all()
    assert not set(train.names) & set(test.names)
    assert test.labels is not None
    assert digits.labels is not None
    places = digits.held_out.nonzero().flatten().tolist()
    for i in (0, 7, len(test) - 1):
        place = places[i]
        assert torch.equal(digits.images[place], test.images[i])
        assert digits.names[place] == test.names[i]
        assert digits.labels[place] == test.labels[i]


def test_select_by_mask_and_by_place(digits: ImageSet) -> None:
    mask = torch.zeros(len(digits), dtype=torch.bool)
    mask[[3, 5]] = True
    assert digits.select(mask).names == ("row:3", "row:5")
    back = digits.select(torch.tensor([5, 3, 3]))
    assert back.names == ("row:5", "row:3", "row:3")
    assert torch.equal(back.images[1], digits.images[3])


def test_as_float_is_in_the_unit_interval(digits: ImageSet) -> None:
    images = digits.as_float(torch.tensor([4, 2]))
    assert images.shape == (2, 1, 8, 8)
    assert torch.equal((images * 255).round().byte(), digits.images[[4, 2]])
    assert digits.as_float().max() == 1
    assert digits.as_float().min() == 0


def test_manifest_counts(digits: ImageSet) -> None:
    manifest = digits.manifest()
    assert manifest["n"] == 1797
    assert manifest["n_train"] == len(digits.train)
    assert manifest["n_held_out"] == len(digits.test)
    assert manifest["source"] == "digits"
    assert manifest["label_names"] == [str(i) for i in range(10)]
    assert (manifest["image_size"], manifest["channels"], manifest["rejects"]) == (8, 1, 0)


def test_manifest_notices_any_change(tmp_path: Path) -> None:
    def fingerprint(rows: np.ndarray, **settings: object) -> object:
        return loaded(array(tmp_path, rows), **settings).manifest()["digest"]

    changed = ROWS.copy()
    changed[17, 3, 3] ^= 1
    swapped = ROWS.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    same = fingerprint(ROWS)
    assert fingerprint(ROWS.copy()) == same
    others = [
        fingerprint(changed),
        fingerprint(swapped),
        fingerprint(ROWS[:-1]),
        fingerprint(ROWS, held_out=0.5),
    ]
    assert len({same, *others}) == 5


def test_manifest_notices_labels(digits: ImageSet) -> None:
    assert digits.labels is not None
    other = ImageSet(
        digits.images, digits.labels.flip(0), digits.label_names, digits.names, digits.held_out
    )
    assert other.manifest()["digest"] != digits.manifest()["digest"]


def test_importing_the_room_loads_no_data_library() -> None:
    code = (
        "import sys, latent_atlas.data; "
        "sys.exit(' '.join({'sklearn', 'mlxtend', 'datasets', 'torchvision'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
