"""Does a decoder show fewer ghosts between codes if D_x also sees what it shows there? At these budgets, it does not.

Models are trained that differ only in what D_x is given as fakes. Each is asked on held-out images: the error of
reconstructions; the Fréchet distance, precision and recall of frames on turns round the mean and on lines between random
pairs, against reconstructions (`frechet`) and originals (`to originals`); and how well a small classifier of images tells
decoded codes from the middles of turns (`ghost AUROC`), and how many middles it takes for less real than 95 % of decoded
codes (`ghost rate`; 5 % of real codes by construction). That classifier is fitted to each model's decoded training codes
and their middles, so it has seen no image that it is asked about.

Claim: no row halves the Fréchet distance or the ghost rate of turns at an error within 3 % of that of `none`. Nearest to it
is `prior-0.5` on Fashion-MNIST: an eighth less of the distance at 1 to 3 % more error, and reconstructions whose own
distance to the originals is a quarter larger. On digits seeds differ by more than rows do.

- `none`: reconstructions alone. `prior-S`: the share S of them replaced by decoded prior codes (`train.prior_share`).
- `between-S`: the share S replaced by decoded points between codes, on turns round the mean.
- `ordered`: all reconstructions, and as many points between, which D_x learns to tell from reconstructions and not from
  images, with 30 times the weight for G. `ordered-fixed`: no gradient of these reaches E.
- `critic`: adversarially constrained interpolation. D_x regresses how far a decoded point is from the nearer of its two
  codes, and G makes that 0 (Berthelot et al. 2018, with lambda and gamma as there).

    python benchmarks/between.py fashion-mnist --image-size 14 --width 12  # 90 seconds of a CPU core a run
    python benchmarks/between.py fashion-mnist --image-size 8 --width 12 --steps 4800 --rows none ordered
    python benchmarks/between.py fashion-mnist --image-size 14 --width 16 --rows none prior-0.5
    python benchmarks/between.py digits --seeds 0 1 2
    python benchmarks/between.py PATH/TO/IMAGES --image-size 32 --channels 3

A row is written when its run has ended; a later call with the same settings goes on with those that are missing.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from earlier import EARLIER
from latent_atlas.codes.codec import reconstruction_errors
from latent_atlas.config import Config, with_settings
from latent_atlas.config.presets import PRESETS, preset_for_size, quick
from latent_atlas.data import ImageSet, load_images
from latent_atlas.device import Engine, pick_precision
from latent_atlas.evaluation.features import Classifier, Extractor, efficientnet, train_classifier
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.evaluation.paths import frame_numbers
from latent_atlas.geometry.manifold import Manifold, manifold_of
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.shapes import ByteImages, Latents, Values, batched, to_float
from latent_atlas.training.batches import Batches
from latent_atlas.training.loop import encode_all
from latent_atlas.training.step import Batch, Forward, TrainStep
from latent_atlas.travel.planners.baselines import linear
from latent_atlas.travel.planners.typical import turn
from reconstruction import feature_classifier
from record import record

FRAMES = 7  # of a path; the inner ones are measured
ALARM = 0.05  # of decoded real codes that the classifier takes for points between
HELD_OUT = 2_000  # images that are asked about, at most
JUDGED = 4_000  # training images that the classifier of ghosts learns from, at most
ORDERED = 30.0  # weight of the points between in the variant `ordered`, in adversarial weights
LAMBDA, GAMMA = 0.5, 0.2  # of adversarially constrained interpolation


class Between(TrainStep):
    """The first of D_x's fakes, the share `prior_share`, are decoded points between codes.

    Attributes:
        fixed: Whether E learns nothing from them.
        s: Where on its turn each of them is, from 0 at a code to 1 at another, shape (k,).
    """

    fixed = False
    s: Values

    def prior_codes(self, batch: Batch) -> Latents:
        """Points on turns round the mean between random pairs of the batch's means, (k, d).

        m + r(s) u(s), with u(s) the direction of (1 - s) (a - m) + s (b - m),
        r(s)² = (1 - s) |a - m|² + s |b - m|², and s uniform in [0, 1].
        """
        means = self.model.encoder(batch.images)[0].float()
        means = means.detach() if self.fixed else means
        count = round(self.config.prior_share * len(means))
        others = torch.randperm(len(means), generator=batch.generator)[:count]
        s = torch.rand(count, 1, generator=batch.generator)
        self.s = s[:, 0]
        centre = means.detach().mean(dim=0)
        a, b = means[:count] - centre, means[others] - centre
        squares = torch.lerp(a.square().sum(1, True), b.square().sum(1, True), s)
        return centre + squares.sqrt() * F.normalize(a.lerp(b, s), dim=1)


class Ordered(Between):
    """D_x orders images above reconstructions, and these above decoded points between codes."""

    def forward(self, batch: Batch) -> Forward:
        """Judge as many decoded points between codes, and then all reconstructions."""
        made = super().forward(batch)
        assert made.fake_logits is not None
        with self.engine.autocast():
            logits, _ = self.judge(made.decoded)
        return replace(made, fake_logits=torch.cat([made.fake_logits, logits]))

    def image_discriminator_loss(
        self, batch: Batch, made: Forward
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Also softplus(D(between) - D(rebuilt)), for D_x."""
        between, rebuilt = halves(made)
        loss, terms = super().image_discriminator_loss(batch, replace(made, fake_logits=rebuilt))
        return loss + F.softplus(between - rebuilt).mean(), terms

    def image_generator_loss(
        self, batch: Batch, made: Forward, reconstruction: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Also softplus(D(rebuilt) - D(between)), without a gradient through D(rebuilt)."""
        between, rebuilt = halves(made)
        made = replace(made, fake_logits=rebuilt)
        loss, terms = super().image_generator_loss(batch, made, reconstruction)
        added = F.softplus(rebuilt.detach() - between).mean()
        return loss + ORDERED * self.config.adversarial_weight * added, terms


class OrderedFixed(Ordered):
    """`Ordered`, whose points between codes leave E as it is."""

    fixed = True


class Critic(Between):
    """Adversarially constrained interpolation, on turns.

    References:
        Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer,
        Berthelot et al. 2018.
    """

    def image_discriminator_loss(
        self, batch: Batch, made: Forward
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's error in the distance to the nearer code, and its answer for no mixture."""
        assert made.fake_logits is not None
        loss = (made.fake_logits - torch.minimum(self.s, 1 - self.s)).square().mean()
        with self.engine.autocast():
            unmixed, _ = self.judge(made.decoded.detach().lerp(batch.images, GAMMA))
        loss = loss + unmixed.square().mean()
        return loss, {"image_discriminator": loss}

    def image_generator_loss(
        self, batch: Batch, made: Forward, reconstruction: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's answer, which is to be 0."""
        assert made.fake_logits is not None
        loss = made.fake_logits.square().mean()
        return LAMBDA * loss, {"image_generator": loss}


def halves(made: Forward) -> tuple[Values, Values]:
    """D_x of the points between and of the reconstructions, in `Ordered`."""
    assert made.fake_logits is not None
    between, rebuilt = made.fake_logits.chunk(2)
    return between, rebuilt


@dataclass(frozen=True)
class Row:
    """How one model trains: the class of its step, and the share of the fakes it invents."""

    step: type[TrainStep] = TrainStep
    share: float = 0.0


ROWS = {
    "none": Row(),
    "prior-0.5": Row(share=0.5),
    "between-0.25": Row(Between, 0.25),
    "between-0.5": Row(Between, 0.5),
    "between-1": Row(Between, 1.0),
    "ordered": Row(Ordered, 1.0),
    "ordered-fixed": Row(OrderedFixed, 1.0),
    "critic": Row(Critic, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="fashion-mnist, digits, or a folder of images")
    parser.add_argument("--image-size", type=int, help="pixels; smaller is cheaper")
    parser.add_argument("--channels", type=int, choices=(1, 3))
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--steps", type=int, help="training steps (default: those of --quick)")
    parser.add_argument("--width", type=int, help="of the networks (default: as of --quick)")
    parser.add_argument("--precision", default="auto", choices=("auto", "32", "bf16"))
    given = parser.parse_args()
    config = configuration(given)
    print(f"precision {config.train.precision}", flush=True)
    images = load_images(config.data, config.model.image_size, config.model.channels)
    extractor, place = make_extractor(images), Path(__file__).parent / "results" / "between.json"
    found = json.loads(place.read_text())["results"] if place.is_file() else {}
    name = f"{images.source.rstrip('/').rpartition('/')[2]}, {config.model.image_size} px"
    name += f", width {config.model.width}, {config.train.steps} steps"
    mine = found.setdefault(name, {"features": extractor.name, "rows": {}})["rows"]
    for seed in given.seeds:
        for row in given.rows:
            if str(seed) in mine.setdefault(row, {}):
                continue
            model, seconds = trained(ROWS[row], config, images, seed)
            numbers = measure(model, images, extractor, torch.Generator().manual_seed(seed))
            about = {"seconds of a core": seconds, "precision": config.train.precision}
            mine[row][str(seed)] = {**about, **numbers}
            print(f"{name}, {row}, seed {seed}", flush=True)
            record("between", found)


def configuration(given: argparse.Namespace) -> Config:
    """The preset of the source as --quick makes it, with the sizes asked for."""
    size = given.image_size or 64
    config = PRESETS.get(given.source) or PRESETS[preset_for_size(size)]
    if given.source != "digits":
        config = with_settings(quick(config), [*EARLIER, "train.steps=1200"])
    model, train = config.model, config.train
    width = given.width or model.width
    model = replace(
        model,
        image_size=given.image_size or model.image_size,
        channels=given.channels or model.channels,
        width=width,
        discriminator_width=width,
    )
    train = replace(train, steps=given.steps or train.steps, device="cpu")
    train = replace(train, precision=pick_precision(given.precision, torch.device("cpu")))
    return replace(config, data=replace(config.data, source=given.source), model=model, train=train)


def make_extractor(images: ImageSet) -> Extractor:
    """A classifier of the collection; of colours, a network trained on ImageNet."""
    if images.images.shape[1] > 1:
        return efficientnet()
    learn, test = images.train, images.test
    if learn.labels is None or test.labels is None:
        raise SystemExit(f"'{images.source}' has no labels for a classifier to learn")
    return feature_classifier(images, epochs=3 if len(learn) > 10_000 else 30)


def trained(row: Row, config: Config, images: ImageSet, seed: int) -> tuple[VAEGAN, float]:
    """The model with averaged weights, and the seconds of a CPU core that it took."""
    t = replace(config.train, seed=seed, prior_share=row.share)
    engine = Engine(t.device, t.precision, compile=t.compile)
    step = row.step(replace(config, train=t), engine)
    batches = Batches(images.train.images, t, engine.device)
    start = time.process_time()
    for number in range(1, t.steps + 1):
        step.step(batches(number))
    return step.finished(), time.process_time() - start


@torch.no_grad()
def measure(
    model: VAEGAN, images: ImageSet, extractor: Extractor, generator: torch.Generator
) -> dict[str, Any]:
    """The numbers of one model, of held-out images."""
    asked = images.test.images[:HELD_OUT]
    codes = encode_all(model, asked).means
    order = torch.randperm(len(images.train), generator=generator)[:JUDGED]
    learning = encode_all(model, images.train.images[order]).means
    centre = learning.mean(dim=0)
    rebuilt = decoded(model, codes)
    seen = extractor.features(rebuilt).numpy()
    originals = extractor.features(asked).numpy()
    numbers: dict[str, Any] = {
        "error": reconstruction_errors(model.decode, asked, codes)[:, 0].mean().item(),
        "frechet of reconstructions": frechet_distance(seen, originals),
    }
    start, end = shuffled(codes, generator).chunk(2)[0], shuffled(codes, generator).chunk(2)[0]
    real = manifold_of(seen)
    for name, path in {
        "turn": turn(start, end, FRAMES, centre),
        "line": linear(start, end, FRAMES),
    }.items():
        numbers[name] = frames_of(model, path[1:-1].flatten(0, 1), real, extractor, originals)
    middle = turn(codes, shuffled(codes, generator), 3, centre)[1]
    other = turn(learning, shuffled(learning, generator), 3, centre)[1]
    with torch.enable_grad():
        score = ghost_classifier(decoded(model, learning), decoded(model, other))
    return numbers | ghosts(score(rebuilt), score(decoded(model, middle)))


def frames_of(
    model: VAEGAN, codes: Latents, real: Manifold, extractor: Extractor, originals: np.ndarray
) -> dict[str, float]:
    """Numbers of frames against reconstructions, and their distance to the originals."""
    features = extractor.features(decoded(model, codes)).numpy()
    return {
        **frame_numbers(features, real),
        "to originals": frechet_distance(features, originals),
    }


def shuffled(codes: Latents, generator: torch.Generator) -> Latents:
    """The codes in a random order."""
    return codes[torch.randperm(len(codes), generator=generator)]


def decoded(model: VAEGAN, codes: Latents) -> ByteImages:
    """What the model shows at codes (n, d)."""
    return batched(lambda z: (model.decode(z) * 255).round().to(torch.uint8), codes, 512)


def ghost_classifier(real: ByteImages, between: ByteImages) -> Callable[[ByteImages], Values]:
    """The log-odds that an image is of a code and not between two, learned from these."""
    images = torch.cat([between, real])
    labels = (torch.arange(len(images)) >= len(between)).long()
    epochs = max(3, round(25_000 / len(images)))
    generator = torch.Generator().manual_seed(3)
    known: Classifier = train_classifier(
        images, labels, (images, labels), epochs=epochs, generator=generator
    )

    def score(images: ByteImages) -> Values:
        logits = batched(lambda part: known.network(to_float(part)), images, 512)
        return logits[:, 1] - logits[:, 0]

    return score


def ghosts(real: Values, between: Values) -> dict[str, float]:
    """AUROC of real against between, and the share of `between` below the 5 % quantile of real."""
    truth = torch.cat([torch.ones_like(real), torch.zeros_like(between)])
    return {
        "ghost AUROC": float(roc_auc_score(truth.numpy(), torch.cat([real, between]).numpy())),
        "ghost rate": (between < real.quantile(ALARM)).double().mean().item(),
    }


if __name__ == "__main__":
    main()
