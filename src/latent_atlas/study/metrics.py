"""The same measures for every map, whoever made it: how well it knows, ranks, calls odd, samples and travels."""

import math
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from latent_atlas.density.base import DensityRatioModel, StandardNormal
from latent_atlas.density_ratio.calibration import log_density, measure
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.evaluation.paths import plan_rows, travel_table
from latent_atlas.sampling.registry import draw
from latent_atlas.shapes import Latents, Values
from latent_atlas.study.statistics import auroc
from latent_atlas.study.trained_run import TrainedRun

__all__ = [
    "calibration_metrics",
    "log_density_metrics",
    "map_metrics",
    "or_none",
    "query_times",
    "ranking_metrics",
    "ranking_value",
    "sampling_metrics",
    "travel_metrics",
]

DEFENCE = 0.01  # share of the prior that each density is mixed with, so that one code outside a box costs 4.6 nats more
PLANNERS = ("linear", "geodesic")
COLUMNS = {
    "off_population mixture": "off_manifold",
    "frechet": "frechet",
    "precision": "precision",
    "length_ratio": "length_ratio",
}
TIMED = 1_000  # codes

Found = TypeVar("Found")


def map_metrics(
    membership: DensityRatioModel, trained: TrainedRun, *, normaliser: float
) -> dict[str, Any]:
    """All measures of a map of the subject's codes.

    Arguments:
        membership: The map.
        normaliser: log E_r[exp l] in nats, which is subtracted where a normalised density is asked for.
    """
    fake = membership.propose(len(trained.real), generator=trained.generator("fakes"))
    return {
        **log_density_metrics(membership, trained, normaliser),
        **calibration_metrics(membership, trained.real, fake),
        **ranking_metrics(membership, trained),
        **sampling_metrics(membership, trained),
        "travel": travel_metrics(membership, trained),
    }


def log_density_metrics(
    membership: DensityRatioModel, trained: TrainedRun, normaliser: float
) -> dict[str, float | None]:
    """Mean log-density in nats of held-out codes (as samples of q(z|x), as means) and of codes learned from.

    Each density is mixed with 1 % of the prior. `gap` is what it loses from images learned from to held-out ones.
    """
    learned = trained.learn.sample(len(trained.real), generator=trained.generator("learned"))
    places = {
        "log_prob": trained.real,
        "log_prob_means": trained.means,
        "log_prob_learned": learned,
    }
    if _closed(membership):
        return dict.fromkeys([*places, "gap"])
    found = {name: _mixed(membership, z, normaliser) for name, z in places.items()}
    return {**found, "gap": found["log_prob_learned"] - found["log_prob"]}


@torch.no_grad()
def _mixed(membership: DensityRatioModel, latents: Latents, normaliser: float) -> float:
    """Mean log-density in nats of the map mixed with 1 % of the prior."""
    inside = membership.log_prob(latents).nan_to_num(-math.inf, None, -math.inf) - normaliser
    outside = StandardNormal(membership.dimension).log_prob(latents)
    return torch.logaddexp(inside + math.log1p(-DEFENCE), outside + math.log(DEFENCE)).mean().item()


@torch.no_grad()
def calibration_metrics(
    membership: DensityRatioModel, real: Latents, fake: Latents
) -> dict[str, float]:
    """What held-out codes and the boundary's say of the logit.

    Returns:
        auc: probability that a real code has the higher logit than a fake one. kl, cross_entropy, scale,
        effective_share: as in `Calibration`. misjudged: mean over both of |seen - said| in groups of equal realness.
    """
    on_real, on_fake = membership.logit(real), membership.logit(fake)
    found = measure(on_real, on_fake)
    groups = found.reliability
    said, seen, count = (np.array(part) for part in (groups.said, groups.seen, groups.count))
    numbers = found.numbers()
    return {
        "auc": auroc(_array(on_real), _array(on_fake)),
        **{name: numbers[name] for name in ("kl", "cross_entropy", "scale", "effective_share")},
        "misjudged": float(np.average(np.abs(said - seen), weights=count)),
    }


