"""Fashion-MNIST reconstructed with and without D_x, at equal networks, steps and data.

Claim: at nearly the same mean squared error, D_x halves the Fréchet distance of reconstructions to the test images or
does better, in the features of a classifier trained on the same set.

    python benchmarks/reconstruction.py                      # about 20 minutes on 2 CPU cores
    python benchmarks/reconstruction.py --no-plain --weights 0.0015 0.002 --prior-shares 0.25
    python benchmarks/reconstruction.py --image-size 14 --steps 3000 --weights 0.002      # about 10
    python benchmarks/reconstruction.py --steps 5000 --width 64 --batch-size 256        # on a GPU
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path

import torch

from latent_atlas.config import Config, with_settings
from latent_atlas.config.presets import PRESETS
from latent_atlas.data import ImageSet, load_images
from latent_atlas.evaluation import frechet_distance, reconstruction_numbers
from latent_atlas.evaluation.features import Classifier, train_classifier
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run
from latent_atlas.training.loop import train_model
from record import record

PLAIN = "no D_x"
COMPARED = ("mse", "frechet of reconstructions", "frechet of prior samples")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument(
        "--weights", type=float, nargs="*", default=[0.0017], help="adversarial weights to try"
    )
    parser.add_argument(
        "--prior-shares",
        type=float,
        nargs="*",
        default=[0.0],
        help="shares of D_x's fakes that are decoded prior codes",
    )
    parser.add_argument(
        "--no-plain", action="store_true", help=f"leave out '{PLAIN}', measured by an earlier call"
    )
    parser.add_argument("--image-size", type=int, default=28, help="pixels; smaller is cheaper")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--epochs", type=int, default=3, help="epochs of the classifier of features"
    )
    given = parser.parse_args()

    images = load_images(PRESETS["fashion-mnist"].data, given.image_size, 1)
    classifier = feature_classifier(images, given.epochs)
    threshold = frechet_distance(
        classifier.features(images.test.images).numpy(),
        classifier.features(images.train.images).numpy(),
    )
    shape = [
        f"train.steps={given.steps}",
        f"train.batch_size={given.batch_size}",
        f"train.seed={given.seed}",
    ]
    shape += [f"model.width={given.width}", f"model.discriminator_width={given.width}"]
    shape += [f"model.image_size={given.image_size}"]
    shape += [f"train.adversarial_start={given.steps // 8}"]
    variants = {} if given.no_plain else {PLAIN: ["train.adversarial=none"]}
    for weight, share in itertools.product(given.weights, given.prior_shares):
        settings = [f"train.adversarial_weight={weight}", f"train.prior_share={share}"]
        variants[f"D_x, weight {weight:g}, prior share {share:g}"] = settings
    rows = {}
    for variant, settings in variants.items():
        rows[variant] = measure(
            images, with_settings(PRESETS["fashion-mnist"], shape + settings), classifier
        )
        print(variant, rows[variant], flush=True)
    settings = {
        "steps": given.steps,
        "batch_size": given.batch_size,
        "width": given.width,
        "seed": given.seed,
    }
    name = f"reconstruction-{given.image_size}px"
    rows = earlier_rows(name, settings) | rows
    plain = rows.get(PLAIN)
    ratios = (
        {variant: {n: row[n] / plain[n] for n in COMPARED} for variant, row in rows.items()}
        if plain
        else {}
    )
    results = {
        "judge": classifier.name,
        "train against test": threshold,
        "arms": rows,
        f"ratios to '{PLAIN}'": ratios,
    }
    record(name, results, **settings)


def earlier_rows(name: str, settings: dict[str, int]) -> dict[str, dict[str, float]]:
    """Rows of earlier calls with the same settings; a call may measure some of them.

    The seconds of different calls are not comparable.
    """
    path = Path(__file__).parent / "results" / f"{name}.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    return before["results"]["arms"] if before.get("settings") == settings else {}


def feature_classifier(images: ImageSet, epochs: int) -> Classifier:
    """The classifier of the Fréchet distances, trained on the training images."""
    learning, test = images.train, images.test
    assert learning.labels is not None
    assert test.labels is not None
    generator = torch.Generator().manual_seed(1)
    return train_classifier(
        learning.images,
        learning.labels,
        (test.images, test.labels),
        epochs=epochs,
        generator=generator,
    )


def measure(images: ImageSet, config: Config, classifier: Classifier) -> dict[str, float]:
    """Train one variant, and evaluate its reconstructions of the test images and its prior samples."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.begin(config)
        model = train_model(images.train.images, config, run, log=lambda entry: None, resume=False)
    seconds = time.perf_counter() - start
    return evaluated(images, model, classifier) | {"seconds": seconds}


def evaluated(images: ImageSet, model: VAEGAN, classifier: Classifier) -> dict[str, float]:
    """The error of reconstructions of the test images, and both Fréchet distances to them."""
    test = images.test.as_float()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        rebuilt = torch.cat([model.reconstruct(part.to(device)).cpu() for part in test.split(500)])
        codes = torch.randn(len(test), model.dimension, generator=generator)
        drawn = torch.cat([model.decode(part.to(device)).cpu() for part in codes.split(500)])
    real = classifier.features(images.test.images).numpy()
    distances = [
        frechet_distance(classifier.features(as_bytes(x)).numpy(), real) for x in (rebuilt, drawn)
    ]
    return {
        "mse": reconstruction_numbers(test, rebuilt)["mse"],
        "frechet of reconstructions": distances[0],
        "frechet of prior samples": distances[1],
    }


def as_bytes(images: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] as bytes."""
    return (images * 255).round().to(torch.uint8)


if __name__ == "__main__":
    main()
