"""Copies of images: what happens to them, and that held-out codes decide which copies D_z learns from."""

import json
from pathlib import Path

import pytest
import torch

from latent_atlas.cli.commands.report import _copies, _main_numbers
from latent_atlas.codes import augmented
from latent_atlas.codes.augmented import CHANGES, Change, choose_change, with_copies
from latent_atlas.codes.posterior import Codes
from latent_atlas.config.presets import PRESETS
from latent_atlas.config.run import with_settings
from latent_atlas.data.load import load_images
from latent_atlas.runs import Run, read_tensors
from latent_atlas.shapes import Images
from latent_atlas.training.loop import train
from runs import DIGITS, quick_calibration


def spots(n: int, generator: torch.Generator, *, left_only: bool) -> Images:
    """A bright spot on black at a random place of 16 x 16 pixels, shape (n, 1, 16, 16)."""
    places = torch.rand(n, 2, generator=generator) * 4 + torch.tensor([2.0, 6.0])
    if not left_only:
        flips = torch.rand(n, generator=generator) < 0.5
        places[:, 0] = torch.where(flips, 15 - places[:, 0], places[:, 0])
    pixels = torch.arange(16)
    rows, columns = ((-((pixels - places[:, i, None]) ** 2) / 4).exp() for i in (1, 0))
    return (rows[:, :, None] * columns[:, None, :])[:, None]


def encode(images: Images) -> Codes:
    """Where an image is bright, in pixels from the middle, with a small posterior width."""
    weights = images.mean(dim=1)
    weights = weights / weights.sum(dim=(1, 2), keepdim=True)
    pixels = torch.arange(images.shape[3]) - (images.shape[3] - 1) / 2
    means = torch.stack([weights.sum(dim=1) @ pixels, weights.sum(dim=2) @ pixels], dim=1)
    return Codes(means, torch.full_like(means, -4.0))


def test_nothing_happens_to_a_copy_that_is_not_changed(generator: torch.Generator) -> None:
    images = torch.rand(5, 3, 7, 7, generator=generator)
    copies = Change(mirror=False, moved=0).of(images, generator=generator)
    torch.testing.assert_close(copies, images)


def test_some_copies_are_mirrored_and_none_is_anything_else(generator: torch.Generator) -> None:
    images = torch.rand(64, 1, 6, 6, generator=generator)
    copies = Change(mirror=True, moved=0).of(images, generator=generator)
    same, mirrored = (
        torch.isclose(copies, some, atol=1e-5).flatten(1).all(dim=1)
        for some in (images, images.flip(3))
    )
    assert torch.equal(same, ~mirrored)
    assert 16 < mirrored.sum() < 48


def test_a_copy_is_moved_no_farther_than_said(generator: torch.Generator) -> None:
    images = spots(200, generator, left_only=True)
    copies = Change(mirror=False, moved=1 / 16).of(images, generator=generator)
    assert copies.min() >= 0
    assert copies.max() <= 1
    before, after = encode(images).means, encode(copies).means
    # A spot at most 6 pixels from the middle moves by 1 pixel, and by scaling by 6 / 16.
    assert 0.5 < (after - before).abs().max() < 1.5


def test_opacity_keeps_its_brightness(generator: torch.Generator) -> None:
    images = torch.full((20, 4, 8, 8), 0.5)
    copies = Change(mirror=True, moved=1 / 8).of(images, generator=generator)
    torch.testing.assert_close(copies[:, 3], images[:, 3])
    assert copies[:, :3].std() > 0.01


def few(left_only: bool, generator: torch.Generator) -> tuple[Codes, Images, Codes]:
    """Some 40 codes with their images, and codes of 200 other images."""
    images = spots(40, generator, left_only=left_only)
    return encode(images), images, encode(spots(200, generator, left_only=left_only))


@pytest.mark.parametrize("left_only", [True, False])
def test_copies_are_mirrored_only_where_mirrored_images_are_of_the_data(
    generator: torch.Generator, left_only: bool
) -> None:
    change = choose_change(*few(left_only, generator), encode, generator=generator)
    assert left_only != (change is not None and change.mirror)