def ranking_metrics(membership: DensityRatioModel, trained: TrainedRun) -> dict[str, Any]:
    """How well the map ranks real codes above others, as AUROC.

    Returns:
        ranking: held-out real codes above draws of the prior that are under the judge's floor, outside the population.
        odd: by kind, means of held-out images above those of odd images.
    """
    outside = off_manifold_codes(trained, len(trained.real))
    usual = ranking_value(membership, trained.means)
    return {
        "ranking": auroc(
            ranking_value(membership, trained.real), ranking_value(membership, outside)
        ),
        "outliers": {
            kind: auroc(usual, ranking_value(membership, codes))
            for kind, codes in trained.outliers.items()
        },
    }


def off_manifold_codes(trained: TrainedRun, n: int) -> Latents:
    """Prior draws outside the population, as the judge sees it; twice as wide ones where there are hardly any."""
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
def ranking_value(membership: DensityRatioModel, latents: Latents) -> np.ndarray:
    """What ranks codes: the log-density, or the logit where the boundary leaves no log-density."""
    ask = membership.logit if _closed(membership) else membership.log_prob
    values = torch.cat([ask(part) for part in latents.split(4_096)])
    return _array(values.nan_to_num(-math.inf, None, -math.inf))


def sampling_metrics(membership: DensityRatioModel, trained: TrainedRun) -> dict[str, float | None]:
    """Fréchet distance of images drawn through the map by importance, and what the draws were worth."""
    n, proposals = trained.design.effort.draws, trained.design.effort.proposals
    generator = trained.generator("draws")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # collapsed weights are a number of the table
        draws = or_none(
            lambda: draw(membership, n, "importance", proposals=proposals, generator=generator)
        )
    if draws is None:
        return {"frechet": None, "effective_samples": 0.0}
    distance = frechet_distance(trained.features(draws.points), trained.shared.reference)
    return {"frechet": distance, "effective_samples": draws.info["effective_samples"]}


def travel_metrics(
    membership: DensityRatioModel, trained: TrainedRun
) -> dict[str, dict[str, float]]:
    """Journeys between random held-out codes, the same for every map, judged by what planned none of them.

    Without a log-density there are none.
    """
    n, generator = (
        min(trained.design.effort.pairs, len(trained.real) // 2),
        trained.generator("journeys"),
    )
    order = torch.randperm(len(trained.real), generator=generator, device=trained.device)
    start, end = trained.real[order[: 2 * n]].chunk(2)
    rows = {planner: (planner, {}) for planner in PLANNERS}
    paths = or_none(lambda: plan_rows(membership, start, end, rows, generator=generator))
    if paths is None:
        return {}
    table = travel_table(
        paths,
        judges={"mixture": trained.evaluator},
        decode=trained.decode,
        features=trained.shared.features,
        reconstructions=trained.reconstructions,
    )
    return {
        row: {told: numbers[name] for name, told in COLUMNS.items()}
        for row, numbers in table.items()
    }


@torch.no_grad()
def query_times(membership: DensityRatioModel, latents: Latents) -> dict[str, float]:
    """Milliseconds for 1,000 codes: of the log-density, and of the score."""
    z = latents[torch.arange(TIMED, device=latents.device) % len(latents)]
    times = {}
    for name, ask in (("log_prob_ms", membership.log_prob), ("score_ms", membership.score)):
        ask(z)  # the first time is slower
        began = time.perf_counter()
        ask(z).sum().item()
        times[name] = 1_000 * (time.perf_counter() - began)
    return times


def or_none(work: Callable[[], Found]) -> Found | None:
    """What `work` gives, or None where it refuses: some maps cannot sample or travel, which is a result."""
    try:
        return work()
    except UserError:
        return None


def _closed(membership: DensityRatioModel) -> bool:
    """Whether its boundary leaves no log-density of real codes."""
    return isinstance(membership, LatentMap) and log_density(membership.boundary) is None


def _array(values: Values) -> np.ndarray:
    return values.detach().double().cpu().numpy()
