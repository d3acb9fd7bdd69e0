"""The metrics of a map: log-density, calibration, ranking, samples, paths, and time per query."""

import math
import time
import warnings
from typing import Any

import numpy as np
import torch

from latent_atlas.density.base import DensityRatioModel, StandardNormal
from latent_atlas.density_ratio.calibration import measure
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.evaluation.paths import plan_rows, travel_table
from latent_atlas.sampling.importance import Importance
from latent_atlas.sampling.registry import draw
from latent_atlas.shapes import Latents, Values, batched
from latent_atlas.study.statistics import auroc
from latent_atlas.study.trained_run import TrainedRun
from latent_atlas.travel.planners.registry import planner_of

__all__ = [
    "calibration_metrics",
    "log_density_metrics",
    "map_metrics",
    "query_times",
    "ranking_metrics",
    "ranking_value",
    "sampling_metrics",
    "travel_metrics",
]

# Each density is mixed with this share of the prior, so that a code outside a box costs 4.6 nats
# more than under the prior, and not infinitely many.
DEFENCE = 0.01
PLANNERS = ("linear", "geodesic")
COLUMNS = {
    "off_manifold mixture": "off_manifold",
    "frechet": "frechet",
    "precision": "precision",
    "length_ratio": "length_ratio",
}
TIMED = 1_000  # codes


def map_metrics(
    ratio: DensityRatioModel, trained: TrainedRun, *, log_constant: float
) -> dict[str, Any]:
    """All metrics of a map of the run's codes.

    Arguments:
        ratio: The map.
        trained: The run.
        log_constant: log E_r[exp l] in nats, which is subtracted to normalise the density.
    """
    fake = ratio.sample_boundary(len(trained.real), generator=trained.generator("fakes"))
    return {
        **log_density_metrics(ratio, trained, log_constant),
        **calibration_metrics(ratio, trained.real, fake),
        **ranking_metrics(ratio, trained),
        **sampling_metrics(ratio, trained),
        "travel": travel_metrics(ratio, trained),
    }


def log_density_metrics(
    ratio: DensityRatioModel, trained: TrainedRun, log_constant: float
) -> dict[str, float | None]:
    """Mean log-density in nats of held-out samples of q(z|x), held-out means, and training samples.

    Each density is mixed with 1 % of the prior. `gap` is the value of training samples minus that
    of held-out ones.
    """
    learned = trained.learn.sample(len(trained.real), generator=trained.generator("learned"))
    places = {
        "log_prob": trained.real,
        "log_prob_means": trained.means,
        "log_prob_learned": learned,
    }
    if not ratio.has_log_prob:
        return dict.fromkeys([*places, "gap"])
    found = {name: _mixed(ratio, z, log_constant) for name, z in places.items()}
    return {**found, "gap": found["log_prob_learned"] - found["log_prob"]}


@torch.no_grad()
def _mixed(ratio: DensityRatioModel, latents: Latents, log_constant: float) -> float:
    """Mean log-density in nats of the map mixed with 1 % of the prior."""
    inside = ratio.log_prob(latents).nan_to_num(-math.inf, None, -math.inf) - log_constant
    outside = StandardNormal(ratio.dimension).log_prob(latents)
    return torch.logaddexp(inside + math.log1p(-DEFENCE), outside + math.log(DEFENCE)).mean().item()


@torch.no_grad()
def calibration_metrics(ratio: DensityRatioModel, real: Latents, fake: Latents) -> dict[str, float]:
    """How well the logit separates held-out codes from the boundary's, and its calibration.

    Returns:
        auc: probability that a real code has a higher logit than a fake one. kl, cross_entropy,
        scale, effective_share: as in `Calibration`. calibration_error: mean of |observed
        - predicted realness| over groups of equal realness.
    """
    on_real, on_fake = ratio.logit(real), ratio.logit(fake)
    found = measure(on_real, on_fake)
    groups = found.reliability
    predicted, observed, count = (
        np.array(part) for part in (groups.predicted, groups.observed, groups.count)
    )
    numbers = found.numbers()
    return {
        "auc": auroc(_array(on_real), _array(on_fake)),
        **{name: numbers[name] for name in ("kl", "cross_entropy", "scale", "effective_share")},
        "calibration_error": float(np.average(np.abs(observed - predicted), weights=count)),
    }


