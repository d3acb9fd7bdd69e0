"""The same measures for every map, whoever made it: how well it knows, ranks, calls odd, samples and travels."""

import math
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from latent_atlas.density.base import DensityRatioModel, StandardNormal
from latent_atlas.density_ratio.calibration import measure
from latent_atlas.errors import UserError
from latent_atlas.evaluation.frechet_kernel import frechet_distance
from latent_atlas.evaluation.paths import plan_rows, travel_table
from latent_atlas.sampling.registry import draw
from latent_atlas.shapes import Latents, Values
from latent_atlas.study.statistics import auroc
from latent_atlas.study.trained_run import Subject

__all__ = [
    "calibrated",
    "cost",
    "guarded",
    "judged",
    "knowledge",
    "rank_of",
    "ranking",
    "sampling",
    "travel",
]

DEFENCE = 0.01  # share of the prior that each density is mixed with, so that one code outside a box costs 4.6 nats more
PLANNERS = ("linear", "geodesic")
TOLD = {
    "off_population mixture": "off_population",
    "frechet": "frechet",
    "precision": "precision",
    "length_ratio": "length_ratio",
}
TIMED = 1_000  # codes

Found = TypeVar("Found")


def judged(ratio: DensityRatioModel, subject: Subject, *, normaliser: float) -> dict[str, Any]:
    """All measures of a map of the subject's codes.

    Arguments:
        ratio: The map.
        normaliser: log E_r[exp l] in nats, which is subtracted where a normalised density is asked for.
    """
    fake = ratio.sample_boundary(len(subject.real), generator=subject.generator("fakes"))
    return {
        **knowledge(ratio, subject, normaliser),
        **calibrated(ratio, subject.real, fake),
        **ranking(ratio, subject),
        **sampling(ratio, subject),
        "travel": travel(ratio, subject),
    }


def knowledge(
    ratio: DensityRatioModel, subject: Subject, normaliser: float
) -> dict[str, float | None]:
    """Mean log-density in nats of held-out codes (as samples of q(z|x), as means) and of codes learned from.

    Each density is mixed with 1 % of the prior. `gap` is what it loses from images learned from to held-out ones.
    """
    learned = subject.learn.sample(len(subject.real), generator=subject.generator("learned"))
    places = {
        "log_prob": subject.real,
        "log_prob_means": subject.means,
        "log_prob_learned": learned,
    }
    if not ratio.has_log_prob:
        return dict.fromkeys([*places, "gap"])
    found = {name: _mixed(ratio, z, normaliser) for name, z in places.items()}
    return {**found, "gap": found["log_prob_learned"] - found["log_prob"]}


@torch.no_grad()
def _mixed(ratio: DensityRatioModel, latents: Latents, normaliser: float) -> float:
    """Mean log-density in nats of the map mixed with 1 % of the prior."""
    inside = ratio.log_prob(latents).nan_to_num(-math.inf, None, -math.inf) - normaliser
    outside = StandardNormal(ratio.dimension).log_prob(latents)
    return torch.logaddexp(inside + math.log1p(-DEFENCE), outside + math.log(DEFENCE)).mean().item()


@torch.no_grad()
def calibrated(ratio: DensityRatioModel, real: Latents, fake: Latents) -> dict[str, float]:
    """What held-out codes and the boundary's say of the logit.

    Returns:
        auc: probability that a real code has the higher logit than a fake one. kl, cross_entropy, scale,
        effective_share: as in `Calibration`. misjudged: mean over both of |observed - predicted| in
        bins of realness.
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
        "misjudged": float(np.average(np.abs(observed - predicted), weights=count)),
    }


def ranking(ratio: DensityRatioModel, subject: Subject) -> dict[str, Any]:
    """How well the map ranks real codes above others, as AUROC.

    Returns:
        ranking: held-out real codes above draws of the prior that are under the judge's floor, outside the population.
        odd: by kind, means of held-out images above those of odd images.
    """
    outside = outsiders(subject, len(subject.real))
    usual = rank_of(ratio, subject.means)
    return {
        "ranking": auroc(rank_of(ratio, subject.real), rank_of(ratio, outside)),
        "odd": {kind: auroc(usual, rank_of(ratio, codes)) for kind, codes in subject.odd.items()},
    }


def outsiders(subject: Subject, n: int) -> Latents:
    """Prior draws outside the population, as the judge sees it; twice as wide ones where there are hardly any."""
    generator = subject.generator("outsiders")
    for width in (1.0, 2.0, 4.0):
        z = width * torch.randn(
            8 * n, subject.real.shape[1], generator=generator, device=subject.device
        )
        found = z[subject.judge.density.log_prob(z) < subject.judge.threshold][:n]
        if len(found) >= n / 2:
            break
    return found


@torch.no_grad()
def rank_of(ratio: DensityRatioModel, latents: Latents) -> np.ndarray:
    """What ranks codes: the log-density, or the logit where the boundary leaves no log-density."""
    ask = ratio.log_prob if ratio.has_log_prob else ratio.logit
    values = torch.cat([ask(part) for part in latents.split(4_096)])
    return _array(values.nan_to_num(-math.inf, None, -math.inf))


def sampling(ratio: DensityRatioModel, subject: Subject) -> dict[str, float | None]:
    """Fréchet distance of images drawn through the map by importance, and what the draws were worth."""
    n, proposals = subject.design.effort.draws, subject.design.effort.proposals
    generator = subject.generator("draws")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # collapsed weights are a number of the table
        draws = guarded(
            lambda: draw(ratio, n, "importance", proposals=proposals, generator=generator)
        )
    if draws is None:
        return {"frechet": None, "effective_samples": 0.0}
    distance = frechet_distance(subject.features(draws.points), subject.material.reference)
    return {"frechet": distance, "effective_samples": draws.info["effective_samples"]}


def travel(ratio: DensityRatioModel, subject: Subject) -> dict[str, dict[str, float]]:
    """Journeys between random held-out codes, the same for every map, judged by what planned none of them.

    Without a log-density there are none.
    """
    n, generator = (
        min(subject.design.effort.pairs, len(subject.real) // 2),
        subject.generator("journeys"),
    )
    order = torch.randperm(len(subject.real), generator=generator, device=subject.device)
    start, end = subject.real[order[: 2 * n]].chunk(2)
    rows = {planner: (planner, {}) for planner in PLANNERS}
    if not ratio.has_log_prob:
        return {}
    paths = plan_rows(ratio, start, end, rows, generator=generator)
    table = travel_table(
        paths,
        judges={"mixture": subject.judge},
        decode=subject.decode,
        features=subject.material.features,
        reconstructions=subject.reconstructions,
    )
    return {
        row: {told: numbers[name] for name, told in TOLD.items()} for row, numbers in table.items()
    }


@torch.no_grad()
def cost(ratio: DensityRatioModel, latents: Latents) -> dict[str, float]:
    """Milliseconds for 1,000 codes: of the log-density, and of the score."""
    z = latents[torch.arange(TIMED, device=latents.device) % len(latents)]
    times = {}
    for name, ask in (("log_prob_ms", ratio.log_prob), ("score_ms", ratio.score)):
        ask(z)  # the first time is slower
        began = time.perf_counter()
        ask(z).sum().item()
        times[name] = 1_000 * (time.perf_counter() - began)
    return times


def guarded(work: Callable[[], Found]) -> Found | None:
    """What `work` gives, or None where it refuses: some maps cannot sample or travel, which is a result."""
    try:
        return work()
    except UserError:
        return None


def _array(values: Values) -> np.ndarray:
    return values.detach().double().cpu().numpy()
