"""The hypotheses of a study: what is compared for each question, and what the numbers recommend."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latent_atlas.study.comparison import Comparison, Criterion, compare, number_at
from latent_atlas.study.criteria import LOG_DENSITY, MAP_CRITERIA, MEANS_CRITERIA, MODE_CRITERIA
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.statistics import FEWEST, needed

__all__ = [
    "Question",
    "Results",
    "boundary_question",
    "extended",
    "mode_question",
    "more_would",
    "tested",
    "verdict",
    "z_real_question",
]

Results = Mapping[Cell, Mapping[str, Any]]
"""What finished cells measured."""

SOON = 20  # repetitions that are still affordable


@dataclass(frozen=True)
class Question:
    """A question with the measurements that answer it.

    Attributes:
        key: Its name in answers.json.
        title, asked, method, would_change: Its text on the page.
        comparisons: Comparisons by heading; those under one heading have the same candidates.
        answer: Sentences that follow from the numbers; the first is the verdict.
        default: What the numbers recommend; None if they settle nothing.
    """

    key: str
    title: str
    asked: str
    method: str
    would_change: str
    comparisons: Mapping[str, Sequence[Comparison]]
    answer: tuple[str, ...]
    default: str | None

    @property
    def open(self) -> str:
        """What more repetitions would settle."""
        return more_would([one for group in self.comparisons.values() for one in group])

    @property
    def measured(self) -> bool:
        """Whether anything was measured for it."""
        return any(one.values for group in self.comparisons.values() for one in group)

    def as_json(self) -> dict[str, Any]:
        """The question, its answer and all numbers."""
        comparisons = {
            name: [one.as_json() for one in group] for name, group in self.comparisons.items()
        }
        answer = {"answer": list(self.answer), "default": self.default, "open": self.open}
        return {"question": self.asked, **answer, "comparisons": comparisons}


def extended(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers, with `outliers_mean` added wherever there are `outliers`."""
    added = {
        k: extended(v) if isinstance(v, Mapping) and k != "outliers" else v
        for k, v in numbers.items()
    }
    if isinstance(numbers.get("outliers"), Mapping):
        added["outliers_mean"] = float(np.mean([*numbers["outliers"].values()]))
    return added


