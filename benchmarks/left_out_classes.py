"""Embeddings of images of a class that the map has never seen, beside classical detectors and densities.

Question: how well do scores of embeddings tell images of a class that was left out from the others, and how likely are
held-out embeddings under the map? The codes are the 1,280 features of EfficientNet-Lite0 of Fashion-MNIST: 900 images of
each class to learn from, of which a tenth are held out by the map, and 300 of each to judge. Every method learns from the same nine
classes.

Baselines: the mean distance to the ten nearest codes (k-NN), in Euclidean space and between directions; the Mahalanobis
distance with the covariance of Ledoit and Wolf; a mixture of ten Gaussians in the 64 leading principal coordinates, with the
Gaussian of the others; ECOD of PyOD, and the local outlier factor.
Held-out log-densities are in nats: those of the map less its measured constant, those of the baselines exact.

    pip install --no-deps --target PYOD pyod numba llvmlite
    PYTHONPATH=PYOD python benchmarks/left_out_classes.py --work FOLDER    # about twenty minutes on two cores

Rows that are there are not measured again.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

from latent_atlas import LatentMap
from latent_atlas.anomaly import ConformalScorer, gather
from latent_atlas.codes.embedder import embedder
from latent_atlas.codes.posterior import Codes
from latent_atlas.config import DataConfig
from latent_atlas.data import load_images
from latent_atlas.device import pick_precision
from record import record
from tables import read

LEARN, JUDGE, SIDE = 900, 300, 224
NEIGHBOURS, COMPONENTS, LEADING, WIDENED = 10, 10, 64, 1e-2
RATE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="where features are kept")
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)))
    given = parser.parse_args()
    parts = features(given.work)
    there = (Path(__file__).parent / "results" / "left_out_classes.json").is_file()
    rows: dict[str, Any] = read("left_out_classes")["results"]["rows"] if there else {}
    for kind in given.classes:
        if str(kind) not in rows:
            rows[str(kind)] = measured(parts, kind)
            print(kind, rows[str(kind)], flush=True)
            record("left_out_classes", {"rows": rows, "means": means(rows)})


def features(work: Path) -> dict[str, Tensor]:
    """Features and classes of the images to learn from and of those to judge."""
    path = work / "fashion-mnist-efficientnet.pt"
    if path.is_file():
        return torch.load(path)
    images = load_images(DataConfig(source="fashion-mnist"), 28, 1)
    assert images.labels is not None
    network = embedder("efficientnet", "cpu", pick_precision("auto", torch.device("cpu")))
    found: dict[str, Tensor] = {}
    for name, held_out, count in (("learn", False, LEARN), ("judge", True, JUDGE)):
        of_part = images.held_out == held_out
        rows = torch.cat(
            [(of_part & (images.labels == kind)).nonzero()[:count, 0] for kind in range(10)]
        )
        codes = [
            network(F.interpolate(some.float() / 255, size=(SIDE, SIDE), mode="bilinear"))
            for some in images.images[rows].split(64)
        ]
        found |= {name: torch.cat(codes), f"{name} classes": images.labels[rows]}
    work.mkdir(parents=True, exist_ok=True)
    torch.save(found, path)
    return found


def measured(parts: dict[str, Tensor], kind: int) -> dict[str, Any]:
    """A row: AUROC by method, false alarms, log-densities and the cost of the map."""
    generator = torch.Generator().manual_seed(0)
    learn = parts["learn"][parts["learn classes"] != kind]
    learn = learn[torch.randperm(len(learn), generator=generator)]
    judge, left = parts["judge"], parts["judge classes"] == kind
    train, held_out = Codes(learn).split(0.1, generator=generator)
    start = time.perf_counter(), time.process_time()
    found = LatentMap.fit(train.means, held_out=held_out, generator=generator, warn=False)
    seconds, core_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    scorer = ConformalScorer(gather(found, held_out), train.means, generator=generator)
    table = scorer.anomaly(gather(found, Codes(judge)), false_alarm_rate=RATE)
    scores = {
        "ours": table.anomaly_score,
        "ours, log q alone": -table.log_prob,
        **baselines(learn, judge),
    }
    log_mass = found.calibration.log_normalising_constant
    real = judge[~left]
    mixture, gaussian = densities(train.means, real, found)
    return {
        "auroc": {name: float(roc_auc_score(left, score)) for name, score in scores.items()},
        "false alarms": float(table.is_outlier[~left.numpy()].mean()),
        "real images judged": len(real),
        "held-out log q": {
            "ours": found.log_prob(real).mean().item() - log_mass,
            "ours, before its constant": found.log_prob(real).mean().item(),
            "error of the constant": found.calibration.log_normalising_constant_error,
            "mixture of 10": mixture,
            "Gaussian": gaussian,
        },
        "seconds": seconds,
        "core seconds": core_seconds,
        "what was learned": found.warnings[-1],
    }


def baselines(learn: Tensor, judge: Tensor) -> dict[str, np.ndarray]:
    """Anomaly scores of the detectors one would otherwise pick."""
    from pyod.models.ecod import ECOD

    covariance = LedoitWolf().fit(learn.double().numpy())
    factor = LocalOutlierFactor(20, novelty=True).fit(learn.numpy())
    directions = (F.normalize(judge), F.normalize(learn))
    return {
        "k-NN": nearest(judge, learn),
        "k-NN of directions": nearest(*directions),
        "Mahalanobis": covariance.mahalanobis(judge.double().numpy()),
        "mixture of 10": -mixture_of_ten(learn, judge),
        "ECOD": ECOD().fit(learn.numpy()).decision_function(judge.numpy()),
        "LOF": -factor.score_samples(judge.numpy()),
    }


def nearest(judge: Tensor, learn: Tensor) -> np.ndarray:
    """Mean distance to the nearest codes."""
    return torch.cdist(judge, learn).topk(NEIGHBOURS, largest=False).values.mean(dim=1).numpy()


def mixture_of_ten(learn: Tensor, judge: Tensor) -> np.ndarray:
    """The log-density of a mixture in leading coordinates, and of the Gaussian of the others, up to a constant."""
    estimate = LedoitWolf().fit(learn.double().numpy())
    variances, basis = np.linalg.eigh(estimate.covariance_)
    white = basis[:, ::-1] / np.sqrt(variances[::-1])
    some, judged = ((x.double().numpy() - estimate.location_) @ white for x in (learn, judge))
    fitted = GaussianMixture(COMPONENTS, reg_covar=WIDENED, random_state=0)
    fitted.fit(some[:, :LEADING])
    rest = 0.5 * np.square(judged[:, LEADING:]).sum(axis=1)
    return fitted.score_samples(judged[:, :LEADING]) - rest


def densities(train: Tensor, real: Tensor, found: LatentMap) -> tuple[float, float]:
    """Mean log-densities in nats: a mixture of ten in the same subspace with the same rest, and a Gaussian."""
    member = found.network.members[0]
    axes = member.get_buffer("axes")
    u, w = found.whiten(train) @ axes, found.whiten(real)
    fitted = GaussianMixture(COMPONENTS, reg_covar=WIDENED, random_state=0).fit(u.numpy())
    leading = fitted.score_samples((w @ axes).numpy()).mean()
    rest = found.of_rest(real)
    assert rest is not None
    squares, one = rest[1].square(), torch.ones(1, 1)
    with torch.no_grad():
        log_ratio = member.get_submodule("rest")(squares[:, None], one, 0 * one)[0]
    others = axes.shape[0] - axes.shape[1] - member.get_buffer("null").shape[1]
    volume = (found.boundary.log_prob(real) + 0.5 * w.square().sum(dim=1)).mean().item()
    volume += 0.5 * axes.shape[0] * math.log(2 * math.pi)
    same = (log_ratio - 0.5 * squares).mean().item() - 0.5 * others * math.log(2 * math.pi)
    gaussian = LedoitWolf().fit(train.double().numpy()).score(real.double().numpy())
    return float(leading) + same + volume, gaussian


def means(rows: dict[str, Any]) -> dict[str, float]:
    """Mean AUROC of each method over the classes."""
    methods = next(iter(rows.values()))["auroc"]
    return {name: float(np.mean([row["auroc"][name] for row in rows.values()])) for name in methods}


if __name__ == "__main__":
    main()