def ranking_metrics(ratio: DensityRatioModel, trained: TrainedRun) -> dict[str, Any]:
    """How well the map ranks real codes above others, as AUROC.

    Returns:
        ranking: held-out real codes above off-manifold draws of the prior. outliers: by kind, means
        of held-out images above those of outlier images.
    """
    outside = off_manifold_codes(trained, len(trained.real))
    usual = ranking_value(ratio, trained.means)
    return {
        "ranking": auroc(ranking_value(ratio, trained.real), ranking_value(ratio, outside)),
        "outliers": {
            kind: auroc(usual, ranking_value(ratio, codes))
            for kind, codes in trained.outliers.items()
        },
    }


def off_manifold_codes(trained: TrainedRun, n: int) -> Latents:
    """Off-manifold draws of the prior, or of wider Gaussians if there are too few.

    They have a log-density below the evaluation model's threshold.
    """
    generator = trained.generator("outsiders")
    for width in (1.0, 2.0, 4.0):
        z = width * torch.randn(
            8 * n, trained.real.shape[1], generator=generator, device=trained.device
        )
        found = z[trained.evaluator.density.log_prob(z) < trained.evaluator.threshold][:n]
        if len(found) >= n / 2:
            break
    return found


@torch.no_grad()
def ranking_value(ratio: DensityRatioModel, latents: Latents) -> np.ndarray:
    """What ranks codes: the log-density, or the logit if the boundary has no density."""
    ask = ratio.log_prob if ratio.has_log_prob else ratio.logit
    values = batched(ask, latents, 4_096)
    return _array(values.nan_to_num(-math.inf, None, -math.inf))


def sampling_metrics(ratio: DensityRatioModel, trained: TrainedRun) -> dict[str, float | None]:
    """Fréchet distance of images drawn through the map by importance, and their effective sample
    size.
    """
    n, proposals = trained.design.effort.draws, trained.design.effort.proposals
    generator = trained.generator("draws")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # collapsed weights are a number of the table
        draws = draw(ratio, n, Importance(proposals=proposals), generator=generator)
    distance = frechet_distance(trained.features(draws.points), trained.shared.reference)
    return {"frechet": distance, "effective_sample_size": draws.info.effective_sample_size}


def travel_metrics(ratio: DensityRatioModel, trained: TrainedRun) -> dict[str, dict[str, float]]:
    """Paths between random held-out codes, evaluated with a model that planned none of them.

    The pairs are the same for every map. A map without a log-density has no paths.
    """
    n, generator = (
        min(trained.design.effort.pairs, len(trained.real) // 2),
        trained.generator("paths"),
    )
    if not ratio.has_log_prob:
        return {}
    order = torch.randperm(len(trained.real), generator=generator, device=trained.device)
    start, end = trained.real[order[: 2 * n]].chunk(2)
    rows = {planner: planner_of(planner) for planner in PLANNERS}
    paths = plan_rows(ratio, start, end, rows, generator=generator)
    table = travel_table(
        paths,
        evaluation_models={"mixture": trained.evaluator},
        decode=trained.decode,
        features=trained.shared.features,
        reconstructions=trained.reconstructions,
    )
    return {
        row: {column: numbers[name] for name, column in COLUMNS.items()}
        for row, numbers in table.items()
    }


@torch.no_grad()
def query_times(ratio: DensityRatioModel, latents: Latents) -> dict[str, float]:
    """Milliseconds for the log-density and for the score of 1,000 codes.

    For the logit and for the gradient of log D_z where the boundary has no density.
    """
    asked = (ratio.log_prob, ratio.score)
    if not ratio.has_log_prob:
        asked = (ratio.logit, ratio.log_realness_gradient)
    z = latents[torch.arange(TIMED, device=latents.device) % len(latents)]
    times = {}
    for name, ask in zip(("log_prob_ms", "score_ms"), asked, strict=True):
        ask(z)  # the first time is slower
        began = time.perf_counter()
        ask(z).sum().item()
        times[name] = 1_000 * (time.perf_counter() - began)
    return times


def _array(values: Values) -> np.ndarray:
    return values.detach().double().cpu().numpy()
