"""One measure of several candidates on the same repetitions, and what the numbers support."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from latent_atlas.runs import json_safe
from latent_atlas.study.statistics import FEWEST, Paired, Spread, pairwise, spread

__all__ = ["Comparison", "Criterion", "compare", "number_at"]

Repetition = TypeVar("Repetition", bound=Hashable)
"""What names a repetition: a seed, or a training mode and a seed."""


@dataclass(frozen=True)
class Criterion:
    """A measure that candidates are compared by.

    Attributes:
        words: Its name.
        path: Its place in the numbers of a cell.
        better: "higher" or "lower"; "" if the measure only describes, and the highest is named.
        unit: Its unit; "%" for shares in [0, 1].
        short: A shorter name, for figures.
    """

    words: str
    path: tuple[str, ...]
    better: str
    unit: str = ""
    short: str = ""

    def shown(self, value: float, *, signed: bool = False) -> str:
        """A value with about three significant digits, without its unit."""
        scaled = 100 * value if self.unit == "%" else value
        if scaled == 0:
            return "0"
        digits = (
            1
            if self.unit == "%"
            else next((d for d, least in enumerate((100, 10, 1, 0.1)) if abs(scaled) >= least), 4)
        )
        return f"{scaled:{'+' if signed else ''}.{digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Comparison:
    """The values of one measure, by candidate.

    Attributes:
        criterion: The measure.
        values: By candidate, one number per repetition that all candidates have, in one order.
        order: All candidates, including those without numbers.
    """

    criterion: Criterion
    values: dict[str, Float[np.ndarray, " k"]]
    order: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Candidates without numbers, or with too few in common with the others."""
        return tuple(name for name in self.order if name not in self.values)

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """Mean and standard deviation of each candidate."""
        return {name: spread(values.tolist()) for name, values in self.values.items()}

    @cached_property
    def tests(self) -> dict[tuple[str, str], Paired]:
        """The paired tests of all pairs, corrected for their number."""
        return pairwise({name: values.tolist() for name, values in self.values.items()})

    @property
    def best(self) -> str | None:
        """The candidate with the best mean; None if there is no candidate."""
        sign = -1 if self.criterion.better == "lower" else 1
        return max(self.spreads, key=lambda name: sign * self.spreads[name].mean, default=None)

    @property
    def leaders(self) -> tuple[str, ...]:
        """The best candidate, and those it is not significantly better than."""
        best = self.best
        if best is None or len(self.values) < 2:
            return () if best is None else (best,)
        return (best, *(n for n in self.values if n != best and not self.tests[best, n].settled))

    def shown(self, name: str) -> str:
        """Mean of a candidate, with its standard deviation if there are repetitions."""
        one, c = self.spreads[name], self.criterion
        return f"{c.shown(one.mean)} ± {c.shown(one.deviation)}" if one.n > 1 else c.shown(one.mean)

    def sentence(self) -> str:
        """What the numbers support, in one sentence."""
        best, c = self.best, self.criterion
        if best is None:
            return f"{c.words}: nothing was measured."
        lead = f"{c.words}: {best} {self.shown(best)}{' ' if c.unit else ''}{c.unit}"
        pairs = self.spreads[best].n
        if len(self.values) == 1:
            return f"{lead}, and nothing to compare it with."
        top = "best" if c.better else "highest"
        if pairs < FEWEST:
            return (
                f"{lead} is the {top} of {len(self.values)}, untested: a test needs "
                f"at least {FEWEST} repetitions."
            )
        if all(np.array_equal(values, self.values[best]) for values in self.values.values()):
            unit = f" {c.unit}" if c.unit else ""
            return f"{c.words}: {self.shown(best)}{unit} for all of them ({pairs} pairs)."
        others = [name for name in self.values if name != best]
        beaten = [self._beside(best, name) for name in others if self.tests[best, name].settled]
        level = [self._beside(best, name) for name in others if not self.tests[best, name].settled]
        than = "better than" if c.better else "above"
        parts = [f"{than} {', '.join(beaten)}"] if beaten else []
        parts += [f"not settled against {', '.join(level)}"] if level else []
        none = f"; {', '.join(self.missing)} left out, without this measure" if self.missing else ""
        return f"{lead} is {top}: {'; '.join(parts)} ({pairs} pairs{none})."

    def _beside(self, best: str, other: str) -> str:
        """The name of `other` with the difference, its interval and p."""
        test, c = self.tests[best, other], self.criterion
        p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.2g}"
        low, high = c.shown(test.low, signed=True), c.shown(test.high, signed=True)
        return f"{other} (by {c.shown(test.difference, signed=True)} [{low}, {high}], {p})"

    def as_json(self) -> dict[str, Any]:
        """The numbers and the sentence."""
        return {
            "measure": self.criterion.words,
            "better": self.criterion.better,
            "values": {name: values.tolist() for name, values in self.values.items()},
            "tests": {f"{a} - {b}": json_safe(vars(test)) for (a, b), test in self.tests.items()},
            "sentence": self.sentence(),
        }


def number_at(numbers: Mapping[str, Any] | None, path: Iterable[str]) -> float | None:
    """The number at a path through nested mappings; None if there is none.

    Examples:
        >>> number_at({"travel": {"walk": {"recall": 0.5}}}, ("travel", "walk", "recall"))
        0.5
    """
    found: Any = numbers
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) and np.isfinite(found) else None


def compare(
    criterion: Criterion, scores: Mapping[str, Mapping[Repetition, float | None]]
) -> Comparison:
    """Align candidates on the repetitions that all of them have.

    Arguments:
        criterion: The measure.
        scores: By candidate and repetition; None where the measure is missing. A candidate with
            fewer than half as many numbers as the one with the most is left out, since it would
            cost the others their repetitions.
    """
    known = {
        name: {k: v for k, v in rows.items() if v is not None} for name, rows in scores.items()
    }
    most = max((len(rows) for rows in known.values()), default=0)
    kept = {name: rows for name, rows in known.items() if rows and 2 * len(rows) >= most}
    common = [k for k in next(iter(kept.values()), {}) if all(k in rows for rows in kept.values())]
    values = (
        {name: np.array([rows[k] for k in common]) for name, rows in kept.items()} if common else {}
    )
    return Comparison(criterion, values, tuple(scores))
