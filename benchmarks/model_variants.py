"""One change to the networks or their training at a time, at equal computing time.

Question: what gives better reconstructions and samples in the same core seconds? Each variant trains for as many steps as fit into the
budget, measured in its own first steps, on one core; the rest of its schedule scales with them. The Fréchet distances of
reconstructions, of decoded draws from the prior and, with `--maps`, of samples of a map fitted to the codes, are to held-out
images, in the features of a classifier of the same set, or, where there are few images, of EfficientNet-Lite0. The time of
the map is not in the budget: it has the same codes to learn from, whatever the variant.

    python benchmarks/model_variants.py                               # Fashion-MNIST, about four minutes a row
    python benchmarks/model_variants.py --source faces --seeds 0 1 2
    python benchmarks/model_variants.py --source photographs          # of 32 pixels, fetched by `photographs.py`
    python benchmarks/model_variants.py --budget 40 --variants "+ batch 16" "+ batch 16, attention"
    python benchmarks/model_variants.py --variants base "patch 2, narrow D_x, weight .0025" --maps --seeds 0 1 2
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latent_atlas import LatentMap
from latent_atlas.config import Config, with_settings
from latent_atlas.config.presets import PRESETS, quick
from latent_atlas.data import ImageSet, load_images
from latent_atlas.device import Engine, pick_device, pick_precision
from latent_atlas.evaluation import frechet_distance
from latent_atlas.evaluation.features import efficientnet
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import Run
from latent_atlas.sampling import Diffusion, draw
from latent_atlas.training.batches import Batches
from latent_atlas.training.loop import encode_all, take_steps
from latent_atlas.training.step import Batch, TrainStep
from model_trials import TRIALS
from photographs import fetch_photographs
from reconstruction import as_bytes, evaluated, feature_classifier
from record import record

RESULT = Path(__file__).parent / "results" / "model_variants.json"
PHOTOGRAPHS, JUDGED = "photographs", 2_000
LABELLED = ("digits", "mnist", "fashion-mnist")
ABOUT = ("source", "image size", "variant", "seed", "budget")
Made = Callable[[Config, Engine], TrainStep]
BASE = [
    "model.patch_size=1",
    "model.encoder_patch_size=null",
    "model.width=16",
    "model.discriminator_width=16",
    "train.reconstruction=l2",
    "train.kl_weight=2e-4",
    "train.adversarial_weight=0.0017",
    "train.batch_size=64",
    "train.feature_matching=0",
]
PATCH = [
    "model.patch_size=2",
    "model.width=32",
    "model.discriminator_width=32",
    "train.adversarial_weight=0.0017",
]
NARROW = [*PATCH, "model.discriminator_width=16", "train.adversarial_weight=0.0025"]
SMALL = [*NARROW, "train.batch_size=16"]
MATCHED = [*SMALL, "train.feature_matching=0.03"]
QUICK = [*MATCHED, "train.kl_weight=5e-5", "model.encoder_patch_size=4"]
FLAT = [
    *SMALL,
    "model.encoder_patch_size=4",
    "train.batch_size=8",
    "train.reconstruction=l1",
    "train.kl_weight=1e-4",
    "train.adversarial_weight=0.0015",
]
VARIANTS: dict[str, list[str]] = {
    "base": [],
    "patch 2": PATCH,
    "patch 2, width 24": [*PATCH, "model.width=24", "model.discriminator_width=24"],
    "patch 2, weight .0025": [*PATCH, "train.adversarial_weight=0.0025"],
    "patch 2, rate 2e-3": [*PATCH, "train.learning_rate=2e-3"],
    "patch 2, narrow D_x": [*PATCH, "model.discriminator_width=16"],
    "patch 2, narrow D_x, weight .0025": NARROW,
    "patch 4": [*PATCH, "model.patch_size=4", "model.width=64", "model.discriminator_width=64"],
    "feature matching .003": ["train.feature_matching=0.003"],
    "feature matching .03": ["train.feature_matching=0.03"],
    "rate 2e-3": ["train.learning_rate=2e-3"],
    "D_x rate 1e-3": ["train.discriminator_learning_rate=1e-3"],
    "weight .003": ["train.adversarial_weight=0.003"],
    "weight .006": ["train.adversarial_weight=0.006"],
    "ema .995": ["train.ema=0.995"],
    "decay .8": ["train.decay=0.8"],
    "KL 1e-4": ["train.kl_weight=1e-4"],
    "narrow D_x": ["model.discriminator_width=8"],
    "+ batch 32": [*NARROW, "train.batch_size=32"],
    "+ batch 16": SMALL,
    "+ batch 16, patch 4": [*SMALL, "model.patch_size=4"],
    "+ batch 16, patch 4, weight .01": [
        *SMALL,
        "model.patch_size=4",
        "train.adversarial_weight=0.01",
    ],
    "+ batch 16, no D_x": [*SMALL, "train.adversarial=none"],
    "+ batch 16, KL 5e-5": [*SMALL, "train.kl_weight=5e-5"],
    "+ batch 16, patch 4 of E": [*SMALL, "model.encoder_patch_size=4"],
    "+ batch 16, feature matching .03": MATCHED,
    "+ batch 16, feature matching .03, KL 5e-5": [*MATCHED, "train.kl_weight=5e-5"],
    "as --quick": QUICK,
    "as --quick, d = 64": [*QUICK, "model.latent_dim=64"],
    "as --quick, d = 128": [*QUICK, "model.latent_dim=128"],
    "absolute differences": FLAT,
    "absolute differences, batch 16": [*FLAT, "train.batch_size=16"],
    **{f"+ batch 16, {trial}": SMALL for trial in TRIALS},
    "+ batch 16, free bits": [*SMALL, "model.latent_dim=32"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="fashion-mnist", choices=[*PRESETS, PHOTOGRAPHS])
    parser.add_argument("--image-size", type=int, help="pixels (default: as `--quick` trains)")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--budget", type=float, default=200, help="core seconds of a training")
    parser.add_argument("--maps", action="store_true", help="fit a map and draw from it as well")
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = quick(PRESETS["32px" if given.source == PHOTOGRAPHS else given.source])
    if given.source == PHOTOGRAPHS:
        base = replace(base, data=replace(base.data, source=str(fetch_photographs())))
    if given.image_size is not None:
        base = replace(base, model=replace(base.model, image_size=given.image_size))
    images = load_images(base.data, base.model.image_size, base.model.channels)
    if given.source in LABELLED:
        judge = feature_classifier(images, 3)
    else:
        images, judge = with_fewer_held_out(images), efficientnet(112)
    before = json.loads(RESULT.read_text()) if RESULT.is_file() else None
    earlier = before["results"]["rows"] if before else []
    rows = {tuple(row[name] for name in ABOUT): row for row in earlier}
    after = before["command"].partition(";")[0] if before else ""
    for seed in given.seeds:
        for variant in given.variants:
            asked = (given.source, base.model.image_size, variant, seed, given.budget)
            if asked in rows and (not given.maps or "frechet of samples" in rows[asked]):
                continue
            settings = VARIANTS.get(variant, variant.split())
            config = with_settings(base, [*BASE, *settings, f"train.seed={seed}"])
            made = TRIALS.get(variant.removeprefix("+ batch 16, "), TrainStep)
            found = trained(images, config, made, judge, given.budget, with_map=given.maps)
            rows[asked] = dict(zip(ABOUT, asked, strict=True)) | found
            record("model_variants", {"rows": list(rows.values())}, after=after)


def with_fewer_held_out(images: ImageSet) -> ImageSet:
    """The same with at most 2,000 images held out: EfficientNet takes a minute for 5,000."""
    left_out = images.held_out.nonzero().flatten()[JUDGED:]
    kept = torch.ones(len(images), dtype=torch.bool)
    kept[left_out] = False
    return images.select(kept)


def trained(
    images: ImageSet, config: Config, made: Made, judge: Any, budget: float, *, with_map: bool
) -> dict[str, Any]:
    """One training of so many core seconds, and what its images are like."""
    precision = pick_precision(config.train.precision, pick_device("cpu"))
    engine = Engine("cpu", precision, compile=False)
    steps = max(50, int(budget / seconds_of_step(made, config, engine, images)))
    train = replace(config.train, steps=steps, adversarial_start=steps // 8, kl_warmup=steps // 8)
    config = replace(config, train=train)
    start = time.process_time()
    step = made(config, engine)
    batches = Batches(images.train.images, train, engine.device)
    with tempfile.TemporaryDirectory() as folder:
        take_steps(step, batches, Run(Path(folder)), log=lambda entry: None, resume=False)
    model = step.finished()
    found = {"core seconds": time.process_time() - start, "steps": steps}
    found |= evaluated(images, model, judge)
    if with_map:
        found["frechet of samples"] = distance_of_samples(images, config, model, judge)
    return found


def distance_of_samples(images: ImageSet, config: Config, model: VAEGAN, judge: Any) -> float:
    """The Fréchet distance to the test images of as many samples of a map of the codes."""
    generator = torch.Generator().manual_seed(config.train.seed)
    codes = encode_all(model, images.train.images)
    fitted = LatentMap.fit(
        codes.means, codes.log_variances, config=config.map, generator=generator, warn=False
    )
    drawn = draw(fitted, len(images.test), Diffusion(), generator=generator).points
    with torch.no_grad():
        decoded = torch.cat([model.decode(part) for part in drawn.split(500)])
    features = [judge.features(x).numpy() for x in (as_bytes(decoded), images.test.images)]
    return frechet_distance(*features)


def seconds_of_step(made: Made, config: Config, engine: Engine, images: ImageSet) -> float:
    """Core seconds of a step with every loss, its penalties spread over the steps."""
    train = replace(config.train, adversarial_start=0, discriminator_start=0)
    step = made(replace(config, train=train), engine)
    batch = images.train.images[: train.batch_size].float() / 255
    generator = torch.Generator().manual_seed(0)
    times = []
    for k in range(1, 33):
        start = time.process_time()
        step.step(Batch(batch, k, generator))
        step.average_weights(k)
        times.append(time.process_time() - start)
    plain = statistics.median(times[2:])
    return plain + max(0.0, times[31] - plain) / train.penalty_every


if __name__ == "__main__":
    main()
