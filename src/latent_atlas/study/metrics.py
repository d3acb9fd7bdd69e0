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
from latent_atlas.sampling.importance import Importance
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
    "off_manifold mixture": "off_population",
    "frechet": "frechet",
    "precision": "precision",
    "length_ratio": "length_ratio",
}
TIMED = 1_000  # codes

Found = TypeVar("Found")


def judged(membership: DensityRatioModel, subject: Subject, *, normaliser: float) -> dict[str, Any]:
    """All measures of a map of the subject's codes.

    Arguments:
        membership: The map.
        normaliser: log E_r[exp l] in nats, which is subtracted where a normalised density is asked for.
    """
    fake = membership.propose(len(subject.real), generator=subject.generator("fakes"))
    return {
        **knowledge(membership, subject, normaliser),
        **calibrated(membership, subject.real, fake),
        **ranking(membership, subject),
        **sampling(membership, subject),
        "travel": travel(membership, subject),
    }


def knowledge(
    membership: DensityRatioModel, subject: Subject, normaliser: float
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
def calibrated(membership: DensityRatioModel, real: Latents, fake: Latents) -> dict[str, float]:
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


def ranking(membership: DensityRatioModel, subject: Subject) -> dict[str, Any]:
    """How well the map ranks real codes above others, as AUROC.

    Returns:
        ranking: held-out real codes above draws of the prior that are under the judge's floor, outside the population.
        odd: by kind, means of held-out images above those of odd images.
    """
    outside = outsiders(subject, len(subject.real))
    usual = rank_of(membership, subject.means)
    return {
        "ranking": auroc(rank_of(membership, subject.real), rank_of(membership, outside)),
        "odd": {
            kind: auroc(usual, rank_of(membership, codes)) for kind, codes in subject.odd.items()
        },
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
def rank_of(membership: DensityRatioModel, latents: Latents) -> np.ndarray:
    """What ranks codes: the log-density, or the logit where the boundary leaves no log-density."""
    ask = membership.logit if _closed(membership) else membership.log_prob
    values = torch.cat([ask(part) for part in latents.split(4_096)])
    return _array(values.nan_to_num(-math.inf, None, -math.inf))


def sampling(membership: DensityRatioModel, subject: Subject) -> dict[str, float | None]:
    """Fréchet distance of images drawn through the map by importance, and their effective sample size."""
    n, proposals = subject.design.effort.draws, subject.design.effort.proposals
    generator = subject.generator("draws")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # collapsed weights are a number of the table
        draws = guarded(
            lambda: draw(membership, n, Importance(proposals=proposals), generator=generator)
        )
    if draws is None:
        return {"frechet": None, "effective_sample_size": 0.0}
    distance = frechet_distance(subject.features(draws.points), subject.material.reference)
    return {"frechet": distance, "effective_sample_size": draws.info.effective_sample_size}


def travel(membership: DensityRatioModel, subject: Subject) -> dict[str, dict[str, float]]:
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
    paths = guarded(lambda: plan_rows(membership, start, end, rows, generator=generator))
    if paths is None:
        return {}
    table = travel_table(
        paths,
        evaluation_models={"mixture": subject.judge},
        decode=subject.decode,
        features=subject.material.features,
        reconstructions=subject.reconstructions,
    )
    return {
        row: {told: numbers[name] for name, told in TOLD.items()} for row, numbers in table.items()
    }


@torch.no_grad()
def cost(membership: DensityRatioModel, latents: Latents) -> dict[str, float]:
    """Milliseconds for 1,000 codes: of the log-density, and of the score."""
    z = latents[torch.arange(TIMED, device=latents.device) % len(latents)]
    times = {}
    for name, ask in (("log_prob_ms", membership.log_prob), ("score_ms", membership.score)):
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


def _closed(membership: DensityRatioModel) -> bool:
    """Whether its boundary leaves no log-density of real codes."""
    return isinstance(membership, LatentMap) and log_density(membership.boundary) is None


def _array(values: Values) -> np.ndarray:
    return values.detach().double().cpu().numpy()
