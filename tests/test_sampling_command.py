"""Drawing by an atlas and by the command `sample`: with attributes by name, near places, and said in words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.errors import UserError

FAST = ("--levels", "4", "--steps", "150", "--set", "map.width=32", "--set", "map.check_every=50")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of labelled codes around two places, with no images and no model."""
    folder = tmp_path_factory.mktemp("codes")
    random = np.random.default_rng(0)
    right = np.arange(1_200) % 2 == 1
    codes = random.normal(0, 0.4, (1_200, 4)) + np.where(right, 1.0, -1.0)[:, None]
    np.savez(
        folder / "codes.npz",
        means=codes.astype(np.float32),
        labels=np.where(right, "right", "left"),
    )
    assert latent_atlas("fit", str(folder / "codes.npz"), "--out", str(folder / "run"), *FAST) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def atlas(run: Path) -> Atlas:
    return Atlas.load(run, device="cpu")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_draws_of_a_class_are_of_that_class(atlas: Atlas) -> None:
    points = atlas.sample_codes(200, where={"class": "right"}, generator=seeded()).points
    assert (points.mean(dim=1) > 0).float().mean() > 0.98
    everyone = atlas.sample_codes(200, generator=seeded()).points
    assert 0.35 < (everyone.mean(dim=1) > 0).float().mean() < 0.65


def test_draws_of_a_range_are_all_within(atlas: Atlas) -> None:
    draws = atlas.sample_codes(
        100, "importance", where={"component:0": (1.0, 2.0)}, proposals=500, generator=seeded()
    )
    values = atlas.properties["component:0"].values(draws.points)
    assert values.min() >= 1
    assert values.max() <= 2


def test_wishes_add_up(atlas: Atlas) -> None:
    # Along the first component, which joins the two places, one side is the right and the other the left.
    left, right = (
        atlas.properties.log_weight({"class": name})(torch.ones(1, 4)).item()
        for name in ("left", "right")
    )
    both = atlas.properties.log_weight({"class": "right", "component:0": (-50.0, 50.0)})(
        torch.ones(1, 4)
    ).item()
    assert right > -0.1 > left
    assert both == pytest.approx(right)


def test_draws_near_a_code_are_near_it(atlas: Atlas) -> None:
    code = atlas.codes["held_out"].means[0]
    options = {"warmup": 50, "thin": 2, "generator": seeded()}
    away = (atlas.sample_codes(100, "mala", near=code, width=0.2, **options).points - code).norm(
        dim=1
    )
    further = (atlas.sample_codes(100, "mala", near=code, **options).points - code).norm(dim=1)
    assert away.mean() < 0.6
    assert further.mean() > away.mean()  # by default, half of the codes' deviation


def test_baselines_learn_the_atlas_s_own_codes(atlas: Atlas) -> None:
    points = atlas.sample_codes(400, "mixture", components=2, generator=seeded()).points
    assert abs(points.mean(dim=1).abs().mean().item() - 1) < 0.1


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"class": "up"}, "no class 'up'; choose left, right"),
        ({"hat": "red"}, "no attribute 'hat'"),
        ({"component:0": "red"}, "give a range"),
        ({"component:0": (2.0, 1.0)}, "give a range, its lower end first"),
    ],
)
def test_attributes_that_are_none_are_refused(where: dict, sentence: str, atlas: Atlas) -> None:
    with pytest.raises(UserError, match=sentence):
        atlas.sample_codes(5, where=where)


def test_the_command_draws_what_is_wished(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "draws.npy")
    words = (
        "--count",
        "50",
        "--where",
        "class=left",
        "--where",
        "component:1=..5",
        "--temperature",
        "0.8",
    )
    assert latent_atlas("sample", str(run), *words, "--set", "steps=16", "--out", out) == 0
    said = capsys.readouterr()
    assert "16 levels from smooth to sharp" in said.out
    assert "independent draws" in said.out
    assert (np.load(out).mean(axis=1) < 0).mean() > 0.95


def test_the_command_tells_machines_everything(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--sampler",
        "mala",
        "--near",
        "test:3",
        "--width",
        "0.3",
        "--count",
        "20",
        "--set",
        "thin=1",
    )
    assert latent_atlas("sample", str(run), *words, "--out", str(tmp_path / "d.npy"), "--json") == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert {"r_hat", "effective_samples", "acceptance", "converged", "notes"} <= told.keys()
    assert told["count"] == 20
    assert len(told["notes"]) == said.err.count("\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--sampler", "wish"), "no sampler 'wish'"),
        (("--temperature", "0"), "the temperature is 0.0"),
        (("--where", "class"), "'class' is no wish; write class=NAME"),
        (("--where", "component:0=a..b"), "'a..b' is no range"),
        (("--where", "class=up"), "no class 'up'"),
        (("--width", "1"), "name a place by --near"),
        (("--near", "test:9999"), "choose test:0 to test:"),
        (("--set", "steps=many"), "write a number, as in steps=128"),
        (("--set", "pace=3"), "has no option 'pace'"),
        (("--set", "generator=3"), "'generator' is no option for --set"),
        (("--sampler", "prior", "--where", "class=left"), "does not look at the density"),
    ],
)
def test_mistakes_are_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        latent_atlas("sample", str(run), *words, "--count", "5", "--out", str(tmp_path / "d.npy"))
        == 2
    )
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "d.npy").exists()
