"""The isometry term's effect on the latent space, and its price: the same runs with and without it.

Claim: `train.isometry` makes a step in Z change the image by an amount that depends less on direction and place
(condition number, spread and distortion of the decoder's Jacobian fall), shortens the perceptual path length, and raises
the correlation of distances in Z with distances between images at every radius. The price grows with the weight: a worse
reconstruction, and a smaller share of prior samples on the manifold, measured by each run's own map. The baseline is
weight 0; every weight has the same seeds, images, networks and steps. Image distances are of pixels.

    python benchmarks/isometry.py                                                    # digits, about 7 minutes on 1 core
    python benchmarks/isometry.py --preset fashion-mnist --steps 1200 --width 12 --seeds 0      # about an hour
    python benchmarks/isometry.py --steps 40 --map-steps 20 --seeds 0 --samples 16              # a smoke test
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from latent_atlas import Atlas
from latent_atlas.config import Config, with_settings
from latent_atlas.config.presets import PRESETS
from latent_atlas.data import ImageSet, load_images
from latent_atlas.evaluation import reconstruction_numbers
from latent_atlas.geometry import Geometry
from latent_atlas.report.figures.run import draw_geometry
from latent_atlas.report.plots import save
from latent_atlas.runs import Run, read_tensors
from latent_atlas.training.loop import train
from record import record


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--preset", default="digits", choices=("digits", "fashion-mnist", "mnist", "faces")
    )
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.001, 0.01])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--width", type=int, default=12, help="channels of E, G and D_x at full resolution"
    )
    parser.add_argument("--map-steps", type=int, default=200)
    parser.add_argument(
        "--samples", type=int, default=512, help="pairs of codes that the geometry is measured on"
    )
    given = parser.parse_args()
    settings = {
        name: value for name, value in vars(given).items() if name not in ("preset", "weights")
    }
    base = with_settings(
        PRESETS[given.preset],
        [
            f"train.steps={given.steps}",
            f"train.batch_size={given.batch_size}",
            f"train.adversarial_start={given.steps // 4}",
            f"train.kl_warmup={given.steps // 4}",
            f"model.width={given.width}",
            f"model.discriminator_width={given.width}",
            f"map.steps={given.map_steps}",
        ],
    )
    images = load_images(base.data, base.model.image_size, base.model.channels)
    rows, spaces = {}, {}
    for weight in given.weights:
        name = f"isometry {weight:g}"
        runs = []
        for seed in given.seeds:
            settings = [f"train.isometry={weight}", "train.penalty_every=4", f"train.seed={seed}"]
            config = with_settings(base, settings)
            numbers, space = measure(images, config, given.samples)
            runs.append(numbers)
            spaces.setdefault(name, space)
            print(name, f"seed {seed}", numbers, flush=True)
        rows[name] = over_seeds(runs)
    out = record(
        f"isometry-{given.preset}", rows, preset=given.preset, weights=given.weights, **settings
    )
    save(draw_geometry(spaces), out.with_suffix(".png"))  # of the first seed


def measure(images: ImageSet, config: Config, samples: int) -> tuple[dict[str, float], Geometry]:
    """Train one run, and measure its reconstruction of held-out images and its latent space."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.begin(config)
        train(images, config, run, log=lambda entry: None)
        seconds = time.perf_counter() - start
        atlas = Atlas.load(folder)
        examples = read_tensors(run.file("examples.safetensors"))[0]["images"].float() / 255
    space = atlas.geometry(samples=samples)
    numbers = {
        "mse": reconstruction_numbers(examples, atlas.decode(atlas.encode(examples)).cpu())["mse"]
    }
    numbers |= {name: float(number.value) for name, number in space.numbers().items()}
    for radius, pearson in zip(space.stretch.at, space.pearson_by_radius, strict=True):
        octave = round(space.stretch.at[-1] / radius)
        numbers[f"pearson at 1/{octave} of the median distance"] = pearson
    return numbers | {"seconds": seconds}, space


def over_seeds(runs: list[dict[str, float]]) -> dict[str, dict[str, float | list[float]]]:
    """Each number's mean over runs and their standard deviation, and the runs themselves."""
    columns = {name: [run[name] for run in runs] for name in runs[0]}
    return {
        name: {"mean": statistics.fmean(values), "std": statistics.pstdev(values), "runs": values}
        for name, values in columns.items()
    }


if __name__ == "__main__":
    main()
