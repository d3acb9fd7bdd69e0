"""The question whether to discriminate in latent space or in image space."""

import math
from collections.abc import Sequence

import numpy as np

from latent_atlas.study.comparison import Comparison, Criterion, compare, number_at
from latent_atlas.study.criteria import MAP_CRITERIA
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.hypotheses import Question, Results, tested
from latent_atlas.study.statistics import FEWEST, reached

__all__ = ["TARGET", "curves", "latent_vs_image"]

TARGET = 0.9  # AUROC; compared is the number of images that it takes to reach it
DISCRIMINATORS = {"D_z": "z", "D_x": "x"}
MAPS = {"D_z": "d_z", "D_x fitted": "fitted", "D_x trained": "trained"}

COSTS = (
    Criterion("training time", ("seconds",), "lower", "s"),
    Criterion(
        "time for 1,000 images, encoding included",
        ("query_ms",),
        "lower",
        "ms",
        "time for 1,000 images",
    ),
)
ENERGY_CRITERIA = (
    *(
        MAP_CRITERIA[name]
        for name in ("log_prob", "frechet", "off_manifold", "ranking", "outliers")
    ),
    Criterion("time for 1,000 log-densities", ("log_prob_ms",), "lower", "ms"),
    Criterion("time for 1,000 scores", ("score_ms",), "lower", "ms"),
)


def latent_vs_image(design: Design, results: Results) -> Question:
    """Whether D_z or D_x is the better detector of outliers and the better map of Z."""
    most = design.sizes()[-1]
    seeds = range(design.grid.seeds)
    full = {seed: results.get(Cell("sizes", seed, size=most)) for seed in seeds}
    tests = list(
        dict.fromkeys(test for n in full.values() if n for test in n.get("z", {}).get("auroc", {}))
    )
    criteria = [Criterion(test, ("auroc", test), "higher") for test in tests]

    def beside(c: Criterion) -> Comparison:
        scores = {
            name: {seed: number_at(full[seed], (key, *c.path)) for seed in seeds}
            for name, key in DISCRIMINATORS.items()
        }
        return compare(c, scores)

    comparisons = {
        f"AUROC with {most:,} real images": [beside(c) for c in criteria],
        f"cost with {most:,} real images": [beside(c) for c in COSTS],
        "as a map of Z": [_as_maps(c, design, results) for c in ENERGY_CRITERIA],
    }
    first, _, maps = comparisons.values()
    sentence, default = _verdict(first, maps)
    needs = _needs(design, results, tests)
    sentences = [
        f"{group}, {one.sentence()}" for group, members in comparisons.items() for one in members
    ]
    return Question(
        "spaces",
        "Discriminate in Z or in X?",
        "Are outliers better detected on codes or on images?",
        "D_z and an image discriminator D_x of the run's own architecture are trained on the same "
        "real images against the same prior, decoded for D_x; D_z is given codes only. Both stop "
        "early by held-out images, and neither was trained on the outliers of the tests: decoded "
        f"off-manifold prior draws, corrupted images, and images of {design.other}. The inliers of "
        "decoded draws are images in one test, which D_x may recognise by their sharpness, and "
        "reconstructions in another. D_z ranks an image by the log-density of its code. Then the "
        "energy of D_x, l_x(G(z)) + log p(z), is compared with D_z as a map of Z: fitted, if D_x "
        "is trained on the finished G as the theory requires, or trained, if it is the run's own.",
        "E was trained on all images, without labels: if E has to be trained on the few real "
        "images of a test, Z loses its advantage at small samples. Another D_x (larger, augmented, "
        "pretrained) may need fewer images.",
        comparisons,
        (sentence, *needs, *sentences),
        default,
    )


def curves(design: Design, results: Results) -> dict[str, dict[str, dict[int, list[float]]]]:
    """AUROC of each seed by test, by "D_z" or "D_x", and by number of real images."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for size in design.sizes():
        for seed in range(design.grid.seeds):
            numbers = results.get(Cell("sizes", seed, size=size), {})
            for name, key in DISCRIMINATORS.items():
                for test, value in numbers.get(key, {}).get("auroc", {}).items():
                    found.setdefault(test, {}).setdefault(name, {}).setdefault(size, []).append(
                        value
                    )
    return found


def _as_maps(c: Criterion, design: Design, results: Results) -> Comparison:
    """D_z compared with D_x as an energy."""
    cells = {seed: results.get(Cell("pullback", seed), {}) for seed in range(design.grid.seeds)}
    scores = {
        name: {seed: number_at(numbers, (key, *c.path)) for seed, numbers in cells.items()}
        for name, key in MAPS.items()
    }
    return compare(c, scores)


def _verdict(detection: Sequence[Comparison], maps: Sequence[Comparison]) -> tuple[str, str | None]:
    """How often each discriminator is significantly better, and the space that this recommends."""
    if not tested([*detection, *maps]):
        return f"Nothing is settled: a test needs at least {FEWEST} repetitions.", None
    wins = {
        name: sum(one.leaders == (name,) for one in tested(detection)) for name in DISCRIMINATORS
    }
    parts = []
    if tested(detection):
        parts.append(
            f"with all real images D_z is significantly better on {wins['D_z']} and D_x on "
            f"{wins['D_x']} of {len(tested(detection))} tests"
        )
    if tested(maps):
        ahead = sum(one.leaders == ("D_z",) for one in tested(maps))
        behind = sum("D_z" not in one.leaders for one in tested(maps))
        parts.append(
            f"as a map of Z, D_z is significantly best on {ahead} of {len(tested(maps))} measures, "
            f"and significantly worse than the energy of D_x on {behind}"
        )
    whole = "; ".join(parts)
    sentence = f"{whole[0].upper()}{whole[1:]}."
    better = max(wins, key=lambda name: wins[name])
    unsettled = wins["D_z"] == wins["D_x"]
    return sentence, None if unsettled else {"D_z": "Z", "D_x": "X"}[better]


def _needs(design: Design, results: Results, tests: Sequence[str]) -> list[str]:
    """How many images each discriminator needs to reach the target, and its training time."""
    sentences = []
    for test in tests:
        needs = [_need(name, key, test, design, results) for name, key in DISCRIMINATORS.items()]
        sentences.append(f"To reach an AUROC of {TARGET:g}, {test}: {'; '.join(needs)}.")
    return sentences


def _need(name: str, key: str, test: str, design: Design, results: Results) -> str:
    """The number of images for one test: the geometric mean of the seeds that reach the target."""
    sizes, seeds = design.sizes(), range(design.grid.seeds)
    found, times = [], []
    for seed in seeds:
        cells = [results.get(Cell("sizes", seed, size=size)) for size in sizes]
        values = [number_at(cell, (key, "auroc", test)) for cell in cells]
        size = reached(sizes, [-math.inf if value is None else value for value in values], TARGET)
        if size is not None:
            found.append(size)
            enough = next(cell for cell, s in zip(cells, sizes, strict=True) if s >= size)
            times.append(number_at(enough, (key, "seconds")) or 0.0)
    if not found:
        return f"{name} does not with {sizes[-1]:,} images"
    middle, least = math.exp(float(np.mean(np.log(found)))), min(found) <= sizes[0]
    part = "" if len(found) == len(seeds) else f" (in {len(found)} of {len(seeds)} seeds)"
    between = f" ({min(found):,.0f} to {max(found):,.0f})" if max(found) > min(found) else ""
    return (
        f"{name} takes {'at most ' if least else ''}{middle:,.0f} images{between} and "
        f"{np.mean(times):.1f} s of training{part}"
    )
