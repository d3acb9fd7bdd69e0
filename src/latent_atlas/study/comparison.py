"""One measure of several contestants on the same repetitions, and the sentence that it allows."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from latent_atlas.runs import json_safe
from latent_atlas.study.statistics import FEWEST, Paired, Spread, pairwise, spread

__all__ = ["Contest", "Criterion", "contest", "number_at"]

Repetition = TypeVar("Repetition", bound=Hashable)
"""What names a repetition: a seed, or an arm and a seed."""


@dataclass(frozen=True)
class Criterion:
    """A measure.

    Attributes:
        words: What it is.
        path: Where a cell's numbers have it.
        better: Whether "higher" or "lower" is; "" where it only describes, and the highest is named.
        unit: What it is in; "%" for shares in [0, 1].
        short: The words where there is little room.
    """

    words: str
    path: tuple[str, ...]
    better: str
    unit: str = ""
    short: str = ""

    def shown(self, value: float, *, signed: bool = False) -> str:
        """A value with three digits or so, without its unit."""
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
class Contest:
    """A criterion by contestant.

    Attributes:
        criterion: The measure.
        values: By contestant, a number for each repetition that all of them have, in the same order.
        order: All contestants, those without numbers too.
    """

    criterion: Criterion
    values: dict[str, Float[np.ndarray, " k"]]
    order: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Contestants that have none, or not enough in common with the others."""
        return tuple(name for name in self.order if name not in self.values)

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """Mean and deviation of each."""
        return {name: spread(values.tolist()) for name, values in self.values.items()}

    @cached_property
    def tests(self) -> dict[tuple[str, str], Paired]:
        """All paired tests, corrected for their number."""
        return pairwise({name: values.tolist() for name, values in self.values.items()})

    @property
    def best(self) -> str | None:
        """The contestant with the best mean; None where there are none."""
        sign = -1 if self.criterion.better == "lower" else 1
        return max(self.spreads, key=lambda name: sign * self.spreads[name].mean, default=None)

    @property
    def leaders(self) -> tuple[str, ...]:
        """The best, and those that it is not settled to be better than."""
        best = self.best
        if best is None or len(self.values) < 2:
            return () if best is None else (best,)
        return (best, *(n for n in self.values if n != best and not self.tests[best, n].settled))

    def shown(self, name: str) -> str:
        """A contestant's mean, and its deviation where there are repetitions."""
        one, c = self.spreads[name], self.criterion
        return f"{c.shown(one.mean)} ± {c.shown(one.deviation)}" if one.n > 1 else c.shown(one.mean)

    def sentence(self) -> str:
        """What the numbers allow to be said."""
        best, c = self.best, self.criterion
        if best is None:
            return f"{c.words}: nothing was measured."
        said = f"{c.words}: {best} {self.shown(best)}{' ' if c.unit else ''}{c.unit}"
        pairs = self.spreads[best].n
        if len(self.values) == 1:
            return f"{said}, and nothing to compare it with."
        top = "best" if c.better else "highest"
        if pairs < FEWEST:
            return f"{said} is the {top} of {len(self.values)}, untested: a test takes {FEWEST} repetitions or more."
        if all(np.array_equal(values, self.values[best]) for values in self.values.values()):
            return f"{c.words}: {self.shown(best)}{' ' if c.unit else ''}{c.unit} for all of them ({pairs} pairs)."
        others = [name for name in self.values if name != best]
        beaten = [self._beside(best, name) for name in others if self.tests[best, name].settled]
        level = [self._beside(best, name) for name in others if not self.tests[best, name].settled]
        than = "better than" if c.better else "above"
        parts = [f"{than} {', '.join(beaten)}"] if beaten else []
        parts += [f"not settled against {', '.join(level)}"] if level else []
        none = f"; {', '.join(self.missing)} left out, without this measure" if self.missing else ""
        return f"{said} is {top}: {'; '.join(parts)} ({pairs} pairs{none})."

    def _beside(self, best: str, other: str) -> str:
        """The other with the difference, its interval and p."""
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
    """The number at a path through nested objects; None where there is none.

    Examples:
        >>> number_at({"travel": {"geodesic": {"precision": 0.5}}}, ("travel", "geodesic", "precision"))
        0.5
    """
    found: Any = numbers
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) and np.isfinite(found) else None


def contest(
    criterion: Criterion, scores: Mapping[str, Mapping[Repetition, float | None]]
) -> Contest:
    """Align contestants on the repetitions that all of them have.

    Arguments:
        criterion: The measure.
        scores: By contestant and repetition; None where it could not be measured. A contestant with less than half as
            many as the one with the most is left out, since it would take away the others' repetitions.
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
    return Contest(criterion, values, tuple(scores))
