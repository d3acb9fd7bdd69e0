"""How often networks should see each of few photographs, before they memorise them.

Question: with a hundred or a few hundred photographs, how do the errors of images that were learned from and of others
change with the steps of `--quick`? The photographs are CIFAR-10's; the first 1,000 of its test part are the others.

    python benchmarks/few_images.py                 # a quarter of an hour on one core; goes on where it stopped
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.config import Config
from latent_atlas.config.presets import PRESETS, quick, with_changes
from latent_atlas.device import Engine, pick_device, pick_precision
from latent_atlas.evaluation import reconstruction_numbers
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run
from latent_atlas.shapes import to_float
from latent_atlas.training.batches import Batches
from latent_atlas.training.loop import take_steps
from latent_atlas.training.step import TrainStep
from photographs import fetch_photographs
from record import record

RESULT = Path(__file__).parent / "results" / "few_images.json"
STEPS = {100: (300, 600, 1_000, 4_500), 400: (1_000, 2_000, 3_750, 9_000)}
OTHERS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with np.load(fetch_photographs()) as arrays:
        learned, others = (images(arrays[name]) for name in ("x_train", "x_test"))
    rows = json.loads(RESULT.read_text())["results"]["rows"] if RESULT.is_file() else []
    known = {(row["images"], row["steps"], row["seed"]) for row in rows}
    for seed in given.seeds:
        for n, lengths in STEPS.items():
            for steps in lengths:
                if (n, steps, seed) not in known:
                    settings = [f"train.steps={steps}", f"train.seed={seed}"]
                    config = with_changes(quick(PRESETS["32px"]), settings)
                    found = measured(learned[:n], others[:OTHERS], config)
                    rows.append({"images": n, "steps": steps, "seed": seed} | found)
                    record("few_images", {"rows": rows})


def images(rows: np.ndarray) -> Tensor:
    """Photographs as they are trained on, (n, 3, h, w)."""
    return torch.from_numpy(rows).permute(0, 3, 1, 2).contiguous()


def measured(learned: Tensor, others: Tensor, config: Config) -> dict[str, Any]:
    """One training, and the errors of the images that it learned from and of others."""
    precision = pick_precision(config.train.precision, pick_device("cpu"))
    engine = Engine("cpu", precision, compile=False)
    start = time.process_time()
    step = TrainStep(config, engine)
    with tempfile.TemporaryDirectory() as folder:
        batches = Batches(learned, config.train, engine.device)
        take_steps(step, batches, Run(Path(folder)), log=lambda entry: None, resume=False)
    seconds = time.process_time() - start
    model = step.finished()
    return {
        "passes": config.train.steps * config.train.batch_size / len(learned),
        "error of learned": error(model, learned),
        "error of others": error(model, others),
        "core seconds": seconds,
    }


@torch.no_grad()
def error(model: VAEGAN, some: Tensor) -> float:
    """Mean squared error of reconstructions."""
    real = to_float(some)
    rebuilt = torch.cat([model.reconstruct(part) for part in real.split(500)])
    return reconstruction_numbers(real, rebuilt)["mse"]


if __name__ == "__main__":
    main()
