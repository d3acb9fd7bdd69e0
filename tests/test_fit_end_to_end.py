"""From a file of codes to a map, and travels and draws on it, through the commands a user types."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from command_line import latent_atlas
from latent_atlas import Atlas, LatentMap
from latent_atlas.codes import sample
from latent_atlas.explorer.raster import rasters
from latent_atlas.geometry.planes import Plane, Window
from runs import quick_gallery

FAST = (
    *("--steps", "60", "--set", "map.width=16", "--set", "map.check_every=20"),
    *("--set", "map.depth=1", "--set", "map.batch_size=64"),
)


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """Walks of a few steps, where a map is drawn."""
    with quick_gallery():
        yield


@pytest.fixture(scope="module")
def two_clusters() -> np.ndarray:
    """300 codes of four coordinates around two places, (300, 4)."""
    random = np.random.default_rng(0)
    return (
        random.normal(0, 0.5, (300, 4)) + np.where(np.arange(300) % 2, 1.0, -1.0)[:, None]
    ).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(two_clusters: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of codes with labels, and with no images and no model."""
    folder = tmp_path_factory.mktemp("codes")
    kinds = np.where(np.arange(300) % 2, "right", "left")
    np.savez(folder / "codes.npz", means=two_clusters, labels=kinds)
    assert latent_atlas("fit", str(folder / "codes.npz"), "--out", str(folder / "run"), *FAST) == 0
    return folder / "run"


