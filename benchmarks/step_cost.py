r"""Where the time of a training step goes, and how fast it is beside another version of the library.

Images of 28 x 28 pixels in batches of 64, one core, D_x trained and its loss given to G. The parts are
timed alone, forward and backward, and a profile adds up the operations of whole steps. `share of the rate` is what a
step multiplies and adds in a second over what a 3x3 convolution of the step's width does, forward and alone. It can exceed 1,
since the coarser resolutions have up to four times the width and wider convolutions are faster.

With --beside SRC, another version's `src` folder, both versions train in processes of their own that take turns at every
step, so that other work on the machine meets both; the ratio is of core seconds over whole periods of the penalties.

python benchmarks/step_cost.py --width 12 --beside ../before/src            # about two minutes on one core
python benchmarks/step_cost.py --width 32 --beside ../before/src            # about five minutes
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from latent_atlas.config import Config, with_settings
from latent_atlas.config.presets import PRESETS
from latent_atlas.device import Engine
from latent_atlas.training.losses import gradient_penalty
from latent_atlas.training.step import Batch, TrainStep
from record import record

BATCH, PERIOD = 64, 16
WORKER = """
import sys, time
sys.path[:0] = sys.argv[1:3]
from step_cost import steps
advance = steps(int(sys.argv[3]), sys.argv[4])
advance(0)
advance(4)
for line in sys.stdin:
    start = time.process_time()
    advance(int(line))
    print(time.process_time() - start, flush=True)
"""
KINDS = {
    "convolution forward": ("aten::mkldnn_convolution", "aten::cudnn_convolution"),
    "convolution backward": ("aten::convolution_backward",),
    "normalisation": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "SiLU": ("aten::silu", "aten::silu_backward"),
    "copies": ("aten::copy_", "aten::cat", "aten::fill_"),
    "optimiser": ("aten::_fused_adam_", "Optimizer.step#Adam.step"),
    "averages": ("aten::_foreach_lerp_", "aten::lerp_"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--beside", type=Path, metavar="SRC", help="another version of the library")
    parser.add_argument("--beside-precision", default="32", help="what that version computes in")
    parser.add_argument("--turns", type=int, default=3, help="periods of 16 steps of each version")
    given = parser.parse_args()
    torch.set_num_threads(1)
    precision = Engine("cpu", given.precision, compile=False).precision
    results = parts(given.width, precision) | profile(given.width, precision)
    if given.beside is not None:
        sources = {
            "this": (Path(__file__).parent.parent / "src", precision),
            "beside": (given.beside, given.beside_precision),
        }
        results |= paired(given.width, sources, given.turns)
    settings = {"batch": BATCH, "width": given.width, "precision": precision, "turns": given.turns}
    settings |= {"beside_precision": given.beside_precision}
    record(f"step_cost-{given.width}", results, **settings)


def configuration(width: int) -> Config:
    settings = {"model.width": width, "model.discriminator_width": width}
    settings |= {"train.batch_size": BATCH, "train.adversarial_start": 0}
    return with_settings(PRESETS["fashion-mnist"], [f"{k}={v}" for k, v in settings.items()])


def steps(width: int, precision: str) -> Callable[[int], Any]:
    """A function that makes one step of a given number."""
    torch.set_num_threads(1)
    train_step = TrainStep(configuration(width), Engine("cpu", precision, compile=False))
    images = torch.rand(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return lambda step: train_step.step(
        Batch(images, PERIOD + step, torch.Generator().manual_seed(step))
    )


def seconds(compute: Callable[[], object], times: int = 3) -> float:
    """Core seconds of one call, the median, after one that prepares."""
    found = []
    for _ in range(times + 1):
        start = time.process_time()
        compute()
        found.append(time.process_time() - start)
    return statistics.median(found[1:])


def parts(width: int, precision: str) -> dict[str, Any]:
    """Core milliseconds of the parts of a step, each alone."""
    config, engine = configuration(width), Engine("cpu", precision, compile=False)
    made = TrainStep(config, engine)
    m, generator = made.model, torch.Generator().manual_seed(0)
    x, z = torch.rand(BATCH, 1, 28, 28, generator=generator), torch.randn(BATCH, 16)

    def forward(network: Callable[[Tensor], Any], given: Tensor) -> Tensor:
        with engine.autocast():
            out = network(given)
        return (out[0] if isinstance(out, tuple) else out).float().sum()

    def penalty() -> None:
        with engine.autocast():
            loss = gradient_penalty(m.image_discriminator, x)
        loss.backward()

    calls: dict[str, Callable[[], object]] = {}
    for name, network, given in (
        ("encoder", m.encoder, x),
        ("decoder", m.decoder, z),
        ("D_x", m.image_discriminator, x),
    ):
        calls[f"{name} forward"] = lambda n=network, g=given: forward(n, g)
        calls[f"{name} forward and backward"] = lambda n=network, g=given: forward(n, g).backward()
    leaf, weights = x.clone().requires_grad_(), made.weights["image_discriminator"]
    calls["D_x forward and backward to its images"] = lambda: forward(
        m.image_discriminator, leaf
    ).backward(inputs=[leaf])
    calls["one penalty of D_x"] = penalty
    calls["averages"] = lambda: made.average_weights(1)
    calls["data"] = lambda: (255 * x).to(torch.uint8)[torch.randperm(BATCH)].float().div(255)
    found = {name: 1e3 * seconds(call) for name, call in calls.items()}
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    adam = made.optimizers["image_discriminator"]
    found["optimiser of D_x"] = 1e3 * seconds(adam.step)
    return {"core milliseconds alone": found}


def profile(width: int, precision: str) -> dict[str, Any]:
    """Images per core second of steps without penalties, and the share of each kind of operation."""
    from latent_atlas.device import convolution_rate  # not in versions to compare with

    advance = steps(width, precision)
    each = seconds(lambda: advance(1))
    with torch.profiler.profile() as found:
        for step in (1, 2):
            advance(step)
    events = found.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    shares = {
        kind: sum(e.self_cpu_time_total for e in events if e.key in names) / total
        for kind, names in KINDS.items()
    }
    shares["the rest"] = 1 - sum(shares.values())
    with FlopCounterMode(display=False) as counter:
        advance(1)
    operations = counter.get_total_flops()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rate = convolution_rate(torch.device("cpu"), dtype, width, BATCH)
    return {
        "images per core second, no penalties": BATCH / each,
        "share of time": shares,
        "GFLOP per image": operations / BATCH / 1e9,
        "GFLOP/s": operations / each / 1e9,
        "GFLOP/s of a convolution alone": rate / 1e9,
        "share of the rate": operations / each / rate,
    }


def paired(width: int, sources: dict[str, tuple[Path, str]], turns: int) -> dict[str, Any]:
    """Images per core second of two versions with their precisions, which take turns."""
    here = Path(__file__).parent
    workers = {
        name: subprocess.Popen(
            [sys.executable, "-c", WORKER, str(source.resolve()), str(here), str(width), precision],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for name, (source, precision) in sources.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in workers}
    for step in range(turns * PERIOD):
        for name, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(f"{step}\n")
            worker.stdin.flush()
            taken[name].append(float(worker.stdout.readline()))
    for worker in workers.values():
        worker.communicate()
    total = {name: sum(found) for name, found in taken.items()}
    median = {name: statistics.median(found) for name, found in taken.items()}
    return {
        "images per core second": {n: turns * PERIOD * BATCH / t for n, t in total.items()},
        "times as fast": total["beside"] / total["this"],
        "times as fast, the median step": median["beside"] / median["this"],
    }


if __name__ == "__main__":
    main()
