r"""Compare the library with pythae 0.1.2: one run each, with the same networks, data, epochs and evaluation.

Question: after the same number of images, does our model reconstruct and sample images better than pythae's VAE, VAEGAN,
adversarial and regularised autoencoders with pythae's own samplers, and what does it cost in speed and memory? `best` in
the results compares the best model of either side, measure by measure.

Every model trains in a process of its own through its public interface, and returns reconstructions of the held-out
images and as many samples. Features are those of a classifier trained here on the whole collection. Fréchet distances,
precision and recall are to the held-out images themselves, so they include the decoder's loss; the row of training
images is the bound without such a loss. Every Fréchet distance is larger with fewer images.

Besides D_x and the map, our model differs from a plain VAE in its KL weight, in decaying learning rates and in averaged
weights: `pythae_models` says which of these the peers have.

Install pythae into a folder of its own, so that its requirements change nothing else:

    pip install --no-deps --target PEERS pythae==0.1.2 pydantic==2.11.7 pydantic-core==2.33.2 \
        annotated-types typing-inspection imageio cloudpickle tqdm
    PYTHONPATH=PEERS python benchmarks/peers.py                                          # on a GPU
    PYTHONPATH=PEERS python benchmarks/peers.py --images 5000 --epochs 2 --batch-size 32 --width 8 --map-steps 1000 \
        --judged 2000                                                 # about ten minutes on one core, of 300 steps each

A call may measure some of the models: rows of earlier calls with the same settings are kept.
"""

import argparse
import importlib.util
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cost import Cost
from latent_atlas.config import Config, with_settings
from latent_atlas.config.presets import PRESETS
from latent_atlas.data import ImageSet, load_images
from latent_atlas.evaluation import frechet_distance, manifold_of, reconstruction_numbers
from latent_atlas.evaluation.features import Classifier
from reconstruction import as_bytes, earlier_rows, feature_classifier
from record import record
from trained_models import train_ours

OURS = {"ours": [], "ours, no D_x": ["train.adversarial=none"]}
PEERS = (
    "pythae VAE",
    "pythae BetaVAE, our KL weight",
    "pythae VAEGAN",
    "pythae AAE",
    "pythae RAE_GP",
    "pythae RAE_L2",
)
LESS_IS_BETTER = ("mse", "frechet", "peak_mib")
MANIFOLD = (
    5_000  # images of each side for precision and recall, which need all distances between them
)
MISSING = (
    "pythae is not installed; install it as the first lines of this script say, or leave it out: --models "
    "ours 'ours, no D_x'"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--width", type=int, default=32, help="channels of E, G and D_x at full resolution"
    )
    parser.add_argument("--images", type=int, default=60_000, help="to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--map-steps", type=int, default=4_000, help="of D_z, at most")
    parser.add_argument(
        "--judged", type=int, default=10_000, help="held-out images, and samples of each sampler"
    )
    parser.add_argument(
        "--judge-epochs", type=int, default=3, help="epochs of the classifier of features"
    )
    choices = [*OURS, *PEERS]
    parser.add_argument("--models", nargs="*", default=choices, choices=choices, metavar="NAME")
    given = parser.parse_args()
    if importlib.util.find_spec("pythae") is None and set(given.models) & set(PEERS):
        raise SystemExit(MISSING)

    settings = {name: value for name, value in vars(given).items() if name != "models"}
    whole = load_images(PRESETS["fashion-mnist"].data, 28, 1)
    images, classifier = chosen(whole, given), feature_classifier(whole, given.judge_epochs)
    evaluation = Evaluation.on(images.test, classifier)
    threshold = evaluation.of_samples(images.train.images[: given.judged].numpy())
    rows = earlier_rows("peers", settings)
    for name in given.models:
        rows[name] = evaluation.of(in_own_process(name, given))
        results = {
            "features": classifier.name,
            "training images": threshold,
            "best": best_of(rows),
            "arms": rows,
        }
        record("peers", results, **settings)


def chosen(whole: ImageSet, given: argparse.Namespace) -> ImageSet:
    """The first training images, and the first held-out ones."""
    learn, test = (~whole.held_out).nonzero().flatten(), whole.held_out.nonzero().flatten()
    return whole.select(torch.cat([learn[: given.images], test[: given.judged]]))


