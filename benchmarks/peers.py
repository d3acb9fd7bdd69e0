r"""Compare the library with pythae 0.1.2: with the same networks, data, epochs and evaluation.

Question: after the same number of images, does our model reconstruct and sample images better than pythae's VAE, VAEGAN,
adversarial and regularised autoencoders with pythae's own samplers, and what does it cost in speed and memory?

Every model trains in a process of its own through its public interface, and returns reconstructions of the held-out
images and as many samples. Features are those of a classifier trained here on the whole collection. Fréchet distances,
precision and recall are to the held-out images themselves, so they include the decoder's loss; the row of training
images is the bound without such a loss. Every Fréchet distance is larger with fewer images.

Besides D_x and the map, our model differs from a plain VAE in its KL weight, in decaying learning rates and in averaged
weights: `pythae_models` says which of these the peers have.

Install pythae into a folder of its own, so that its requirements change nothing else:

    pip install --no-deps --target PEERS pythae==0.1.2 pydantic==2.11.7 pydantic-core==2.33.2 \
        annotated-types typing-inspection imageio cloudpickle tqdm
    PYTHONPATH=PEERS python benchmarks/peers.py                             # about an hour of a core and seed, in bf16
    PYTHONPATH=PEERS python benchmarks/peers.py --precision 32 --epochs 1 --seeds 0                 # the cost in float32

A call may measure some of the models and seeds: rows of earlier calls with the same settings are kept, and not measured
again. The results of another precision are in a file of their own.
"""

import argparse
import importlib.util
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cost import Cost
from latent_atlas.config import Config, with_settings
from latent_atlas.config.presets import PRESETS
from latent_atlas.data import ImageSet, load_images
from latent_atlas.evaluation import frechet_distance, reconstruction_numbers
from latent_atlas.evaluation.features import Classifier
from latent_atlas.geometry.manifold import manifold_of
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
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--width", type=int, default=16, help="channels of E, G and D_x at full resolution"
    )
    parser.add_argument("--images", type=int, default=20_000, help="to learn from")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precision", default="bf16", choices=["32", "bf16"])
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--map-steps", type=int, default=2_000, help="of D_z, at most")
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

    settings = {
        name: value for name, value in vars(given).items() if name not in ("models", "seeds")
    }
    result = "peers" if given.precision == "bf16" else f"peers-{given.precision}"
    whole = load_images(PRESETS["fashion-mnist"].data, 28, 1)
    images, classifier = chosen(whole, given), feature_classifier(whole, given.judge_epochs)
    evaluation = Evaluation.on(images.test, classifier)
    bound = evaluation.of_samples(images.train.images[: given.judged].numpy())
    rows = earlier_rows(result, settings)
    for seed, name in product(given.seeds, given.models):
        seeds = rows.setdefault(name, {})
        if str(seed) not in seeds:
            seeds[str(seed)] = evaluation.of(in_own_process(name, seed, given))
            found = {"features": classifier.name, "training images": bound, "arms": rows}
            record(result, found, **settings)


def chosen(whole: ImageSet, given: argparse.Namespace) -> ImageSet:
    """The first training images, and the first held-out ones."""
    learn, test = (~whole.held_out).nonzero().flatten(), whole.held_out.nonzero().flatten()
    return whole.select(torch.cat([learn[: given.images], test[: given.judged]]))


def configuration(name: str, seed: int, images: int, given: argparse.Namespace) -> Config:
    """The preset at the size asked for; what it counts in steps may not take more than an eighth of a short run."""
    steps = given.epochs * images // given.batch_size
    preset, early = PRESETS["fashion-mnist"], max(1, steps // 8)
    settings = {
        "train.steps": steps,
        "train.batch_size": given.batch_size,
        "train.seed": seed,
        "train.precision": given.precision,
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


def in_own_process(name: str, seed: int, given: argparse.Namespace) -> Outcome:
    """The outcome of a model in a process of its own, which shares no memory and no global seed."""
    os.environ["TQDM_DISABLE"] = "1"  # pythae's progress bars; it is read when a process begins
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(trained_outcome, name, seed, given).result()


def trained_outcome(name: str, seed: int, given: argparse.Namespace) -> Outcome:
    """Train one model, reconstruct with it and sample from it."""
    images = chosen(load_images(PRESETS["fashion-mnist"].data, 28, 1), given)
    learning, test = int((~images.held_out).sum()), images.test.as_float()
    config = configuration(name, seed, learning, given)
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


if __name__ == "__main__":
    main()
