"""Runs: resumed exactly whatever ended them, stopped by a sentence where a loss is not finite."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import latent_atlas
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config, DataConfig, ModelConfig, TrainConfig
from latent_atlas.data.imageset import ImageSet
from latent_atlas.data.load import load_images
from latent_atlas.errors import UserError
from latent_atlas.runs import Run, read_tensors, write_tensors
from latent_atlas.training import estimate
from latent_atlas.training.estimate import estimated_seconds, images_per_second
from latent_atlas.training.history import Diverged
from latent_atlas.training.loop import train

TINY = Config(
    data=DataConfig(held_out=0.2),
    model=ModelConfig(image_size=8, channels=1, latent_dim=2, width=4, discriminator_width=4),
    train=TrainConfig(
        steps=30,
        batch_size=16,
        log_every=7,
        checkpoint_every=10,
        adversarial_start=5,
        kl_warmup=5,
        device="cpu",
    ),
    map=MapConfig(width=8, depth=1, steps=20, check_every=10, batch_size=64, levels=1),
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images of blobs, as a .npy file."""
    place = np.random.default_rng(0).uniform(1.5, 5.5, (120, 2, 1, 1))
    grid = np.mgrid[:8, :8]
    images = np.exp(-((grid[None] - place) ** 2).sum(axis=1) / 3)
    path = tmp_path_factory.mktemp("images") / "blobs.npy"
    np.save(path, (255 * images).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def blobs(archive: Path) -> ImageSet:
    return load_images(replace(TINY.data, source=str(archive)), 8, 1)


def run_of(path: Path, config: Config = TINY) -> Run:
    run = Run(path)
    run.claim()
    run.begin(config)
    return run


def losses(run: Run) -> list[list[tuple[str, Any]]]:
    """The log as it is written, without its speeds, which depend on the machine."""
    return [
        [(k, v) for k, v in record.items() if k != "images_per_second"] for record in run.records()
    ]


def silent(entry: dict[str, Any]) -> None:
    del entry


def assert_same_run(one: Run, other: Run) -> None:
    for name in ("model.safetensors", "map.safetensors", "codes.safetensors", "state.safetensors"):
        first, second = read_tensors(one.file(name))[0], read_tensors(other.file(name))[0]
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
    assert losses(one) == losses(other)


def test_a_run_keeps_the_precision_that_it_began_with(
    blobs: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TINY, train=replace(TINY.train, steps=7))
    run = run_of(tmp_path / "run", config)
    for speedup in (9.0, 0.1):  # it goes on on a machine that has no fast bfloat16
        monkeypatch.setattr("latent_atlas.device.bf16_speedup", lambda device, s=speedup: s)
        train(blobs, config, run, log=silent, resume=speedup < 1)
        assert run.config().train.precision == "bf16"


def test_time_is_estimated_before_it_is_spent(blobs: ImageSet) -> None:
    assert images_per_second(TINY) > 0
    assert estimated_seconds(blobs.train.images, TINY) > 0
    assert estimated_seconds(blobs.train.images, TINY, done=TINY.train.steps) == 0


def test_a_small_batch_is_timed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    # A step has costs that do not grow with its images: a part of 16 would tell too long a time.
    images = torch.zeros(16, 1, 64, 64, dtype=torch.uint8)
    model = replace(TINY.model, image_size=64, channels=1)
    config = replace(TINY, model=model, train=replace(TINY.train, batch_size=16))
    assert estimate._Stopwatch(images, config).share == 1
    monkeypatch.setattr(estimate, "TIMED_PIXELS", 4 * 64**2)
    assert estimate._Stopwatch(images, config).share == 1 / 4


class Interruption(Exception):
    """Stands for whatever ends a process between two steps."""


VARIANTS = {
    "separate": {},
    "online, balanced, spectral": {
        "train": {"mode": "online", "balance": True},
        "model": {"spectral_norm": True},
    },
    "adversarial, features": {"train": {"mode": "adversarial", "feature_matching": 0.1}},
    "isometry": {"train": {"isometry": 0.05}},
    "bfloat16": {"train": {"precision": "bf16"}},
}
# Deaths while a file is written: the first checkpoint, the second, the model, the codes. Only a checkpoint holds
# what is a variant's own, and only where D_z learns afterwards there is more to do after the model than to write.
DEATHS = [(name, 3) for name in VARIANTS] + [
    ("separate", 2),
    ("separate", 4),
    ("separate", 5),
    ("online, balanced, spectral", 4),
]


def config_of(variant: str) -> Config:
    config = TINY
    for section, changes in VARIANTS[variant].items():
        config = replace(config, **{section: replace(getattr(config, section), **changes)})
    return config


@pytest.fixture(scope="module")
def uninterrupted(
    blobs: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Run]:
    """The run of a variant that nothing stopped."""

    @cache
    def whole(variant: str) -> Run:
        run = run_of(tmp_path_factory.mktemp("runs") / "whole", config_of(variant))
        train(blobs, config_of(variant), run, log=silent)
        return run

    return whole


def replace_writer(monkeypatch: pytest.MonkeyPatch, writer: Callable[..., None]) -> None:
    """Let `writer` write the tensors of every file of a run but the map."""
    for module in ("loop", "history", "run_files"):
        monkeypatch.setattr(f"latent_atlas.training.{module}.write_tensors", writer)


@pytest.mark.parametrize(
    ("variant", "mode"), list(zip(VARIANTS, ["separate", "online", "adversarial"], strict=False))
)
def test_every_mode_leaves_a_whole_run(
    variant: str, mode: str, uninterrupted: Callable[[str], Run]
) -> None:
    run = uninterrupted(variant)
    assert run.config().train.mode == mode
    names = {"config.json", "manifest.json", "log.jsonl"}
    names |= {f"{n}.safetensors" for n in ("state", "model", "map", "codes", "examples")}
    assert names == {file.name for file in run.path.iterdir()}
    records = run.records()
    assert [r["step"] for r in records if r["phase"] == "model"] == [7, 14, 21, 28, 30]
    assert ("latent_discriminator" in records[0]) == (mode != "separate")
    assert any(r["phase"] == "map" for r in records) == (mode == "separate")


@pytest.mark.parametrize(("variant", "last"), DEATHS)
def test_a_run_that_died_anywhere_resumes_exactly(
    variant: str,
    last: int,
    blobs: ImageSet,
    uninterrupted: Callable[[str], Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, written = config_of(variant), 0
    broken = run_of(tmp_path / "broken", config)

    def die(path: Path, *rest: Any) -> None:
        nonlocal written
        written += 1
        if written == last:
            raise Interruption
        write_tensors(path, *rest)

    replace_writer(monkeypatch, die)
    with pytest.raises(Interruption):
        train(blobs, config, broken, log=silent)
    monkeypatch.undo()
    train(blobs, config, broken, log=silent, resume=True)
    assert_same_run(uninterrupted(variant), broken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_command_stopped_between_two_records_says_so_and_resumes_exactly(
    number: signal.Signals,
    archive: Path,
    blobs: ImageSet,
    uninterrupted: Callable[[str], Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(path: Path, *rest: Any) -> None:
        write_tensors(path, *rest)
        if not asked and path.name == "state.safetensors":
            asked.append(number)
            signal.raise_signal(number)

    asked: list[signal.Signals] = []
    replace_writer(monkeypatch, stop)
    broken = Run(tmp_path / "broken")
    assert latent_atlas("train", *words_for(archive, broken)) == 128 + number
    # The checkpoint of step 10 is written in step 11, between the records of 7 and 14.
    lines = capsys.readouterr().err.strip().splitlines()
    assert re.search(r"precision: (32|bf16); measured here", "\n".join(lines))
    assert re.search(r"train for about \d+ seconds?, until \w+ \d\d:\d\d", "\n".join(lines))
    said = lines[-1]
    assert "stopped after step 11 of 30" in said
    assert said.endswith("--resume goes on from there")
    monkeypatch.undo()
    train(blobs, broken.config(), broken, log=silent, resume=True)
    assert_same_run(uninterrupted("separate"), broken)


def words_for(archive: Path, run: Run) -> list[str]:
    """What a user types for the run of TINY."""
    sections = {"model": TINY.model, "train": TINY.train, "map": TINY.map, "data": TINY.data}
    values = {
        f"{s}.{name}": value for s, part in sections.items() for name, value in asdict(part).items()
    }
    settings = [f"{place}={json.dumps(v)}" for place, v in values.items() if place != "data.source"]
    return [
        str(archive),
        "--out",
        str(run.path),
        *(word for setting in settings for word in ("--set", setting)),
    ]


STUCK = """
import sys, time, latent_atlas.training.history
from latent_atlas.cli.entry import main

write = latent_atlas.training.history.write_tensors

def stay(path, *rest):
    write(path, *rest)
    if path.name == "state.safetensors":
        time.sleep(600)

latent_atlas.training.history.write_tensors = stay
main(sys.argv[1:])
"""


def test_a_killed_process_resumes_exactly(
    archive: Path, blobs: ImageSet, uninterrupted: Callable[[str], Run], tmp_path: Path
) -> None:
    """Killed after its first checkpoint, where it stays so that the end cannot come first."""
    broken = Run(tmp_path / "broken")
    # "auto" is measured by each process, and a busy machine may tell the two apart.
    precision = uninterrupted("separate").config().train.precision
    words = [*words_for(archive, broken), "--set", f"train.precision={json.dumps(precision)}"]
    command = [sys.executable, "-c", STUCK, "train", *words]
    one_thread = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
    }  # as here; and workers side by side share the cores
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=one_thread) as process:
        deadline = time.monotonic() + 240
        while not broken.file("state.safetensors").is_file() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert read_tensors(broken.file("state.safetensors"))[1]["step"] == "10"
    train(blobs, broken.config(), broken, log=silent, resume=True)
    assert_same_run(uninterrupted("separate"), broken)


def test_a_loss_that_is_not_finite_stops_with_its_name_and_keeps_the_good_weights(
    blobs: ImageSet, tmp_path: Path
) -> None:
    config = replace(TINY, train=replace(TINY.train, adversarial="none", checkpoint_every=1))
    run = run_of(tmp_path / "run", config)
    train(blobs, config, run, log=silent)
    before = read_tensors(run.file("state.safetensors"))[0]
    # Going on with an absurd rate throws the weights off in one step, whose own losses are still finite.
    hot = replace(config, train=replace(config.train, steps=60, learning_rate=1e30, decay=0.0))
    with pytest.raises(Diverged, match=r"the loss '(reconstruction|kl)' is not finite at step 32"):
        train(blobs, hot, run, log=silent, resume=True)
    after, metadata = read_tensors(run.file("state.safetensors"))
    assert metadata["step"] == "30"
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_other_images_than_the_run_began_with_are_refused(
    blobs: ImageSet, uninterrupted: Callable[[str], Run], tmp_path: Path
) -> None:
    run = Run(shutil.copytree(uninterrupted("separate").path, tmp_path / "run"))
    fewer = blobs.select(torch.arange(100))
    with pytest.raises(UserError, match=r"120 then, 100 now"):
        train(fewer, TINY, run, log=silent, resume=True)


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    run_of(tmp_path / "run")
    with pytest.raises(UserError, match="holds a run already"):
        Run(tmp_path / "run").claim()


def test_a_half_written_log_line_is_left_out(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    run.log({"phase": "model", "step": 5})
    with run.file("log.jsonl").open("a") as file:
        file.write('{"phase": "mod')
    assert run.records() == [{"phase": "model", "step": 5}]
    run.rewind_log(5)
    assert run.records() == [{"phase": "model", "step": 5}]


def test_the_trained_model_reconstructs_better_than_the_mean_image(
    blobs: ImageSet, tmp_path: Path
) -> None:
    config = replace(TINY, train=replace(TINY.train, steps=250, adversarial="none", kl_weight=1e-4))
    run = run_of(tmp_path / "run", config)
    train(blobs, config, run, log=silent)
    from latent_atlas import Atlas

    atlas = Atlas.load(run.path, device="cpu")
    test = blobs.test.as_float()
    error = (atlas.decode(atlas.encode(test)) - test).square().mean()
    spread = (blobs.train.as_float().mean(dim=0) - test).square().mean()
    assert error < 0.5 * spread


def test_rates_that_diverge_are_named_and_resumed_with_others(
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("latent_atlas.cli.commands.train.write_page", lambda *_: None)
    run = ("--out", str(tmp_path / "run"))
    tiny = (
        "model.image_size=8 model.channels=1 model.latent_dim=2 model.width=4 "
        "model.discriminator_width=4 train.batch_size=16 train.steps=4 train.adversarial=none "
        "map.width=4 map.depth=1 map.steps=2 map.check_every=2 train.device=cpu data.held_out=0.2"
    )
    settings = [word for one in tiny.split() for word in ("--set", one)]
    diverging = ("--set", "train.learning_rate=1e300")
    assert latent_atlas("train", str(archive), *run, *settings, *diverging) == 2
    assert re.search(
        r"the loss '\w+' is not finite at step [12]; .* --resume", capsys.readouterr().err
    )
    assert latent_atlas("train", *run, "--resume", "--set", "model.width=8") == 2
    assert "except train.learning_rate, " in capsys.readouterr().err
    assert latent_atlas("train", *run, "--resume", "--set", "train.learning_rate=1e-3") == 0
    assert Run(tmp_path / "run").config().train.learning_rate == 1e-3
    assert latent_atlas("train", *run, "--resume", "--set", "train.learning_rate=1e-4") == 2
    assert "has finished, so --resume has nothing to train" in capsys.readouterr().err
