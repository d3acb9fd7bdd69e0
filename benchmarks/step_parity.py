r"""Whether a change of the training step changes what is learned: this version and another on the digits, seed by seed.

Question: do reconstruction, KL and the held-out log q of the map differ by more than they do between seeds?

python benchmarks/step_parity.py --beside ../before/src            # about ten minutes on one core
python benchmarks/step_parity.py --beside src --precision bf16 --name precision_parity    # bf16 and float32
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MEASURES = (
    "mse",
    "kl",
    "log_q",
    "r1",
    "r2",
    "image_discriminator",
    "image_generator",
    "core_seconds",
)
SETTINGS = (
    "train.device=cpu train.steps=500 model.width=12 model.discriminator_width=12 map.steps=300"
)


def main() -> None:
    from record import record

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--beside", type=Path, required=True, metavar="SRC")
    parser.add_argument("--precision", default="32", choices=("32", "bf16"), help="of this version")
    parser.add_argument("--name", default="step_parity", help="name of the result")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = parser.parse_args()
    versions = {
        "this": (Path(__file__).parent.parent / "src", given.precision),
        "beside": (given.beside, "32"),
    }
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in versions}
    for seed in given.seeds:
        for name, (source, precision) in versions.items():
            rows[name].append(in_own_process(source, precision, seed))
    settings = {"precision": given.precision, "seeds": given.seeds}
    record(given.name, {"rows": rows, "summary": summary(rows)}, **settings)


def summary(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation over the seeds, by measure and version."""
    return {
        measure: {
            name: [f([row[measure] for row in found]) for f in (statistics.mean, statistics.stdev)]
            for name, found in rows.items()
        }
        for measure in MEASURES
    }


def in_own_process(source: Path, precision: str, seed: int) -> dict[str, float]:
    """What `trained` measures with the library in a folder."""
    call = f"import step_parity; step_parity.trained({precision!r}, {seed})"
    command = [sys.executable, "-c", call]
    paths = f"{source.resolve()}{os.pathsep}{Path(__file__).parent}"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def trained(precision: str, seed: int) -> None:
    """Train on the digits and print, for held-out images: error, KL, log q; and D_x's last losses."""
    import torch

    from latent_atlas.config import MapConfig, with_settings
    from latent_atlas.config.presets import PRESETS
    from latent_atlas.data import load_images
    from latent_atlas.runs import Run, read_tensors
    from latent_atlas.training.loop import train

    torch.set_num_threads(1)
    settings = [*SETTINGS.split(), f"train.seed={seed}", f"train.precision={precision}"]
    if hasattr(MapConfig, "precision"):  # which versions before had not
        settings.append(f"map.precision={precision}")
    config = with_settings(PRESETS["digits"], settings)
    images = load_images(config.data, config.model.image_size, config.model.channels)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.begin(config)
        start, ends = time.process_time(), []

        def log(entry: dict[str, Any]) -> None:
            if entry["phase"] == "model":
                ends.append(time.process_time())

        latent_map = train(images, config, run, log=log)
        codes = read_tensors(run.file("codes.safetensors"))[0]
        records = [r for r in run.records() if r["phase"] == "model"][-4:]
    means, log_variances = codes["held_out.means"], codes["held_out.log_variances"]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(means.shape, generator=generator)
    z = means + noise * (0.5 * log_variances).exp()
    kl = 0.5 * (means.square() + log_variances.exp() - 1 - log_variances).sum(dim=1)
    found = {
        "mse": codes["held_out.reconstruction_errors"][:, 0].mean().item(),
        "kl": kl.mean().item(),
        "log_q": latent_map.log_prob(z).mean().item(),
        "core_seconds": ends[-1] - start,
    }
    for name in ("r1", "r2", "image_discriminator", "image_generator"):
        found[name] = statistics.mean(r[name] for r in records if name in r)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
