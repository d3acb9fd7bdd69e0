"""A question, its contests, and the verdict that they allow."""

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

SOON = 20  # repetitions that somebody might yet run


@dataclass(frozen=True)
class Question:
    """A question with what was measured for it.

    Attributes:
        key: Its name among files.
        title, asked, method, would_change: As on the page.
        contests: What was compared, in groups of the same contestants under a heading each.
        answer: The sentences that follow from the numbers, the first being the verdict.
        default: What the numbers recommend; None where they settle nothing.
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
        """Whether there is anything to say."""
        return any(one.values for group in self.comparisons.values() for one in group)

    def as_json(self) -> dict[str, Any]:
        """Everything but the words of the page."""
        comparisons = {
            name: [one.as_json() for one in group] for name, group in self.comparisons.items()
        }
        answer = {"answer": list(self.answer), "default": self.default, "open": self.open}
        return {"question": self.asked, **answer, "comparisons": comparisons}


def extended(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """With the mean over kinds of odd images, wherever there are such."""
    added = {
        k: extended(v) if isinstance(v, Mapping) and k != "outliers" else v
        for k, v in numbers.items()
    }
    if isinstance(numbers.get("outliers"), Mapping):
        added["outliers_mean"] = float(np.mean([*numbers["outliers"].values()]))
    return added


def tested(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those with two contestants or more, on enough repetitions for a test."""
    return [
        one
        for one in comparisons
        if len(one.values) > 1 and next(iter(one.spreads.values())).n >= FEWEST
    ]


def verdict(
    word: str, comparisons: Sequence[Comparison], names: Sequence[str]
) -> tuple[str, str | None]:
    """Who is best or level with the best how often, and what that recommends.

    Of those that are so equally often, the one that is alone at the top more often is recommended.
    """
    if len(names) < 2:
        return f"Only {word} {names[0]} was studied, so there is nothing to compare.", None
    decided = [one for one in tested(comparisons) if one.criterion.better]
    if not decided:
        return f"Nothing is settled: there are fewer than {FEWEST} repetitions to test by.", None
    counts = {
        name: (
            sum(name in one.leaders for one in decided),
            sum(one.leaders == (name,) for one in decided),
        )
        for name in names
    }
    ranked = sorted(names, key=lambda name: counts[name], reverse=True)
    told = ", ".join(f"{name} {counts[name][0]} (alone {counts[name][1]})" for name in ranked)
    lead = f"Best, or not settled to be worse than the best, in how many of {len(decided)} measures: {told}."
    level = [name for name in ranked if counts[name] == counts[ranked[0]]]
    if len(level) > 1:
        return f"{lead} Not settled between {' and '.join(level)}.", None
    return f"{lead} The numbers recommend {word} {level[0]}.", level[0]


def more_would(comparisons: Sequence[Comparison]) -> str:
    """How many repetitions would settle more of what is open, at the differences and spreads that were seen."""
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
        return f"None of the {len(found)} open comparisons would be settled by 1,000 repetitions: they are ties."
    soon = sum(count <= SOON for count, _ in counts)
    return (
        f"At the differences and spreads seen, {soon} of the {len(found)} comparisons with the best that are open "
        f"would be settled by {SOON} repetitions or fewer; first {counts[0][1]}, by {counts[0][0]}."
    )


def boundary_question(design: Design, results: Results) -> Question:
    """Where z_fake comes from."""
    g = design.grid
    comparisons = _by_runs(
        design, [*MAP_CRITERIA.values()], g.boundaries, results, lambda name: (name, g.z_real[0])
    )
    sentence, default = verdict("boundary", comparisons, g.boundaries)
    return Question(
        "boundaries",
        "Where should the boundary of z_fake be?",
        "Which fake codes make the most useful D_z?",
        "On the codes of every run (an arm with a seed) a D_z learns against each boundary, with real codes as "
        f"{g.z_real[0]} and else the same settings. A repetition is a run. Log-densities are normalised by the "
        "measured E_r[exp l], and mixed with 1 % of the prior so that a code outside a box costs a few nats and not "
        "infinitely many; a boundary without a log-density of real codes has none, and ranks by its logit.",
        "D_z is telescoped over levels where the boundary allows it, as the prior does, and has a single level "
        "against the others: a part of what is seen is due to that. In more dimensions the box and the prior move "
        "away from the population and single classifiers saturate; codes far from N(0, I) favour boundaries fitted "
        "to them.",
        {"boundaries": comparisons},
        (sentence, *(one.sentence() for one in comparisons)),
        default,
    )


def z_real_question(design: Design, results: Results) -> Question:
    """Samples or means."""
    g = design.grid
    comparisons = _by_runs(
        design, MEANS_CRITERIA, g.z_real, results, lambda name: (g.boundaries[0], name)
    )
    sentence, default = verdict("z_real", comparisons, g.z_real)
    return Question(
        "z_real",
        "Real codes: samples or means?",
        "Should D_z learn from fresh samples of q(z|x) or from the fixed means?",
        f"On the codes of every run a D_z learns against boundary {g.boundaries[0]} from samples drawn afresh at each "
        "step, and another one from the means alone. Both are judged on held-out samples and on held-out means.",
        "Where the encoder's noise is wide beside the population, samples and means are different populations; with "
        "many more images than weights, means overfit less.",
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
    """Contests of maps on the same runs; `place` gives the boundary and z_real that a contestant's name stands for."""
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
    """Jointly or apart."""
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
            rivals = {
                "fresh probe": score(mode, "probe", *LOG_DENSITY.path),
                "joint D_z": score(mode, "own", *LOG_DENSITY.path),
            }
            comparisons[f"the joint D_z of arm {mode} beside the fresh probe"] = [
                compare(LOG_DENSITY, rivals)
            ]
    sentence, default = verdict("arm", comparisons["modes"], modes)
    said = [one.sentence() for one in comparisons["modes"]]
    said += [
        f"{group}, {one.sentence()}"
        for group, members in [*comparisons.items()][1:]
        for one in members
    ]
    return Question(
        "modes",
        "Jointly or apart?",
        "Should E, G and D_z learn together, or D_z afterwards?",
        "Three arms with the same images, steps and seeds: separate (D_z afterwards), online (D_z beside E and G, on "
        "detached codes) and adversarial (E also learns to fool D_z). All are judged by the same fresh probe D_z, "
        "learned afterwards against the prior. Log-densities are compared within an arm only, since every arm has a "
        "space of its own.",
        f"The weight of fooling is {t.fool_weight:g} here and that of the KL {t.kl_weight:g}; a stronger pull "
        "flattens the map more. The joint D_z has a single level and no early stopping.",
        comparisons,
        (sentence, *said),
        default,
    )