def configuration(name: str, images: int, given: argparse.Namespace) -> Config:
    """The preset at the size asked for; what it counts in steps may not take more than an eighth of a short run."""
    steps = given.epochs * images // given.batch_size
    preset, early = PRESETS["fashion-mnist"], max(1, steps // 8)
    settings = {
        "train.steps": steps,
        "train.batch_size": given.batch_size,
        "train.seed": given.seed,
        "train.kl_warmup": min(preset.train.kl_warmup, early),
        "train.adversarial_start": min(preset.train.adversarial_start, early),
        "model.width": given.width,
        "model.discriminator_width": given.width,
        "model.latent_dim": given.latent_dim,
        "map.steps": given.map_steps,
    }
    return with_settings(
        preset, [f"{place}={value}" for place, value in settings.items()] + OURS.get(name, [])
    )


@dataclass(frozen=True)
class Outcome:
    """What a trained model returns.

    Attributes:
        reconstructions: Of the held-out images, bytes, shape (n, c, h, w).
        samples: As many new images by sampler.
        seconds: What each sampler took, with whatever it had to fit.
        speed: Images per second in training.
        costs: Of training; see `Trained`.
    """

    reconstructions: np.ndarray
    samples: dict[str, np.ndarray]
    seconds: dict[str, float]
    speed: dict[str, float]
    costs: dict[str, Cost]


def in_own_process(name: str, given: argparse.Namespace) -> Outcome:
    """The outcome of a model in a process of its own, which shares no memory and no global seed."""
    os.environ["TQDM_DISABLE"] = "1"  # pythae's progress bars; it is read when a process begins
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(trained_outcome, name, given).result()


def trained_outcome(name: str, given: argparse.Namespace) -> Outcome:
    """Train one model, reconstruct with it and sample from it."""
    images = chosen(load_images(PRESETS["fashion-mnist"].data, 28, 1), given)
    learning, test = int((~images.held_out).sum()), images.test.as_float()
    config = configuration(name, learning, given)
    with tempfile.TemporaryDirectory() as folder:
        if name in OURS:
            learn = partial(train_ours, images, config, Path(folder))
        else:
            from pythae_models import train_peer

            learn = partial(train_peer, name, images, config, given.epochs, Path(folder))
        trained = learn()
        reconstructions = as_bytes(trained.reconstruct(test)).cpu().numpy()
        samples, seconds = {}, {}
        for sampler, draw in trained.samplers.items():
            start = time.perf_counter()
            samples[sampler] = as_bytes(draw(len(test))).cpu().numpy()
            seconds[sampler] = time.perf_counter() - start
    model = trained.costs["model"]
    seen = given.epochs * learning
    speed = {
        "images per second": seen / model.seconds,
        "images per core second": seen / model.core_seconds,
    }
    return Outcome(reconstructions, samples, seconds, speed, trained.costs)


@dataclass(frozen=True)
class Evaluation:
    """The held-out images, and a classifier's features of them."""

    test: ImageSet
    classifier: Classifier
    features: np.ndarray

    @classmethod
    def on(cls, test: ImageSet, classifier: Classifier) -> "Evaluation":
        return cls(test, classifier, classifier.features(test.images).numpy())

    def of(self, outcome: Outcome) -> dict[str, Any]:
        """The row of one model."""
        rebuilt = torch.from_numpy(outcome.reconstructions)
        reconstruction = {
            "mse": reconstruction_numbers(self.test.as_float(), rebuilt.float() / 255)["mse"],
            "frechet": frechet_distance(self.classifier.features(rebuilt).numpy(), self.features),
        }
        costs = {part: asdict(cost) for part, cost in outcome.costs.items()}
        samples = {
            name: self.of_samples(images) | {"seconds": outcome.seconds[name]}
            for name, images in outcome.samples.items()
        }
        return {
            "reconstructions": reconstruction,
            "samples": samples,
            **outcome.speed,
            "costs": costs,
        }

    def of_samples(self, images: np.ndarray) -> dict[str, float]:
        """Fréchet distance, the share of samples among real images, and of these among samples."""
        drawn, real = self.classifier.features(torch.from_numpy(images)).numpy(), self.features
        return {
            "frechet": frechet_distance(drawn, real),
            "precision": float(manifold_of(real[:MANIFOLD]).contains(drawn[:MANIFOLD]).mean()),
            "recall": float(manifold_of(drawn[:MANIFOLD]).contains(real[:MANIFOLD]).mean()),
        }


def best_of(rows: dict[str, Any]) -> dict[str, Any]:
    """The best of ours and the best of the peers, measure by measure."""
    best: dict[str, Any] = {}
    for model, row in rows.items():
        side = "ours" if model in OURS else "pythae"
        found = [
            ("reconstructions", model, measure, value)
            for measure, value in row["reconstructions"].items()
        ]
        for sampler, numbers in row["samples"].items():
            found += [
                ("samples", f"{model}, {sampler}", m, v)
                for m, v in numbers.items()
                if m != "seconds"
            ]
        found += [
            ("training", model, m, row[m]) for m in ("images per second", "images per core second")
        ]
        found.append(("training", model, "peak_mib", row["costs"]["model"]["peak_mib"]))
        for part, who, measure, value in found:
            sides = best.setdefault(f"{part}: {measure}", {})
            before = sides.get(side)
            if before is None or (
                value < before[1] if measure in LESS_IS_BETTER else value > before[1]
            ):
                sides[side] = (who, value)
    return best


if __name__ == "__main__":
    main()
