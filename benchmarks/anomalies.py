"""AUROC of anomaly scores: held-out real images against images of other kinds, none of which were learned from.

Claim: Fashion-MNIST against MNIST reaches an AUROC of at least 0.99, and so does the reverse. The mean over all kinds of
anomalous images is above that of every baseline, though not on each kind. At a false-alarm rate of 5 %, about 5 % of
real images are called outliers. The other rows are cartoon faces against Fashion-MNIST at their size, each class left
out of training against the rest, and the same images turned, blurred, noised, inverted or blank. All scores use the same
model, codes and map; half of the held-out images calibrate, and the other half is compared with the anomalous images.

Nothing is fitted to anomalous images. How the parts of the score are combined was chosen on the digits runs, all eleven,
and on the Fashion-MNIST run against altered images; the distance to learned codes on the classes left out of Fashion-MNIST,
where LOF was ahead. Nothing was chosen on mnist and faces: they confirm.

Beside the usual scores of the same model: ECOD, LOF and the isolation forest of PyOD and scikit-learn on its codes, and the
distance to the tenth neighbour among EfficientNet-Lite0's features, which are those of a network that has seen millions of
other images.

--membership asks instead whether membership should count, which tells real codes from points between them: its p-value
alone, and as a fourth part of the score. Both are learned from the calibration images, and one half of the other real
images says which share of the other half would be outliers.

    pip install --no-deps --target PYOD pyod numba llvmlite; export PYTHONPATH=PYOD
    python benchmarks/anomalies.py                       # trains every model it needs into --runs; on a GPU, minutes each
    python benchmarks/anomalies.py --steps 1200 --width 12 --batch-size 64              # the same on two CPU cores
    python benchmarks/anomalies.py --models fashion-mnist=runs/fashion-16 --left-out    # models that are there already
    python benchmarks/anomalies.py --models digits --left-out 0 4 --membership --name anomalies-membership

    python benchmarks/anomalies.py --runs RUNS --ours    # after a change of the score: all rows, without the baselines

Rows that are there are not measured again: it goes on where it stopped.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import norm
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from torch import Tensor

from baselines import fit_flow, fit_gaussian_mixture
from earlier import EARLIER
from latent_atlas.anomaly import AnomalyTable
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.codes.embedder import embedder
from latent_atlas.config import Config, DataConfig, with_settings
from latent_atlas.config.presets import PRESETS
from latent_atlas.data import ImageSet, load_images
from latent_atlas.density.membership import Membership
from latent_atlas.device import pick_precision
from latent_atlas.runs import Run
from latent_atlas.training.loop import train
from record import record
from tables import read

AGAINST = {
    "fashion-mnist": "mnist",
    "mnist": "fashion-mnist",
    "faces": "fashion-mnist",
    "digits": "mnist",
}
LEFT_OUT = ("fashion-mnist", "digits")
CODES = 20_000  # of the training images, for the baselines
NEIGHBOUR = 10
FEATURES = 224  # pixels, as EfficientNet was trained
FALSE_ALARM_RATE = 0.05

Scorer = Callable[[Tensor], np.ndarray]
"""From images, as bytes, to anomaly scores."""


@dataclass(frozen=True)
class Case:
    """One model, and what is real to it.

    Attributes:
        atlas: The model with its map.
        learned: The images that it learned from, as bytes.
        calibration, real: Two halves of the held-out images, as bytes.
    """

    atlas: Atlas
    learned: Tensor
    calibration: Tensor
    real: Tensor


def main() -> None:
    given = arguments()
    chosen = [model.partition("=")[::2] for model in given.models]
    there = (Path(__file__).parent / "results" / f"{given.name}.json").is_file()
    results: dict[str, Any] = read(given.name)["results"] if there else {}
    settings = {n: v for n, v in vars(given).items() if isinstance(v, int | float) or v is None}
    before = read(given.name)["command"].partition(";")[0] if given.ours else ""

    def add(name: str, case: Case, anomalous: dict[str, Tensor]) -> None:
        found = compare(case, anomalous, given)
        if given.ours:
            for kind, row in results.get(name, {"odd": {}})["odd"].items():
                for scorer, numbers in row["auroc"].items():
                    found["odd"][kind]["auroc"].setdefault(scorer, numbers)
        results[name] = found
        record(given.name, results, after=before, false_alarm_rate=FALSE_ALARM_RATE, **settings)

    for name, folder in chosen:
        several = sum(name == other for other, _ in chosen) > 1
        row = f"{name}, {Path(folder).name}" if several else name
        if row in results and not given.ours:
            continue
        run = Run(Path(folder) if folder else given.runs / name)
        config = run.config() if folder else settings_of(name, given)
        images = load_images(config.data, config.model.image_size, config.model.channels)
        case = case_of(images, config, run, given)
        others = brought_to(case.atlas, AGAINST[name], given)
        anomalous = {
            AGAINST[name]: others.images[spread(len(others), given.images)],
            **altered(case.real),
        }
        add(row, case, anomalous)
    for name in (name for name in LEFT_OUT if name in dict(chosen)):
        config = settings_of(name, given)
        images = load_images(config.data, config.model.image_size, config.model.channels)
        assert images.labels is not None
        for kind in given.left_out:
            if f"{name} without {kind}" in results and not given.ours:
                continue
            rest = images.select(images.labels != kind)
            case = case_of(rest, config, Run(given.runs / f"{name}-without-{kind}"), given)
            left = images.select((images.labels == kind) & images.held_out)
            add(f"{name} without {kind}", case, {f"class {kind}": left.images})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        nargs="*",
        default=list(AGAINST),
        help="NAME, or NAME=RUN, also several of a name, of: " + ", ".join(AGAINST),
    )
    parser.add_argument(
        "--left-out", type=int, nargs="*", default=range(10), help="classes to leave out in turn"
    )
    parser.add_argument(
        "--membership", action="store_true", help="compare with membership instead of baselines"
    )
    parser.add_argument(
        "--ours",
        action="store_true",
        help="measure the score again, and keep the baselines' columns",
    )
    parser.add_argument("--name", default="anomalies", help="name of the result, which is added to")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/oddness"), help="where models are trained and kept"
    )
    parser.add_argument("--steps", type=int, help="training steps (default: the preset's)")
    parser.add_argument("--width", type=int, help="width of the networks (default: the preset's)")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--map-steps", type=int)
    parser.add_argument("--images", type=int, default=5_000, help="most images of each kind")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="fitting time of the mixture, and of the flow"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def settings_of(name: str, given: argparse.Namespace) -> Config:
    """The preset of a set with the settings of the command line; 30 % of a small set is held out."""
    set_to = {
        "train.steps": given.steps,
        "train.adversarial_start": given.steps and given.steps // 3,
        "train.kl_warmup": given.steps and given.steps // 3,
        "train.batch_size": given.batch_size,
        "train.seed": given.seed,
        "model.width": given.width,
        "model.discriminator_width": given.width,
        "map.steps": given.map_steps,
        "data.held_out": 0.3,
    }
    settings = [f"{place}={value}" for place, value in set_to.items() if value is not None]
    if name == "faces":
        wide = ["model.patch_size=2", "model.width=32", "model.discriminator_width=32"]
        settings = [*EARLIER, *wide, "train.steps=4000", *settings]
    return with_settings(PRESETS[name], settings)


def brought_to(atlas: Atlas, name: str, given: argparse.Namespace) -> ImageSet:
    """A named set at the image size of a model that was not trained on it."""
    channels, side, _ = atlas.image_shape
    return load_images(DataConfig(source=name, limit=2 * given.images), side, channels)


def case_of(images: ImageSet, config: Config, run: Run, given: argparse.Namespace) -> Case:
    """The model of a run folder, trained now if there is none."""
    if not run.file("map.safetensors").is_file():
        run.claim()
        run.begin(config)
        train(images, config, run, log=lambda entry: None)
        print(f"trained {run.path}", flush=True)
    test = images.test.images
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(given.seed))[
        : 2 * given.images
    ]
    half = len(order) // 2
    return Case(Atlas.load(run.path), images.train.images, test[order[:half]], test[order[half:]])


def altered(images: Tensor) -> dict[str, Tensor]:
    """The same images, altered, as bytes like the real ones."""
    x = images.float() / 255
    generator = torch.Generator().manual_seed(0)
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
    kernel = (kernel[:, None] * kernel / 256).expand(x.shape[1], 1, 5, 5)
    noised = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=x.shape[1])
    greys = torch.linspace(0, 1, 64)[:, None, None, None].expand(64, *x.shape[1:])
    changed = {
        "turned by 90°": x.rot90(1, (2, 3)),
        "upside down": x.flip(2),
        "mirrored": x.flip(3),
        "blurred": noised,
        "noised by 0.1": x + 0.1 * torch.randn(x.shape, generator=generator),
        "inverted": 1 - x,
        "blank": greys,
        "noise alone": torch.rand(x[:500].shape, generator=generator),
    }
    return {
        name: (some.clamp(0, 1) * 255).round().to(torch.uint8) for name, some in changed.items()
    }


def compare(case: Case, anomalous: dict[str, Tensor], given: argparse.Namespace) -> dict[str, Any]:
    """AUROC of every score on every kind of anomalous images, and the share called outliers."""
    scorers: dict[str, Scorer] = {}
    if given.membership:
        scorers = members(case)
    elif not given.ours:
        scorers = baselines(case, given)
    real = {name: scorer(case.real) for name, scorer in scorers.items()}
    usual = case.atlas.anomaly(
        case.real, held_out=case.calibration, false_alarm_rate=FALSE_ALARM_RATE
    )
    told = {
        "real images": len(case.real),
        "calibrated on": usual.calibrated_on,
        "false alarms": usual.is_outlier.mean().item(),
        "odd": {},
    }
    if given.membership:
        told |= {f"false alarms, {name}": false_alarms(scores) for name, scores in real.items()}
    for name, images in anomalous.items():
        found = case.atlas.anomaly(
            images, held_out=case.calibration, false_alarm_rate=FALSE_ALARM_RATE
        )
        both = ours(usual), ours(found)
        rows = {name: auroc(both[0][name], score) for name, score in both[1].items()}
        rows |= {
            baseline: auroc(real[baseline], scorer(images)) for baseline, scorer in scorers.items()
        }
        told["odd"][name] = {
            "images": len(images),
            "called odd": found.is_outlier.mean().item(),
            "auroc": rows,
        }
        print(name, {row: f"{numbers['value']:.4f}" for row, numbers in rows.items()}, flush=True)
    return told


def baselines(case: Case, given: argparse.Namespace) -> dict[str, Scorer]:
    """The usual anomaly scores, on the same model and codes."""
    atlas = case.atlas
    from pyod.models.ecod import ECOD

    generator = torch.Generator(atlas.device).manual_seed(given.seed)
    learn, check = (
        atlas.codes[part].sample(CODES, generator=generator) for part in ("train", "held_out")
    )
    budget = {"seconds": given.seconds, "generator": generator}
    mixture, flow = (
        fit_gaussian_mixture(learn, check[:5_000], **budget),
        fit_flow(learn, check[:5_000], **budget),
    )
    single = torch.distributions.MultivariateNormal(learn.mean(dim=0), torch.cov(learn.T))
    means = atlas.codes["train"].means[:CODES].cpu().numpy()
    neighbours = NearestNeighbors(n_neighbors=NEIGHBOUR).fit(means)
    learned = case.learned[spread(len(case.learned), CODES // 5)]
    pretrained = NearestNeighbors(n_neighbors=NEIGHBOUR).fit(features(learned))
    detectors = {
        "ECOD": ECOD().fit(means).decision_function,
        "LOF": LocalOutlierFactor(20, novelty=True).fit(means).score_samples,
        "isolation forest": IsolationForest(random_state=given.seed).fit(means).score_samples,
    }
    noise = errors(atlas, case.calibration).mean()  # the decoder's variance with the tightest bound

    def by_codes(log_prob: Callable[[Tensor], Tensor]) -> Scorer:
        @torch.no_grad()
        def scorer(images: Tensor) -> np.ndarray:
            return (
                -torch.cat([log_prob(part) for part in atlas.encode(images).split(2_000)])
                .cpu()
                .numpy()
            )

        return scorer

    return {
        "VAE ELBO": lambda images: negative_elbo(atlas, images, noise),
        "reconstruction error": lambda images: errors(atlas, images),
        "map density": by_codes(atlas.map.log_prob),
        "Mahalanobis": by_codes(single.log_prob),
        "Gaussian mixture": by_codes(mixture.log_prob),
        "neural spline flow": by_codes(flow.log_prob),
        f"neighbour {NEIGHBOUR}": lambda images: neighbours.kneighbors(
            atlas.encode(images).cpu().numpy()
        )[0][:, -1],
        "ECOD": lambda images: detectors["ECOD"](atlas.encode(images).cpu().numpy()),
        "LOF": lambda images: -detectors["LOF"](atlas.encode(images).cpu().numpy()),
        "isolation forest": lambda images: (
            -detectors["isolation forest"](atlas.encode(images).cpu().numpy())
        ),
        f"neighbour {NEIGHBOUR}, EfficientNet": lambda images: pretrained.kneighbors(
            features(images)
        )[0][:, -1],
    }


def features(images: Tensor) -> np.ndarray:
    """The 1,280 features of EfficientNet-Lite0 of images as bytes."""
    network = embedder("efficientnet", "cpu", pick_precision("auto", torch.device("cpu")))
    size = {"size": (FEATURES, FEATURES), "mode": "bilinear"}
    found = [network(F.interpolate(part.float() / 255, **size)) for part in images.split(64)]
    return torch.cat(found).numpy()


def ours(table: AnomalyTable) -> dict[str, np.ndarray]:
    """The score, without what is counted on either side, and of codes alone."""
    assert table.excess_error is not None
    of_codes = table.rarity, table.excess_distance
    return {
        "latent atlas": table.anomaly_score,
        "without sharpness and texture": combined(*of_codes, table.excess_error),
        "codes alone": combined(*of_codes),
    }


def combined(*parts: np.ndarray) -> np.ndarray:
    """The score of these parts, up to a constant."""
    total = sum(parts) / np.sqrt(len(parts))
    return np.logaddexp.reduce([-norm.logsf(part) for part in (*parts, total)])


def members(case: Case) -> dict[str, Scorer]:
    """Membership alone, and as a part of the score that counts where a code is unlike real ones."""
    atlas = case.atlas
    found = Membership.fit(
        atlas.map,
        atlas.encode(case.calibration),
        cycle=lambda z: atlas.encode(atlas.decode(z)),
        generator=torch.Generator().manual_seed(0),
    )

    @torch.no_grad()
    def unlike(images: Tensor) -> np.ndarray:
        odds = [found.log_odds(atlas.encode(part)) for part in images.split(500)]
        return -torch.cat(odds).double().numpy()

    low, centre, high = np.quantile(unlike(case.calibration), (0.16, 0.5, 0.84))

    def together(images: Tensor) -> np.ndarray:
        score = atlas.anomaly(images, held_out=case.calibration).anomaly_score
        return np.logaddexp(score, -norm.logsf(2 * (unlike(images) - centre) / (high - low)))

    return {
        "membership alone": lambda images: -found.p_value(atlas.encode(images)).double().numpy(),
        "with membership": together,
    }


def false_alarms(scores: np.ndarray) -> float:
    """Of one half of the real images, the share whose p-value among the others is at most the rate."""
    known, real = np.array_split(scores, 2)
    as_far = len(known) - np.searchsorted(np.sort(known), real)
    return float(np.mean((1 + as_far) / (len(known) + 1) <= FALSE_ALARM_RATE))


def errors(atlas: Atlas, images: Tensor) -> np.ndarray:
    """Mean squared error per pixel of G(mu(x))."""
    found = [squared(part, atlas.decode(atlas.encode(part))) for part in images.split(500)]
    return torch.cat(found).numpy()


@torch.no_grad()
def negative_elbo(atlas: Atlas, images: Tensor, variance: float, draws: int = 4) -> np.ndarray:
    """-ELBO in nats, up to a constant: E_q |x - G(z)|² / (2 variance) + KL(q(z|x) || p(z))."""
    assert atlas.model is not None
    generator = torch.Generator().manual_seed(0)
    bounds = []
    for part in images.split(500):
        means, log_variances = (
            some.cpu() for some in atlas.model.posterior(part) if some is not None
        )
        kl = 0.5 * (means.square() + log_variances.exp() - 1 - log_variances).sum(dim=1)
        error = torch.zeros(len(part))
        for _ in range(draws):
            z = means + (0.5 * log_variances).exp() * torch.randn(means.shape, generator=generator)
            error += squared(part, atlas.decode(z)) / draws
        bounds.append(error * part[0].numel() / (2 * variance) + kl)
    return torch.cat(bounds).numpy()


def squared(images: Tensor, rebuilt: Tensor) -> Tensor:
    return (rebuilt.cpu() - images.float() / 255).square().flatten(1).mean(dim=1)


def auroc(real: np.ndarray, anomalous: np.ndarray) -> dict[str, float]:
    """P(anomalous > real) + P(anomalous = real) / 2, and its standard error.

    References:
        Comparing the Areas Under Two or More Correlated ROC Curves, DeLong, DeLong and Clarke-Pearson 1988.
    """
    below = placements(np.sort(real), anomalous)
    above = 1 - placements(np.sort(anomalous), real)
    variance = below.var(ddof=1) / len(anomalous) + above.var(ddof=1) / len(real)
    return {"value": below.mean().item(), "error": float(np.sqrt(variance))}


def placements(ranked: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of the ranked numbers below each value, ties counted half."""
    sides = [np.searchsorted(ranked, values, side) for side in ("left", "right")]
    return (sides[0] + sides[1]) / 2 / len(ranked)


def spread(n: int, most: int) -> Tensor:
    """Places of at most so many images, evenly spread: sets are often in the order of their classes."""
    return torch.arange(n)[:: max(1, -(-n // most))]


if __name__ == "__main__":
    main()