def test_no_copies_where_none_is_of_the_data(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augmented, "CHANGES", (Change(mirror=True, moved=0),))
    codes, images, held_out = few(True, generator)
    learned, change = with_copies(codes, images, held_out, encode, generator=generator)
    assert change is None
    assert learned is codes


def test_half_of_what_is_learned_are_copies_and_half_the_codes(generator: torch.Generator) -> None:
    codes, images, held_out = few(False, generator)
    bytes_of = (images * 255).round().byte()
    learned, change = with_copies(codes, bytes_of, held_out, encode, generator=generator)
    assert change in CHANGES
    same = (learned.means[:, None] == codes.means).all(dim=2).any(dim=1)
    assert same.double().mean() == 0.5
    assert len(learned.means[~same].unique(dim=0)) > 4 * len(codes)


@pytest.mark.parametrize("case", ["many images", "points"])
def test_who_needs_no_copies_has_none(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    codes, images, held_out = few(False, generator)
    if case == "many images":
        monkeypatch.setattr(augmented, "MOST", len(codes) - 1)
    else:
        codes = codes.points()
    assert with_copies(codes, images, held_out, encode, generator=generator) == (codes, None)


def test_a_run_learns_from_copies_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, chosen = {}, CHANGES[1]
    monkeypatch.setattr(augmented, "choose_change", lambda *_, **__: chosen)
    for name, more in {"with": "", "again": "", "without": " map.augment=false"}.items():
        config = with_settings(
            PRESETS["digits"],
            f"{DIGITS} data.limit=150 train.steps=4 train.adversarial_start=2 map.steps=20{more}".split(),
        )
        run = Run(tmp_path / name)
        run.claim()
        run.begin(config)
        with quick_calibration():
            found = train(load_images(config.data, 8, 1), config, run, log=lambda entry: None)
        assert any("codes to learn from, so the map is coarse" in one for one in found.warnings)
        maps[name] = read_tensors(run.file("map.safetensors"))[0]
        maps[f"{name}: codes"] = read_tensors(run.file("codes.safetensors"))[0]
        manifest = json.loads(run.file("manifest.json").read_text())
        assert manifest.get("copies") == (None if more else str(chosen))
        assert [str(chosen) in line for line in _copies(run)] == ([] if more else [True])
    weight = "network.members.0.head.weight"
    assert torch.equal(maps["with"][weight], maps["again"][weight])
    assert not torch.equal(maps["with"][weight], maps["without"][weight])
    assert torch.equal(maps["with: codes"]["train.means"], maps["without: codes"]["train.means"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(mirror=True, moved=0), "mirrored or not"),
        (Change(mirror=False, moved=1 / 32), "moved, scaled and brightened by up to 3 %"),
    ],
)
def test_a_change_is_said_in_words(change: Change, words: str) -> None:
    assert str(change) == words


def test_changes_differ() -> None:
    assert len({str(change) for change in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize(
    ("calibrated", "words"), [(True, "calibrated"), (False, "not calibrated, as the warning says")]
)
def test_training_ends_with_what_the_map_is_worth(calibrated: bool, words: str) -> None:
    metrics = {
        "reconstruction": {"mse": 0.01, "psnr": 20.0, "images": 5},
        "map": {
            "normalising_constant": 1.0,
            "kl": 2.0,
            "boundary": "prior",
            "calibrated": calibrated,
        },
        "travel": {},
        "geometry": {name: {"value": 0.5} for name in ("prior_inside", "pearson", "condition")},
    }
    (line,) = (line for line in _main_numbers(metrics) if line.startswith("map "))
    assert line.endswith(f" nats: {words}")


def test_too_few_held_out_codes_choose_nothing(generator: torch.Generator) -> None:
    codes, images, held_out = few(False, generator)
    some = held_out[torch.arange(augmented.FEWEST - 1)]
    assert with_copies(codes, images, some, encode, generator=generator) == (codes, None)


def test_a_change_that_is_surely_worse_is_left_out(generator: torch.Generator) -> None:
    best = torch.randn(100, generator=generator)
    noise = torch.randn(100, generator=generator)
    assert augmented._surely_less(best - 0.1, best)
    assert not augmented._surely_less(best, best)
    assert not augmented._surely_less(best + noise - noise.mean() - 0.01, best)
