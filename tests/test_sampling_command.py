"""Sampling by an atlas and by the command `sample`: with conditions by name, and near a code."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.attributes.probes import ClassProbe
from latent_atlas.errors import UserError
from latent_atlas.sampling import MALA, Importance, Mixture

pytestmark = pytest.mark.calibration

FAST = ("--levels", "4", "--steps", "150", "--set", "map.width=32", "--set", "map.batch_size=128")


@pytest.fixture(scope="module", autouse=True)
def quick_probes() -> Iterator[None]:
    """Probes of classes that learn for a few steps: what they are worth is tested where they are made."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(ClassProbe, "fit", partial(ClassProbe.fit, steps=300))
        yield


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
        100, Importance(proposals=500), where={"component:0": (1.0, 2.0)}, generator=seeded()
    )
    values = atlas.properties["component:0"].values(draws.points)
    assert values.min() >= 1
    assert values.max() <= 2


def test_conditions_add_up(atlas: Atlas) -> None:
    # Along the first component, which joins the two places, one side is the right and the other the
    # left.
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
    brief, generator = MALA(warmup=50, thin=2), seeded()
    near, further = (
        atlas.sample_codes(100, brief, near=code, width=width, generator=generator).points - code
        for width in (0.2, None)
    )
    assert near.norm(dim=1).mean() < 0.6
    assert further.norm(dim=1).mean() > near.norm(dim=1).mean()  # half of the codes' deviation


def test_baselines_learn_the_atlas_s_own_codes(atlas: Atlas) -> None:
    points = atlas.sample_codes(400, Mixture(components=2), generator=seeded()).points
    assert abs(points.mean(dim=1).abs().mean().item() - 1) < 0.1


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"class": "up"}, "no class 'up'; choose left, right"),
        ({"class": "Rihgt"}, "did you mean 'right'"),
        ({"clas": "left"}, "no attribute 'clas'; .* did you mean 'class'"),
        ({"hat": "red"}, "no attribute 'hat'"),
        ({"component:0": "red"}, "give a range"),
        ({"component:0": (2.0, 1.0)}, "give a range, its lower end first"),
    ],
)
def test_attributes_that_are_none_are_refused(where: dict, sentence: str, atlas: Atlas) -> None:
    with pytest.raises(UserError, match=sentence):
        atlas.sample_codes(5, where=where)


def test_the_command_draws_under_conditions(
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
    assert "sampler diffusion" in said.out
    assert "16 steps of the flow from noise to codes" in said.out
    assert "effective sample size" in said.out
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
    assert {"r_hat", "effective_sample_size", "acceptance", "converged", "warnings"} <= told.keys()
    assert told["count"] == 20
    assert len(told["warnings"]) == said.err.count("\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--sampler", "annealing"), "no sampler 'annealing'"),
        (("--sampler", "difusion"), "did you mean 'diffusion'?"),
        (("--temperature", "0"), "the temperature is 0.0"),
        (("--where", "class"), "--where class: not of the form NAME=VALUE; write class=NAME"),
        (("--where", "component:0=a..b"), "'a..b' is not a range"),
        (("--where", "class=up"), "no class 'up'"),
        (("--width", "1"), "--width is the distance from --near, which is missing"),
        (("--near", "test:9999"), "choose test:0 to test:"),
        (("--set", "steps=many"), "steps is 'many'; expected a whole number"),
        (("--set", "pace=3"), "has no setting 'pace'"),
        (
            ("--set", "codes=3"),
            "sampler 'diffusion' has no setting 'codes'; it has steps, churn, moves",
        ),
        (("--sampler", "prior", "--where", "class=left"), "does not use the density"),
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