def tested(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of two or more candidates on enough repetitions for a test."""
    return [
        one
        for one in comparisons
        if len(one.values) > 1 and next(iter(one.spreads.values())).n >= FEWEST
    ]


def verdict(
    word: str, comparisons: Sequence[Comparison], names: Sequence[str]
) -> tuple[str, str | None]:
    """A sentence on how often each name is among the best, and the name that it recommends.

    Ties are broken by how often a name is significantly better than all others.
    """
    if len(names) < 2:
        return f"Only {word} {names[0]} was studied: there is nothing to compare.", None
    decided = [one for one in tested(comparisons) if one.criterion.better]
    if not decided:
        return f"Nothing is settled: a test needs at least {FEWEST} repetitions.", None
    counts = {
        name: (
            sum(name in one.leaders for one in decided),
            sum(one.leaders == (name,) for one in decided),
        )
        for name in names
    }
    ranked = sorted(names, key=lambda name: counts[name], reverse=True)
    tally = ", ".join(f"{name} {counts[name][0]} (alone {counts[name][1]})" for name in ranked)
    lead = (
        f"Number of the {len(decided)} measures in which each is best or not significantly worse "
        f"than the best: {tally}."
    )
    level = [name for name in ranked if counts[name] == counts[ranked[0]]]
    if len(level) > 1:
        return f"{lead} Not settled between {' and '.join(level)}.", None
    return f"{lead} The numbers recommend {word} {level[0]}.", level[0]


def more_would(comparisons: Sequence[Comparison]) -> str:
    """How many repetitions would settle the open comparisons, at the observed effect sizes."""
    found = []
    for one in tested(comparisons):
        best, *level = one.leaders
        for other in level:
            count = needed(one.tests[best, other], len(one.tests) // 2)
            found.append((count, f"{one.criterion.words}, {best} against {other}"))
    counts = sorted((count, words) for count, words in found if count is not None)
    if not found:
        return "" if not tested(comparisons) else "No comparison with the best is open."
    if not counts:
        return (
            f"None of the {len(found)} open comparisons would be settled by 1,000 repetitions: "
            "they are ties."
        )
    soon = sum(count <= SOON for count, _ in counts)
    return (
        f"At the observed effect sizes, {soon} of the {len(found)} open comparisons with the best "
        f"would be settled by at most {SOON} repetitions; the first is {counts[0][1]}, by "
        f"{counts[0][0]}."
    )


def boundary_question(design: Design, results: Results) -> Question:
    """Which boundary to draw z_fake from."""
    g = design.grid
    comparisons = _by_runs(
        design, [*MAP_CRITERIA.values()], g.boundaries, results, lambda name: (name, g.z_real[0])
    )
    sentence, default = verdict("boundary", comparisons, g.boundaries)
    return Question(
        "boundaries",
        "Where should the boundary of z_fake be?",
        "Which fake codes make the most useful D_z?",
        "One D_z per boundary is trained on the codes of every run (a training mode and a seed), "
        f"with real codes as {g.z_real[0]} and otherwise equal settings. A repetition is a run. "
        "Log-densities are normalised by the measured E_r[exp l], and mixed with 1 % of the prior, "
        "so that a code outside a box costs a few nats and not infinitely many. A boundary without "
        "a density at real codes gives no log-density, and ranks codes by its logit.",
        "D_z is telescoped over noise levels with boundaries that allow it, such as the prior, and "
        "has a single level with the others; this accounts for a part of the differences. In more "
        "dimensions the box and the prior are farther from the data, and single classifiers "
        "saturate; codes far from N(0, I) favour boundaries fitted to them.",
        {"boundaries": comparisons},
        (sentence, *(one.sentence() for one in comparisons)),
        default,
    )


def z_real_question(design: Design, results: Results) -> Question:
    """Whether D_z is trained on samples of q(z|x) or on its means."""
    g = design.grid
    comparisons = _by_runs(
        design, MEANS_CRITERIA, g.z_real, results, lambda name: (g.boundaries[0], name)
    )
    sentence, default = verdict("z_real", comparisons, g.z_real)
    return Question(
        "z_real",
        "Real codes: samples or means?",
        "Should D_z be trained on fresh samples of q(z|x) or on the fixed means?",
        f"Two D_z per run are trained against boundary {g.boundaries[0]}: one on samples drawn "
        "afresh at each step, one on the means alone. Both are evaluated on held-out samples "
        "and on held-out means.",
        "If the encoder's noise is wide relative to the spread of the means, samples and means "
        "have different distributions; with many more images than weights, means overfit less.",
        {"real codes": comparisons},
        (sentence, *(one.sentence() for one in comparisons)),
        default,
    )


def _by_runs(
    design: Design,
    criteria: Sequence[Criterion],
    names: Sequence[str],
    results: Results,
    place: Callable[[str], tuple[str, str]],
) -> list[Comparison]:
    """Comparisons of maps on the same runs.

    `place` gives the boundary and z_real that the name of a candidate stands for.
    """
    runs = [(mode, seed) for seed in range(design.grid.seeds) for mode in design.grid.modes]
    comparisons = []
    for c in criteria:
        scores = {
            name: {
                run: number_at(results.get(Cell("map", run[1], run[0], *place(name))), c.path)
                for run in runs
            }
            for name in names
        }
        comparisons.append(compare(c, scores))
    return comparisons


def mode_question(design: Design, results: Results) -> Question:
    """Whether D_z is trained together with E and G, or afterwards."""
    modes, seeds, t = design.grid.modes, range(design.grid.seeds), design.config.train

    def numbers(mode: str, seed: int) -> Mapping[str, Any]:
        return {
            **results.get(Cell("run", seed, mode), {}),
            "map": results.get(Cell("map", seed, mode, "prior", "samples")),
        }

    def score(mode: str, *path: str) -> dict[int, float | None]:
        return {seed: number_at(numbers(mode, seed), path) for seed in seeds}

    comparisons = {
        "modes": [compare(c, {mode: score(mode, *c.path) for mode in modes}) for c in MODE_CRITERIA]
    }
    for mode in modes:
        if mode != "separate":
            candidates = {
                "fresh probe": score(mode, "probe", *LOG_DENSITY.path),
                "joint D_z": score(mode, "own", *LOG_DENSITY.path),
            }
            comparisons[f"the joint D_z of mode {mode} and the fresh probe"] = [
                compare(LOG_DENSITY, candidates)
            ]
    sentence, default = verdict("mode", comparisons["modes"], modes)
    sentences = [one.sentence() for one in comparisons["modes"]]
    sentences += [
        f"{group}, {one.sentence()}"
        for group, members in [*comparisons.items()][1:]
        for one in members
    ]
    return Question(
        "modes",
        "Training mode: jointly or separately?",
        "Should D_z be trained together with E and G, or afterwards?",
        "Training modes with the same images, steps and seeds: separate (D_z afterwards), online "
        "(D_z beside E and G, on detached codes) and adversarial (E is also trained to fool D_z). "
        "All are evaluated by the same fresh probe D_z, trained afterwards against the prior. "
        "Log-densities are compared within a mode only, since every mode has its own latent space.",
        f"The adversarial weight of D_z is {t.fool_weight:g} here and that of the KL "
        f"{t.kl_weight:g}; larger weights flatten the map more. The joint D_z has a single noise "
        "level and no early stopping.",
        comparisons,
        (sentence, *sentences),
        default,
    )