def test_fitting_codes_leaves_a_run_with_a_picture(fitted: Path, two_clusters: np.ndarray) -> None:
    for name in (
        "config.json",
        "map.safetensors",
        "codes.safetensors",
        "manifest.json",
        "log.jsonl",
        "map.png",
    ):
        assert (fitted / name).stat().st_size > 0, name
    atlas = Atlas.load(fitted, device="cpu")
    assert atlas.model is None
    assert atlas.config.map.width == 16
    assert (len(atlas.codes["train"]), len(atlas.codes["held_out"])) == (270, 30)
    assert atlas.label_names == ("left", "right")
    means = torch.cat([atlas.codes[part].means for part in ("train", "held_out")])
    labels = torch.cat([atlas.labels[part] for part in ("train", "held_out")])
    assert torch.equal(labels == 1, means.mean(dim=1) > 0)
    assert sorted(means[:, 0].tolist()) == sorted(two_clusters[:, 0].tolist())
    records = [json.loads(line) for line in (fitted / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [20, 40, 60]


def test_a_fit_tells_what_the_map_is_worth(
    two_clusters: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spatial = torch.tensor(two_clusters).reshape(300, 1, 2, 2)
    spatial[1] = spatial[0]
    np.save(tmp_path / "codes.npy", spatial.numpy())
    words = (
        "fit",
        str(tmp_path / "codes.npy"),
        "--boundary",
        "gaussian",
        "--levels",
        "1",
        "--seed",
        "3",
        *FAST,
    )
    assert latent_atlas(*words, "--out", str(tmp_path / "run"), "--json") == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["map"]["levels"] == 1
    assert {"kl", "normalising_constant"} <= told["map"].keys()
    assert told["file"] == str(tmp_path / "run" / "map.png")
    assert "1 of 300 codes repeat others and were left out" in told["notes"]
    assert "1 of 300 codes repeat others and were left out\n" in said.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["map"]["boundary"], config["train"]["seed"], config["model"]["latent_dim"]) == (
        "gaussian",
        3,
        4,
    )
    out = tmp_path / "draws.npy"
    assert latent_atlas("sample", str(tmp_path / "run"), "--count", "5", "--out", str(out)) == 0
    assert np.load(out).shape == (5, 1, 2, 2)


def test_a_map_that_cannot_be_drawn_is_kept(
    two_clusters: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(
        {"means": torch.tensor(two_clusters[:, :1]).bfloat16()}, tmp_path / "line.safetensors"
    )
    assert (
        latent_atlas(
            "fit", str(tmp_path / "line.safetensors"), "--out", str(tmp_path / "run"), *FAST
        )
        == 0
    )
    said = capsys.readouterr()
    assert "the map is not drawn: the three codes lie on one line" in said.err
    assert "E_r[exp l] = " in said.out
    assert "KL(q || prior) about " in said.out
    assert LatentMap.load(tmp_path / "run" / "map.safetensors").dimension == 1


def test_a_run_of_codes_is_travelled_sampled_and_drawn(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trip, draws, picture = (str(tmp_path / name) for name in ("trip.npy", "draws.NPY", "map.png"))
    assert (
        latent_atlas(
            "travel", str(fitted), "test:3", "test:17", "--arrive", "--out", trip, "--json"
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["travel"]["walk"]["distance_left"] == pytest.approx(0, abs=1e-4)
    held_out = Atlas.load(fitted, device="cpu").codes["held_out"].means.numpy()
    points = np.load(trip)
    assert points.shape == (17, 4)
    np.testing.assert_allclose(points[[0, -1]], held_out[[3, 17]], atol=1e-3)
    assert latent_atlas("sample", str(fitted), "--count", "40", "--out", draws) == 0
    drawn = np.load(draws)
    assert drawn.shape == (40, 4)
    assert (
        abs(np.abs(drawn.mean(axis=1)).mean() - 1) < 0.5
    )  # around the two places, not around the prior's mean
    assert latent_atlas("map", str(fitted), "test:0", "test:1", "test:2", "--out", picture) == 0
    assert Path(picture).stat().st_size > 0


@pytest.mark.parametrize("out", [(), ("--out", "x.png"), ("--out", "x.txt")])
@pytest.mark.parametrize("command", [("sample",), ("travel", "test:0", "test:1")])
def test_a_run_of_codes_is_told_that_it_writes_codes(
    fitted: Path,
    command: tuple[str, ...],
    out: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, *places = command
    assert latent_atlas(name, str(fitted), *places, *out) == 2
    assert (
        "without a decoder that could draw images; give --out FILE.npy" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "words",
    [
        ("map", "FITTED", "test:0", "test:1", "photo.png"),
        ("report", "FITTED"),
        ("train", "--out", "FITTED", "--resume"),
    ],
)
def test_a_run_of_codes_has_no_images(
    words: tuple[str, ...], fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"FITTED": str(fitted), "OUT.png": str(tmp_path / "out.png")}
    assert latent_atlas(*(places.get(word, word) for word in words)) == 2
    said = capsys.readouterr()
    assert said.err.startswith(
        "latent-atlas: this run has codes but no decoder and no encoder, so it knows no images;"
    )
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("codes", "words", "sentence"),
    [
        (np.zeros((60, 4), np.int64), (), "codes must be floats; these are int64"),
        (np.full((60, 4), np.nan), (), "60 of 60 codes are not finite, the first at row 0"),
        (np.zeros(60), (), "these have (60,)"),
        (np.zeros((60, 4)), (), "there are 1 different code, and a map needs 30"),
        (
            np.random.default_rng(0).normal(size=(60, 62)),
            (),
            "50 codes cannot show where a population of 62 dimensions is",
        ),
        (
            np.eye(40)[np.arange(600) % 40],
            (),
            "30 codes cannot show where a population of 40 dimensions is",
        ),
        (
            np.random.default_rng(0).normal(size=(60, 3))[:, [0, 1, 2, 0]],
            (),
            "such as numbers 0, 3: they span 3 of 4",
        ),
        (
            np.random.default_rng(0).normal(size=(60, 3)) * [1, 0, 1] + 2,
            (),
            "1 of 3 dimensions are constant, the first is number 1; leave them out",
        ),
        (np.array(["a"] * 60), (), "holds values of type <U1"),
        (np.array([None] * 60), (), "pickled objects are never loaded"),
        (None, (), "there is no file of codes at"),
        (None, ("--boundary", "moat"), "no boundary 'moat'"),
        (None, ("--levels", "0"), "map.levels is 0"),
        (None, ("--steps", "0"), "map.steps is 0"),
        (None, ("--ensemble-size", "0"), "map.ensemble_size is 0"),
        (None, ("--seed", "-1"), "train.seed is -1"),
        (None, ("--device", "abacus"), "there is no device 'abacus' here"),
        (None, ("--set", "map.pace=3"), "section 'map' has no setting 'pace'"),
        (
            None,
            ("--set", "train.steps=3"),
            "trains only a map",
        ),
    ],
)
def test_codes_that_give_no_map_are_one_sentence_and_exit_code_2(
    codes: np.ndarray | None,
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if codes is not None:
        np.save(tmp_path / "codes.npy", codes, allow_pickle=True)
    assert (
        latent_atlas("fit", str(tmp_path / "codes.npy"), "--out", str(tmp_path / "run"), *words)
        == 2
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_fit_does_not_touch_a_run_that_is_there(
    fitted: Path, two_clusters: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "codes.npy", two_clusters)
    before = (fitted / "map.safetensors").read_bytes()
    assert latent_atlas("fit", str(tmp_path / "codes.npy"), "--out", str(fitted)) == 2
    assert "holds a run already; choose another --out" in capsys.readouterr().err
    assert (fitted / "map.safetensors").read_bytes() == before


def test_a_folder_of_codes_is_fitted_by_a_sample(
    two_clusters: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "KEPT", 200)
    random, many = np.random.default_rng(0), np.concatenate([two_clusters, two_clusters + 0.01])
    many = random.permutation(many)
    (tmp_path / "codes").mkdir()
    for i, part in enumerate(np.split(many, 3)):
        arrays = {
            "means": part.astype(np.float16),
            "log_variances": np.full(part.shape, -4, np.float16),
            "digests": random.integers(0, 256, (len(part), 16), np.uint8),
            "labels": (part.mean(axis=1) > 0).astype(np.int64),
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        save_file(tensors, tmp_path / "codes" / f"shard-{i:05d}.safetensors")
    (tmp_path / "codes" / "manifest.json").write_text('{"label_names": ["left", "right"]}')
    run = tmp_path / "run"
    assert latent_atlas("fit", str(tmp_path / "codes"), "--out", str(run), *FAST) == 0
    about = json.loads((run / "manifest.json").read_text())
    assert (about["n"], about["n_train"] + about["n_held_out"]) == (600, 600)
    assert about["fitted_to"] == {"train": about["n_train"], "held_out": about["n_held_out"]}
    assert about["path"] == str(tmp_path / "codes")
    atlas = Atlas.load(run, device="cpu")
    train, labels = atlas.codes["train"], atlas.labels["train"]
    assert len(train) + len(atlas.codes["held_out"]) == 200
    assert atlas.population == {"train": about["n_train"], "held_out": about["n_held_out"]}
    assert train.means.dtype == torch.float32
    assert torch.equal(labels == 1, train.means.mean(dim=1) > 0)
    assert atlas.label_names == ("left", "right")
    assert len(atlas.neighbours(train.means[0], 3).rows[0]) == 3
    assert atlas.map.log_prob(train.means).mean() > atlas.map.log_prob(train.means + 3).mean() + 1
    assert atlas.anomaly(many[:5]).p_value.shape == (5,)
    assert latent_atlas("travel", str(run), "test:0", "test:1", "--out", str(run / "path.npy")) == 0
    # The explorer counts all codes, as long as their files are there.
    plane, window = Plane(torch.zeros(4), torch.eye(4)[:2]), Window(-9.0, 9.0, -9.0, 9.0)
    found = rasters(atlas, 10_000, about, lambda: None)
    for part, total in atlas.population.items():
        assert int(found[part].counts(plane, window, 5).sum()) == total == found[part].total
    means = torch.from_numpy(many.astype(np.float16)).float()
    right = Window(0.0, 9.0, -9.0, 9.0)
    counted = sum(int(one.counts(plane, right, 7).sum()) for one in found.values())
    assert counted == int((means[:, 0] >= 0).sum())
    (tmp_path / "codes").rename(tmp_path / "elsewhere")
    assert rasters(atlas, 10_000, about, lambda: None) == {}
