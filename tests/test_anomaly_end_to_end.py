"""Anomaly scores by a trained model: the command, the atlas, any autoencoder, runs of codes."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.codes.files import collect
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config, TrainConfig
from latent_atlas.data.adhoc import read_images
from latent_atlas.data.decode import Square
from latent_atlas.data.load import load_images
from latent_atlas.errors import UserError
from latent_atlas.runs import Run
from latent_atlas.training.codes_run import fit
from runs import trained

SMALL = (
    "model.width=8 model.discriminator_width=4 model.latent_dim=6 train.steps=80 "
    "train.batch_size=32 train.device=cpu train.adversarial=none data.held_out=0.3 map.steps=60 "
    "map.levels=1 map.width=16 map.check_every=20"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on handwritten digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    trained(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def atlas(run: Path) -> Atlas:
    return Atlas.load(run, device="cpu")


@pytest.fixture(scope="module")
def held_out(atlas: Atlas) -> Tensor:
    """The images that the run has held out, as bytes."""
    return load_images(atlas.config.data, 8, 1).test.images


@pytest.fixture(scope="module")
def folder(held_out: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten digits, a blank image, a noisy one, and a file that is no image."""
    where = tmp_path_factory.mktemp("to_score")
    images = {f"digit{i}": held_out[i, 0].numpy() for i in range(10)}
    images["noise"] = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    images["blank"] = np.zeros((8, 8), np.uint8)
    for name, pixels in images.items():
        Image.fromarray(pixels).save(where / f"{name}.png")
    (where / "broken.png").write_bytes(b"no image")
    return where


def test_a_run_keeps_the_errors_of_its_held_out_images(atlas: Atlas, held_out: Tensor) -> None:
    images = held_out.float() / 255
    rebuilt = atlas.decode(atlas.encode(images))
    assert atlas.errors is not None
    torch.testing.assert_close(
        atlas.errors[:, 0], (rebuilt - images).square().mean(dim=(1, 2, 3)), atol=1e-6, rtol=1e-3
    )


