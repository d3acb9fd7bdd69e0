"""A question, its contests, and the verdict that they allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latent_atlas.study.comparison import Contest, Criterion
from latent_atlas.study.design import Cell
from latent_atlas.study.statistics import FEWEST, needed

__all__ = [
    "JOURNEYS",
    "MAP_CRITERIA",
    "Question",
    "Results",
    "extended",
    "more_would",
    "tested",
    "verdict",
]

Results = Mapping[Cell, Mapping[str, Any]]
"""What finished cells measured."""

SOON = 20  # repetitions that somebody might yet run

JOURNEYS = ("travel", "geodesic", "off_population")

MAP_CRITERIA = {
    "log_prob": Criterion("held-out log-density", ("log_prob",), "higher", "nats"),
    "frechet": Criterion(
        "Fréchet distance of samples through the map",
        ("frechet",),
        "lower",
        short="Fréchet, samples",
    ),
    "journeys": Criterion(
        "frames of geodesics outside the population, by the judge",
        JOURNEYS,
        "lower",
        "%",
        "journeys outside",
    ),
    "ranking": Criterion(
        "held-out codes ranked above prior draws outside (AUROC)",
        ("ranking",),
        "higher",
        short="ranking",
    ),
    "odd": Criterion(
        "odd images found, mean over kinds (AUROC)", ("odd_mean",), "higher", short="odd images"
    ),
    "worth": Criterion(
        "effective sample size of those samples",
        ("effective_sample_size",),
        "",
        short="effective sample size",
    ),
    "misjudged": Criterion(
        "said realness against seen", ("misjudged",), "lower", "%", "realness misjudged"
    ),
}
"""What every map is measured by."""


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
