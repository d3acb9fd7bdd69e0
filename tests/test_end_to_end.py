"""From a folder of mixed files to pictures, a page and a journey, through the commands a user types."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas import Atlas
from latent_atlas.cli import plan
from latent_atlas.config.presets import PRESETS, quick
from latent_atlas.device import bf16_speedup
from latent_atlas.errors import UserError
from latent_atlas.evaluation import COMPARED
from latent_atlas.runs import read_tensors, write_tensors
from latent_atlas.training import estimate
from runs import quick_gallery

PICTURES = ("reconstructions.png", "samples.png", "map.png", "travel.png", "geometry.png")
SMALL = (
    "model.width=4 model.discriminator_width=4 model.latent_dim=3 train.steps=40 train.batch_size=16 "
    "train.adversarial_start=10 train.log_every=10 map.steps=60 map.width=16 map.check_every=20"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 images of two kinds in two sub-folders, and two files that are not what they say."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(90):
        kind, suffix = ("left", "jpg") if index % 2 else ("right", "png")
        pixels = random.integers(0, 60, (20, 26, 3), dtype=np.uint8)
        pixels[4:16, (3 if index % 2 else 14) :][:, :9] += np.uint8(150)
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{index:03d}.{suffix}")
    (folder / "left" / "broken.jpg").write_bytes(b"no image")
    (folder / "right" / "empty.png").touch()
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "photos"
    settings = [word for setting in SMALL.split() for word in ("--set", setting)]
    words = ("train", str(photos), "--out", str(out), "--image-size", "12", *settings)
    with quick_gallery():
        assert latent_atlas(*words) == 0
    return out


def test_training_on_a_folder_leaves_everything_to_look_at(run: Path) -> None:
    for name in (*PICTURES, "report.html", "metrics.json", "config.json", "log.jsonl"):
        assert (run / name).stat().st_size > 0, name
    rejects = [
        json.loads(line)["path"] for line in (run / "rejects.jsonl").read_text().splitlines()
    ]
    assert sorted(rejects) == ["left/broken.jpg", "right/empty.png"]


def test_metrics_hold_every_planner(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics["travel"]) == list(COMPARED)
    assert metrics["travel"]["linear"]["length_ratio"] == pytest.approx(1)
    assert metrics["travel"]["walk, arriving"]["distance_left"] == pytest.approx(0, abs=1e-4)
    assert metrics["travel"]["geodesic"]["distance_left"] == 0
    assert 0 < metrics["reconstruction"]["mse"] < 1
    assert metrics["geometry"]["condition"]["value"] >= 1


def test_travel_between_two_files_draws_and_tells(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, out = photos / "left" / "001.jpg", photos / "right" / "002.png", tmp_path / "trip.png"
    words = (
        "travel",
        str(run),
        str(a),
        str(b),
        "--arrive",
        "--frames",
        "5",
        "--out",
        str(out),
        "--json",
    )
    assert latent_atlas(*words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["travel"]["walk"]["distance_left"] == pytest.approx(0, abs=1e-4)
    with Image.open(out) as picture:
        assert picture.size[0] > 500


def test_places_can_be_held_out_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.png"
    assert latent_atlas("map", str(run), "test:0", "test:1", "test:2", "--out", str(out)) == 0
    assert "KL(q || r)" in capsys.readouterr().out
    assert out.is_file()


def test_samples_are_drawn(run: Path, tmp_path: Path) -> None:
    assert latent_atlas("sample", str(run), "--count", "9", "--out", str(tmp_path / "s.png")) == 0
    assert (tmp_path / "s.png").is_file()


def test_a_finished_run_is_only_drawn_again(run: Path) -> None:
    before = (run / "state.safetensors").stat().st_mtime_ns
    (run / "samples.png").unlink()
    with quick_gallery():
        assert latent_atlas("train", "--out", str(run), "--resume") == 0
    assert (run / "samples.png").is_file()
    assert (run / "state.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train", "nowhere", "--out", "OUT"), "nowhere"),
        (("train", "digits", "--out", "RUN"), "holds a run already"),
        (("train", "digits", "--out", "OUT", "--preset", "doodles"), "no preset 'doodles'"),
        (
            ("train", "digits", "--out", "OUT", "--mode", "third"),
            "train.mode is 'third'; choose separate",
        ),
        (
            ("train", "digits", "--out", "OUT", "--set", "train.pace=3"),
            "section 'train' has no setting 'pace'",
        ),
        (
            ("train", "digits", "--out", "OUT", "--device", "abacus"),
            "there is no device 'abacus' here",
        ),
        (
            (
                "train",
                "digits",
                "--out",
                "OUT",
                "--steps",
                "100",
                "--set",
                "train.adversarial_start=300",
            ),
            "to below train.steps (100)",
        ),
        (("train", "digits", "--out", "OUT", "--set", "map.boundary=moat"), "no boundary 'moat'"),
        (("train", "--out", "OUT"), "no SOURCE was given"),
        (("train", "--out", "RUN", "--resume", "--steps", "9"), "leave out --steps"),
        (
            ("train", "--out", "RUN", "--resume", "--set", "train.steps=1"),
            "leave out --set train.steps=1",
        ),
        (("travel", "nowhere", "test:0", "test:1"), "nowhere holds no run"),
        (("travel", "RUN", "test:1", "test:1"), "the same code"),
        (("travel", "RUN", "test:0", "test:999"), "choose test:0 to test:"),
        (("travel", "RUN", "test:0", "test:1", "--planner", "hop"), "no planner 'hop'"),
        (("travel", "RUN", "test:0", "absent.png"), "absent.png"),
        (("travel", "RUN", "test:0", "test:1", "--out", "trip.bmp"), "not a .png"),
        (("sample", "RUN", "--sampler", "wish"), "no sampler 'wish'"),
        (("map", "RUN", "test:0"), "three images span a plane, and the command names 1"),
        (("map", "RUN", "test:0", "test:1", "test:0"), "one line"),
    ],
)
def test_a_user_s_mistake_is_one_sentence_and_exit_code_2(
    words: tuple[str, ...],
    sentence: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    assert latent_atlas(*(places.get(word, word) for word in words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "out" / "config.json").exists()


def test_unknown_words_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert latent_atlas("travel", "run") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_dry_run_tells_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert (
        latent_atlas("train", "digits", "--out", str(out), "--steps", "700", "--dry-run", "--json")
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["train"]["steps"] == 700
    assert told["config"]["model"]["image_size"] == 8
    assert set(told["parameters"]) == {
        "encoder",
        "decoder",
        "image_discriminator",
        "latent_discriminator",
    }
    assert told["training_bytes"] > 0
    assert told["free_bytes"] is None or told["free_bytes"] > 0
    assert told["training_seconds"] > 0
    assert told["images"]["images"] == 1797
    assert told["images"]["train"] + told["images"]["held_out"] == 1797
    assert sum(told["images"]["classes"].values()) == 1797
    assert told["images"]["bytes"] == 1797 * 8 * 8
    assert told["rejects"] == []
    assert not out.exists()


def test_steps_that_are_set_bring_the_adversarial_start_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "digits", "--quick", "--out", str(tmp_path / "run"), "--dry-run", "--json")
    for steps in (("--steps", "60"), ("--set", "train.steps=60")):
        assert latent_atlas(*words, *steps) == 0
        config = json.loads(capsys.readouterr().out)["config"]
        told = config["train"]
        assert (told["steps"], told["adversarial_start"], told["kl_warmup"]) == (60, 20, 20)
        assert config["map"]["steps"] == 100


def test_a_preset_with_matched_features_trains_without_d_x(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "estimated_seconds", lambda *_: 1.0)
    words = ("train", "glyphs", "--quick", "--out", str(tmp_path / "run"), "--dry-run", "--json")
    assert PRESETS["glyphs"].train.feature_matching > 0
    assert latent_atlas(*words, "--set", "train.adversarial=none") == 0
    assert json.loads(capsys.readouterr().out)["config"]["train"]["feature_matching"] == 0
    both = ("--set", "train.adversarial=none", "--set", "train.feature_matching=1")
    assert latent_atlas(*words, *both) == 2
    assert "train.feature_matching is 1.0, but train.adversarial is none" in capsys.readouterr().err


def test_a_long_or_large_training_is_told_what_is_smaller() -> None:
    long = PRESETS["fashion-mnist"]
    assert plan._shorter(9e3, long) == ["--quick trains a smaller model in minutes"]
    assert plan._shorter(9e1, long) == plan._shorter(9e3, quick(long)) == []
    assert "8 MiB (cpu)" in plan._memory_in_words(2**20, 2**23, "cpu")[0]
    assert "more memory than is free" in plan._memory_in_words(2**24, 2**23, "cpu")[1]


@pytest.mark.parametrize("command", [("train", "nowhere", "--out", "x"), ("sample", "nowhere")])
def test_a_device_is_refused_before_anything_is_read(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas(*command, "--device", "gpu") == 2
    assert "there is no device 'gpu' here; choose auto, cpu" in capsys.readouterr().err


def test_a_folder_gets_the_preset_of_its_size_and_without_a_gpu_or_quick_a_smaller_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "estimated_seconds", lambda *_: 1.0)  # no step at 64 pixels
    for i in range(100):
        Image.new("RGB", (120, 100), (200, i, 0)).save(tmp_path / f"photo{i}.png")
    configs = []
    for flags in (("--preset", "64px"), (), ("--quick",), ("--quick", "--steps", "3000")):
        assert (
            latent_atlas(
                "train",
                str(tmp_path),
                "--out",
                str(tmp_path / "run"),
                "--dry-run",
                "--json",
                *("--device", "cpu"),
                *flags,
            )
            == 0
        )
        told = capsys.readouterr()
        assert ("--preset 64px trains the one for a GPU" in told.err) == (not flags)
        plan = json.loads(told.out)
        configs.append(plan["config"])
        shortened = any("150 passes" in note for note in plan["notes"])
        assert shortened == (flags in ((), ("--quick",)))
    models = [config["model"] for config in configs]
    assert [model["image_size"] for model in models] == [64, 64, 32, 32]
    assert [model["width"] for model in models] == [PRESETS["64px"].model.width, 32, 32, 32]
    few = 150 * plan["images"]["train"] // 16
    steps = [config["train"]["steps"] for config in configs]
    assert steps == [PRESETS["64px"].train.steps, few, few, 3_000]


def test_few_images_end_the_run_after_so_many_passes(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL.split(), "train.passes=2", "train.batch_size=200", "map.steps=30"]
    settings = [word for setting in words for word in ("--set", setting)]
    with quick_gallery():
        out = ("--out", str(tmp_path / "run"))
        command = ("train", str(photos), *out, "--image-size", "12", *settings)
        assert latent_atlas(*command) == 0
    # All of them are one batch: a step is a pass.
    assert "the networks take 2 steps, 2 passes over the images" in capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["train"]["steps"], config["train"]["passes"]) == (2, 2)
    assert config["map"]["steps"] == 30
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert max(r["step"] for r in records if r["phase"] == "model") == 2


@pytest.mark.parametrize(("given", "kept"), [(None, "10000"), ("77", "77")])
def test_waiting_threads_spin_for_so_long_as_is_set(
    given: str | None, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", given or "")
    if given is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    assert latent_atlas("--version") == 0
    assert os.environ["GOMP_SPINCOUNT"] == kept


@pytest.mark.parametrize("command", ["train", "serve", "report"])
def test_help_imports_no_torch(command: str) -> None:
    code = (
        "import sys; from latent_atlas.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'fastapi', 'uvicorn', 'onnx'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: latent-atlas {command}")


def test_doctor_names_versions_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert latent_atlas("doctor", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["torch"] == torch.__version__ or torch.__version__.startswith(
        facts["torch"] + "+"  # packages of the registry leave out the build
    )
    assert "cpu" in facts["devices"]
    assert facts["extra serve"] is True  # the tests need it
    assert "extra dev" not in facts


def test_doctor_measures_what_auto_decides_by(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rate(device: torch.device, dtype: torch.dtype, *size: int) -> float:
        return len(size) + (6e9 if dtype == torch.bfloat16 else 1e9)

    monkeypatch.setattr("latent_atlas.device.convolution_rate", rate)
    monkeypatch.setattr("latent_atlas.device.matmul_rate", rate)
    monkeypatch.setattr(
        "latent_atlas.training.estimate.images_per_second",
        lambda config: config.model.width * config.train.batch_size,
    )
    bf16_speedup.cache_clear()
    try:
        assert latent_atlas("doctor", "--speed", "--json") == 0
    finally:
        bf16_speedup.cache_clear()
    told = json.loads(capsys.readouterr().out)
    assert told["gigaflops"]["matrix product"] == {"float32": 1.0, "bf16": 6.0}
    assert told["bf16_speedup"] == pytest.approx(6)
    assert told["precision"] == "bf16"
    assert told["images_per_second"]["--quick, batches of 16"] == 32 * 16


@pytest.fixture(scope="module")
def atlas(run: Path) -> Atlas:
    return Atlas.load(run, device="cpu")


def test_atlas_travels_between_images_and_codes_alike(atlas: Atlas) -> None:
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    by_images = atlas.travel(images[0], images[1], frames=4)
    codes = atlas.encode(images)
    by_codes = atlas.travel(codes[0], codes[1], frames=4)
    torch.testing.assert_close(by_images.points, by_codes.points)
    assert by_images.points.shape == (4, 1, 3)
    assert by_images.strip().shape == (4, 3, 12, 12)
    batched = atlas.travel(codes, codes.flip(0), "linear", frames=6)
    assert batched.points.shape == (6, 2, 3)
    torch.testing.assert_close(batched.strip(1)[0], atlas.decode(codes[1])[0])


def test_atlas_samples_repeat_under_a_generator(atlas: Atlas) -> None:
    first, second = (atlas.sample(3, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (3, 3, 12, 12)
    assert atlas.sample(2).shape == (2, 3, 12, 12)


def test_an_atlas_loaded_in_inference_mode_still_has_a_score(run: Path) -> None:
    with torch.inference_mode():
        atlas = Atlas.load(run, device="cpu")
        score = atlas.map.score(atlas.codes["held_out"].means)
    assert score.isfinite().all()
    assert score.abs().sum() > 0


def test_a_model_of_another_version_is_one_sentence(run: Path, tmp_path: Path) -> None:
    older = shutil.copytree(run, tmp_path / "older")
    tensors, _ = read_tensors(older / "model.safetensors")
    write_tensors(older / "model.safetensors", {name: tensors[name] for name in list(tensors)[1:]})
    with pytest.raises(UserError, match="damaged or of another version"):
        Atlas.load(older, device="cpu")


def test_bytes_are_images_too(atlas: Atlas) -> None:
    pixels = torch.randint(
        0, 256, (2, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(atlas.encode(pixels), atlas.encode(pixels.float() / 255))


def test_images_and_codes_of_another_shape_are_refused(atlas: Atlas) -> None:
    with pytest.raises(UserError, match=r"images must have shape \(n, 3, 12, 12\)"):
        atlas.encode(torch.zeros(1, 1, 12, 12))
    with pytest.raises(UserError, match="codes must have 3 coordinates; these have 4"):
        atlas.decode(torch.zeros(4))


def test_codes_of_images_can_be_written_as_well(run: Path, tmp_path: Path) -> None:
    assert (
        latent_atlas(
            "travel",
            str(run),
            "test:0",
            "test:1",
            "--frames",
            "5",
            "--out",
            str(tmp_path / "t.npy"),
        )
        == 0
    )
    assert np.load(tmp_path / "t.npy").shape == (5, 3)