def test_without_images_a_run_ranks_those_that_it_held_out(
    run: Path, atlas: Atlas, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own.json"
    assert latent_atlas("anomalies", str(run), "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    order = atlas.map.log_prob(atlas.codes["held_out"].means).argsort().tolist()
    assert told["rarest"] == [f"test:{row}" for row in order[:5]]
    assert told["most_typical"] == [f"test:{row}" for row in order[::-1][:5]]
    assert [row["name"] for row in json.loads(out.read_text())["rows"]] == [
        f"test:{row}" for row in order
    ]
    assert Path(told["picture"]).stat().st_size > 0


def test_what_a_run_has_kept_scores_as_its_held_out_images_do(
    atlas: Atlas, held_out: Tensor
) -> None:
    kept, given = atlas.anomaly(held_out[:40]), atlas.anomaly(held_out[:40], held_out=held_out)
    np.testing.assert_allclose(kept.anomaly_score, given.anomaly_score, rtol=1e-2)
    assert kept.calibrated_on == given.calibrated_on == len(held_out) - len(held_out) // 2
    np.testing.assert_allclose(kept.membership, given.membership, atol=0.05)


def test_blank_noisy_and_inverted_images_are_outliers_and_real_ones_are_not(
    atlas: Atlas, held_out: Tensor
) -> None:
    noise = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    blank = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 1, 8, 8)
    assert atlas.anomaly(noise).is_outlier.mean() > 0.95
    assert atlas.anomaly(blank).is_outlier.mean() >= 0.8
    assert atlas.anomaly(255 - held_out).is_outlier.mean() > 0.95
    assert atlas.anomaly(held_out).is_outlier.mean() < 0.1


def test_a_command_scores_a_folder(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "anomalies.csv"
    assert (
        latent_atlas(
            "anomalies",
            str(run),
            str(folder),
            "--out",
            str(out),
            "--false-alarm-rate",
            "0.1",
            "--json",
        )
        == 0
    )
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert "broken.png is left out: " in said.err
    assert [reject["path"] for reject in told["rejects"]] == ["broken.png"]
    assert (told["images"], told["false_alarm_rate"]) == (12, 0.1)
    with out.open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 12
    assert rows["noise.png"]["is_outlier"] == "True"
    assert sum(row["is_outlier"] == "True" for row in rows.values()) == told["outliers"]
    assert all(
        (float(row["p_value"]) <= 0.1) == (row["is_outlier"] == "True") for row in rows.values()
    )
    members = [name for name in rows["noise.png"] if name.startswith("membership")]
    assert members[0] == "membership"
    assert "membership: distance from the mean" in members
    assert all(0 <= float(row[name]) <= 1 for row in rows.values() for name in members)
    assert told["most_anomalous"][0] == max(
        rows, key=lambda name: float(rows[name]["anomaly_score"])
    )
    with Image.open(told["picture"]) as picture:
        assert Path(told["picture"]) == tmp_path / "anomalies.png"
        assert picture.size[0] > 500


def test_images_that_the_run_was_made_from_are_told(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "these images belong to those that the run was made from"
    words = ("--out", str(tmp_path / "a.csv"))
    assert latent_atlas("anomalies", str(run), str(folder), *words) == 0
    assert sentence not in capsys.readouterr().err
    assert latent_atlas("pack", "digits", str(tmp_path / "packed")) == 0
    for source in ("digits", str(tmp_path / "packed")):
        assert latent_atlas("anomalies", str(run), source, *words) == 0
        said = capsys.readouterr().err
        assert sentence in said
        made_of = Run(run).read_json("manifest.json") or {}
        assert f"trained on {made_of['n_train']:,} of {made_of['n']:,}" in said


def test_images_beyond_the_memory_are_refused(
    run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("latent_atlas.data.adhoc.free_memory", lambda device: 1_000)
    assert latent_atlas("anomalies", str(run), str(folder)) == 2
    said = capsys.readouterr().err
    assert "13 images of" in said
    assert f"anomalies RUN {folder} --out FOLDER` scores them shard by shard" in said


def test_a_command_takes_files_in_any_order_and_writes_json(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(folder / "noise.png"), str(folder / "digit3.png")]
    out = tmp_path / "anomalies.json"
    assert latent_atlas("anomalies", str(run), *files, "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert (
        "of 2 images are outliers: their p-value is at most 0.05, as for at most 5 % of real images"
        in said
    )
    table = json.loads(out.read_text())
    assert [row["name"] for row in table["rows"]] == files


def test_a_run_of_an_older_version_reads_its_held_out_images_again(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    tensors = load_file(old / "codes.safetensors")
    tensors["held_out.errors"] = tensors.pop("held_out.reconstruction_errors")[:, 0].contiguous()
    save_file(tensors, old / "codes.safetensors")
    tables = []
    for where in (run, old):
        assert (
            latent_atlas(
                "anomalies", str(where), str(folder), "--out", str(tmp_path / f"{where.name}.json")
            )
            == 0
        )
        tables.append(json.loads((tmp_path / f"{where.name}.json").read_text())["rows"])
    assert "this run was written by an older version" in capsys.readouterr().err
    assert [row["is_outlier"] for row in tables[0]] == [row["is_outlier"] for row in tables[1]]
    with pytest.raises(
        UserError, match=r"reconstruction errors of its held-out images.*give held_out="
    ):
        Atlas.load(old, device="cpu").anomaly(torch.zeros(1, 1, 8, 8))


def test_samples_are_compared_with_the_training_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s.csv"
    assert latent_atlas("anomalies", str(run), "--samples", "60", "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)["memorisation"]
    assert told["verdict"].startswith("no sign that samples copy training images")
    assert 0 <= told["share"] < 0.2
    assert Path(told["picture"]) == tmp_path / "s-nearest.png"
    assert Path(told["picture"]).is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere",), "no images at 'nowhere'"),
        (("FOLDER/broken.png",), "none of 1 image can be decoded, for instance"),
        (
            ("FOLDER", "--false-alarm-rate", "5"),
            "the false-alarm rate is 5.0; choose a share between 0 and 1",
        ),
        (("FOLDER", "--out", "anomalies.txt"), "anomalies.txt is not a .csv or .json file"),
        (("FOLDER", "--out", "no/such/anomalies.csv"), "the folder no/such does not exist"),
        (
            ("FOLDER", "--held-out", "FOLDER/digit1.png"),
            "and there are 1; give at least 4",
        ),
        (("--samples", "0"), "--samples is 0; choose 1 or more"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    run: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        latent_atlas(
            "anomalies", str(run), *(word.replace("FOLDER", str(folder)) for word in words)
        )
        == 2
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err.splitlines()[-1]
    assert "Traceback" not in said.err


def test_neighbours_are_real_images_by_part(atlas: Atlas, held_out: Tensor) -> None:
    found = atlas.neighbours(held_out[:5], 3, part="held_out")
    assert found.rows.shape == found.distances.shape == (5, 3)
    assert found.rows[:, 0].tolist() == list(range(5))
    torch.testing.assert_close(found.distances[:, 0], torch.zeros(5), atol=1e-3, rtol=0)
    training = atlas.neighbours(atlas.codes["train"].means[7])
    assert training.rows.shape == (1, 8)
    assert training.rows[0, 0] == 7
    with pytest.raises(UserError, match="there is no part 'test'; choose 'train' or 'held_out'"):
        atlas.neighbours(held_out[:1], part="test")


def test_images_of_another_size_are_refused(atlas: Atlas) -> None:
    with pytest.raises(
        UserError, match=r"images must have shape \(n, 1, 8, 8\); these have \(2, 1, 9, 9\)"
    ):
        atlas.anomaly(torch.zeros(2, 1, 9, 9))


def test_codes_are_scored_by_their_place_alone(atlas: Atlas) -> None:
    codes = atlas.codes["held_out"].means
    real, far = atlas.anomaly(codes), atlas.anomaly(codes + 10)
    assert real.error is None
    assert real.is_outlier.mean() < 0.1
    assert far.is_outlier.all()
    assert set(real.rows()[0]) == {
        *("name", "anomaly_score", "p_value", "is_outlier", "rarity", "excess_distance"),
        *("log_prob", "typicality", "realness", "membership"),
        *(f"membership: {name}" for name in atlas.membership.names),
    }
    assert (far.membership == 0).all()  # farther from the mean than any real code
    assert (real.membership < 0.05).mean() < 0.1
    assert (far.membership_parts["distance from the mean"] == 0).all()


def test_a_run_of_codes_scores_a_file_of_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    codes = random.normal(size=(400, 3)).astype(np.float32)
    config = Config(
        map=MapConfig(steps=60, width=16, check_every=20), train=TrainConfig(device="cpu")
    )
    folder = Run(tmp_path / "run")
    folder.claim()
    fit(collect(torch.from_numpy(codes)), config, folder, log=lambda entry: None)
    run = str(folder.path)
    np.save(tmp_path / "new.npy", np.concatenate([codes[:50], codes[:5] + 20]))
    assert (
        latent_atlas(
            "anomalies", run, str(tmp_path / "new.npy"), "--false-alarm-rate", "0.1", "--json"
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert set(told["most_anomalous"]) == {f"row:{i}" for i in range(50, 55)}
    assert told["images"] == 55
    assert latent_atlas("anomalies", run, "a.npy", "b.npy") == 2
    assert "give one file of codes, not 2" in capsys.readouterr().err
    assert latent_atlas("anomalies", run, "--samples", "5") == 2
    assert "this run has codes but no decoder" in capsys.readouterr().err


class Halves:
    """An autoencoder of the left half of 8 x 8 pixels, whose right half is the mirror image."""

    def encode(self, images: Tensor) -> Tensor:
        return images[..., ::2, :4].flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        half = codes.unflatten(1, (1, 4, 4)).repeat_interleave(2, dim=2)
        return torch.cat([half, half.flip(3)], dim=3)


def test_anyone_s_autoencoder_scores_by_the_images_that_were_held_out() -> None:
    # Real images are symmetric; their left halves say nothing of an image that is not.
    generator = torch.Generator().manual_seed(0)

    def symmetric(n: int) -> Tensor:
        half = torch.rand(n, 1, 4, 4, generator=generator).repeat_interleave(2, dim=2)
        whole = torch.cat([half, half.flip(3)], dim=3)
        return (whole + 0.02 * torch.randn(whole.shape, generator=generator)).clamp(0, 1)

    images = symmetric(600)
    atlas = Atlas.wrap(
        Halves(), images=images, boundary="gaussian", steps=60, width=16, generator=generator
    )
    real, torn = symmetric(200), symmetric(200)
    torn[..., 4:] = torn[..., 4:].roll(1, dims=0)
    found = atlas.anomaly(torn)
    assert found.width is None
    assert found.is_outlier.mean() > 0.95
    assert (
        atlas.anomaly(torn[..., :4].repeat(1, 1, 1, 2)[..., ::2, :4].flatten(1)).is_outlier.mean()
        < 0.3
    )
    assert atlas.anomaly(real).is_outlier.mean() < 0.2
    assert atlas.errors is not None
    assert len(atlas.errors) == len(atlas.codes["held_out"]) == 60


def test_images_are_read_from_files_folders_and_sets_alike(folder: Path) -> None:
    progress: list[tuple[int, int, int]] = []
    file = str(folder / "digit1.png")
    read = read_images(
        [file, str(folder), "digits"],
        Square(8, 1),
        progress=lambda *numbers: progress.append(numbers),
    )
    assert len(read) == 1 + 12 + 1797
    assert read.names[0] == file
    assert read.names[13] == "row:0"
    assert torch.equal(read.images[0], read.images[1 + read.names[1:].index(file)])
    assert [reject.path for reject in read.rejects] == ["broken.png"]
    assert progress[-1] == (1797, 1797, 0)
    assert read.held_out.all()


def test_other_images_than_those_of_the_run_are_not_taken_for_its_own(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    manifest = json.loads((other / "manifest.json").read_text())
    del manifest["checksum"]
    (other / "manifest.json").write_text(json.dumps(manifest | {"digest": "another"}))
    assert latent_atlas("anomalies", str(other), "--samples", "5") == 2
    assert (
        "'digits' does not have the images that the run was trained on; restore them"
        in capsys.readouterr().err
    )
