"""A question, its contests, and the verdict that they allow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latent_atlas.study.comparison import Contest, Criterion, contest, number_at
from latent_atlas.study.criteria import ARM_CRITERIA, LOG_DENSITY, MAP_CRITERIA, MEANS_CRITERIA
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.statistics import FEWEST, needed

__all__ = [
    "Question",
    "Results",
    "arms_question",
    "boundary_question",
    "extended",
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
    contests: Mapping[str, Sequence[Contest]]
    answer: tuple[str, ...]
    default: str | None

    @property
    def open(self) -> str:
        """What more repetitions would settle."""
        return more_would([one for group in self.contests.values() for one in group])

    @property
    def measured(self) -> bool:
        """Whether there is anything to say."""
        return any(one.values for group in self.contests.values() for one in group)

    def as_json(self) -> dict[str, Any]:
        """Everything but the words of the page."""
        contests = {name: [one.as_json() for one in group] for name, group in self.contests.items()}
        answer = {"answer": list(self.answer), "default": self.default, "open": self.open}
        return {"question": self.asked, **answer, "contests": contests}


def extended(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """With the mean over kinds of odd images, wherever there are such."""
    added = {
        k: extended(v) if isinstance(v, Mapping) and k != "odd" else v for k, v in numbers.items()
    }
    if isinstance(numbers.get("odd"), Mapping):
        added["odd_mean"] = float(np.mean([*numbers["odd"].values()]))
    return added


def tested(contests: Sequence[Contest]) -> list[Contest]:
    """Those with two contestants or more, on enough repetitions for a test."""
    return [
        one
        for one in contests
        if len(one.values) > 1 and next(iter(one.spreads.values())).n >= FEWEST
    ]


def verdict(word: str, contests: Sequence[Contest], names: Sequence[str]) -> tuple[str, str | None]:
    """Who is best or level with the best how often, and what that recommends.

    Of those that are so equally often, the one that is alone at the top more often is recommended.
    """
    if len(names) < 2:
        return f"Only {word} {names[0]} was studied, so there is nothing to compare.", None
    judged = [one for one in tested(contests) if one.criterion.better]
    if not judged:
        return f"Nothing is settled: there are fewer than {FEWEST} repetitions to test by.", None
    counts = {
        name: (
            sum(name in one.leaders for one in judged),
            sum(one.leaders == (name,) for one in judged),
        )
        for name in names
    }
    ranked = sorted(names, key=lambda name: counts[name], reverse=True)
    told = ", ".join(f"{name} {counts[name][0]} (alone {counts[name][1]})" for name in ranked)
    lead = f"Best, or not settled to be worse than the best, in how many of {len(judged)} measures: {told}."
    level = [name for name in ranked if counts[name] == counts[ranked[0]]]
    if len(level) > 1:
        return f"{lead} Not settled between {' and '.join(level)}.", None
    return f"{lead} The numbers recommend {word} {level[0]}.", level[0]


def more_would(contests: Sequence[Contest]) -> str:
    """How many repetitions would settle more of what is open, at the differences and spreads that were seen."""
    found = []
    for one in tested(contests):
        best, *level = one.leaders
        for other in level:
            count = needed(one.tests[best, other], len(one.tests) // 2)
            found.append((count, f"{one.criterion.words}, {best} against {other}"))
    counts = sorted((count, words) for count, words in found if count is not None)
    if not found:
        return "" if not tested(contests) else "No comparison with the best is open."
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
    contests = _by_runs(
        design, [*MAP_CRITERIA.values()], g.boundaries, results, lambda name: (name, g.z_real[0])
    )
    sentence, default = verdict("boundary", contests, g.boundaries)
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
        {"boundaries": contests},
        (sentence, *(one.sentence() for one in contests)),
        default,
    )


def z_real_question(design: Design, results: Results) -> Question:
    """Samples or means."""
    g = design.grid
    contests = _by_runs(
        design, MEANS_CRITERIA, g.z_real, results, lambda name: (g.boundaries[0], name)
    )
    sentence, default = verdict("z_real", contests, g.z_real)
    return Question(
        "z_real",
        "Real codes: samples or means?",
        "Should D_z learn from fresh samples of q(z|x) or from the fixed means?",
        f"On the codes of every run a D_z learns against boundary {g.boundaries[0]} from samples drawn afresh at each "
        "step, and another one from the means alone. Both are judged on held-out samples and on held-out means.",
        "Where the encoder's noise is wide beside the population, samples and means are different populations; with "
        "many more images than weights, means overfit less.",
        {"real codes": contests},
        (sentence, *(one.sentence() for one in contests)),
        default,
    )


def _by_runs(
    design: Design,
    criteria: Sequence[Criterion],
    names: Sequence[str],
    results: Results,
    place: Callable[[str], tuple[str, str]],
) -> list[Contest]:
    """Contests of maps on the same runs; `place` gives the boundary and z_real that a contestant's name stands for."""
    runs = [(arm, seed) for seed in range(design.grid.seeds) for arm in design.grid.arms]
    contests = []
    for c in criteria:
        scores = {
            name: {
                run: number_at(results.get(Cell("map", run[1], run[0], *place(name))), c.path)
                for run in runs
            }
            for name in names
        }
        contests.append(contest(c, scores))
    return contests


def arms_question(design: Design, results: Results) -> Question:
    """Jointly or apart."""
    arms, seeds, t = design.grid.arms, range(design.grid.seeds), design.config.train

    def numbers(arm: str, seed: int) -> Mapping[str, Any]:
        return {
            **results.get(Cell("run", seed, arm), {}),
            "map": results.get(Cell("map", seed, arm, "prior", "samples")),
        }

    def score(arm: str, *path: str) -> dict[int, float | None]:
        return {seed: number_at(numbers(arm, seed), path) for seed in seeds}

    contests = {
        "arms": [contest(c, {arm: score(arm, *c.path) for arm in arms}) for c in ARM_CRITERIA]
    }
    for arm in arms:
        if arm != "separate":
            rivals = {
                "fresh probe": score(arm, "probe", *LOG_DENSITY.path),
                "joint D_z": score(arm, "own", *LOG_DENSITY.path),
            }
            contests[f"the joint D_z of arm {arm} beside the fresh probe"] = [
                contest(LOG_DENSITY, rivals)
            ]
    sentence, default = verdict("arm", contests["arms"], arms)
    said = [one.sentence() for one in contests["arms"]]
    said += [
        f"{group}, {one.sentence()}"
        for group, members in [*contests.items()][1:]
        for one in members
    ]
    return Question(
        "arms",
        "Jointly or apart?",
        "Should E, G and D_z learn together, or D_z afterwards?",
        "Three arms with the same images, steps and seeds: separate (D_z afterwards), online (D_z beside E and G, on "
        "detached codes) and adversarial (E also learns to fool D_z). All are judged by the same fresh probe D_z, "
        "learned afterwards against the prior. Log-densities are compared within an arm only, since every arm has a "
        "space of its own.",
        f"The weight of fooling is {t.fool_weight:g} here and that of the KL {t.kl_weight:g}; a stronger pull "
        "flattens the map more. The joint D_z has a single level and no early stopping.",
        contests,
        (sentence, *said),
        default,
    )
