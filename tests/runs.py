"""A run that several modules look at: made once, by whichever worker asks first, and copied for each module."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

__all__ = ["digits_run", "made_once", "quick_calibration", "quick_gallery", "trained"]

DIGITS = (
    "data.limit=600 model.width=4 model.discriminator_width=4 model.latent_dim=3 train.steps=120 train.batch_size=32 "
    "train.adversarial_start=100 train.device=cpu map.steps=100 map.width=16 map.depth=1 map.check_every=50"
)


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Path:
    """A copy of the folder that `make` fills, which no other module sees."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(shared / f"{name}.lock"):
        if not (shared / name).exists():
            make(shared / f"{name}.part")
            (shared / f"{name}.part").rename(shared / name)
    return shutil.copytree(shared / name, factory.mktemp("copies") / name)


def trained(folder: Path, settings: str) -> None:
    """Train on digits with such settings; no pictures are drawn."""
    from latent_atlas.config.presets import PRESETS
    from latent_atlas.config.run import with_settings
    from latent_atlas.data.load import load_images
    from latent_atlas.runs import Run
    from latent_atlas.training.loop import train

    config = with_settings(PRESETS["digits"], settings.split())
    run = Run(folder)
    run.claim()
    run.begin(config)
    train(load_images(config.data, 8, 1), config, run, log=lambda entry: None)


@contextmanager
def quick_calibration() -> Iterator[None]:
    """Maps that are calibrated with few samples, and whose constant by few particles."""
    from latent_atlas.density_ratio import calibration, fit, normalising_constant

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(calibration, "SAMPLES", 2_000)
        monkeypatch.setattr(fit, "OUTLINE_SAMPLES", 2_000)
        monkeypatch.setattr(normalising_constant, "FEW", 100)
        yield


@contextmanager
def quick_gallery() -> Iterator[None]:
    """Pictures, metrics and evaluations with walks of 40 steps, between a few pairs of codes."""
    from latent_atlas.evaluation import sections
    from latent_atlas.report import examples
    from latent_atlas.report.figures import run
    from latent_atlas.travel.planners.walk import Walk

    rows = {
        row: replace(planner, steps=40) if isinstance(planner, Walk) else planner
        for row, planner in run.COMPARED.items()
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (run, sections):
            monkeypatch.setattr(module, "COMPARED", rows)
        monkeypatch.setattr(examples, "Walk", partial(Walk, steps=40))
        monkeypatch.setattr(run, "PAIRS", 8)
        yield


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of handwritten digits in three dimensions, as training leaves it."""
    return made_once("digits", tmp_path_factory, lambda folder: trained(folder, DIGITS))
