"""What the trials share: a small run, its answers, and results that are kept as they come."""

import argparse
import hashlib
import io
import json
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.context import BaseContext
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from latent_atlas.config.presets import PRESETS
from latent_atlas.config.run import Config, with_settings
from latent_atlas.data.load import load_images
from latent_atlas.density_ratio import calibration, fit
from latent_atlas.runs import Run, read_tensors
from latent_atlas.training.loop import train
from record import record

SMALL = (
    "data.limit=200 model.width=4 model.discriminator_width=4 model.latent_dim=3 train.steps=40 "
    "train.batch_size=16 train.checkpoint_every=5 train.log_every=10 train.adversarial_start=10 "
    "train.device=cpu map.steps=10 map.width=8 map.depth=1 map.check_every=5"
)
FILES = ("model", "codes", "map", "state", "examples")
calibration.SAMPLES = fit.OUTLINE_SAMPLES = 2_000  # a tenth of the usual, so that a map takes less
EVERY = 5  # trials between two writings of the results


def small_config(seed: int = 0) -> Config:
    """Settings of a run that trains in seconds."""
    return with_settings(PRESETS["digits"], [*SMALL.split(), f"train.seed={seed}"])


def train_small(folder: Path, seed: int = 0) -> None:
    """Train it, or go on with what is in the folder."""
    torch.set_num_threads(1)
    run = Run(folder)
    with run.hold():
        resume = run.file("config.json").is_file()
        config = run.config() if resume else small_config(seed)
        if not resume:
            run.claim()
            run.begin(config)
        if not run.file("map.safetensors").is_file():
            images = load_images(config.data, 8, 1)
            train(images, config, run, log=lambda entry: None, resume=resume)


def contents(folder: Path) -> dict[str, str]:
    """A digest of each file of tensors and of the log without its times."""
    run = Run(folder)
    found = {}
    for name in FILES:
        tensors, metadata = read_tensors(run.file(f"{name}.safetensors"))
        whole = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
        for key in sorted(tensors):
            whole.update(key.encode() + tensors[key].reshape(-1).view(torch.uint8).numpy().data)
        found[name] = whole.hexdigest()
    kept = [{k: v for k, v in entry.items() if k != "images_per_second"} for entry in run.records()]
    return found | {"log": json.dumps(kept), "config": run.config().to_json()}


def processes() -> BaseContext:
    """Processes that start with everything imported; torch has one thread here, so a fork is safe."""
    return multiprocessing.get_context("fork")


def quietly(work: Callable[[], None]) -> tuple[str, str, str]:
    """Run work: "done", "sentence" or "traceback", what it said, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            work()
    except SystemExit as ended:
        return ("done" if not ended.code else "sentence"), err.getvalue(), out.getvalue()
    except Exception as error:  # whatever it is, it is what is counted here
        return "traceback", f"{type(error).__name__}: {error}", out.getvalue()
    return "done", err.getvalue(), out.getvalue()


def repeat(name: str, count: int, trial: Callable[[int], str]) -> Counter[str]:
    """Run trials 0..count-1, each of which gives its outcome; go on where an earlier call stopped."""
    path = Path(__file__).parents[1] / "results" / f"{name}.json"
    before = json.loads(path.read_text())["results"] if path.is_file() else {}
    outcomes = Counter(before.get("outcomes", {}))
    for number in range(outcomes.total(), count):
        outcomes[trial(number)] += 1
        if (number + 1) % EVERY == 0 or number + 1 == count:
            record(name, {"trials": number + 1, "outcomes": dict(outcomes)})
    return outcomes


def counted(description: str | None, count: int) -> int:
    """The flag --count."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count)
    return parser.parse_args().count
