"""Statistics over repetitions: spread, paired tests, and AUROC."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["Paired", "Spread", "auroc", "holm", "needed", "paired", "pairwise", "reached", "spread"]

LEVEL = 0.05  # significance level
FEWEST = 3  # pairs that a test needs

Numbers = Float[np.ndarray, " _"]


@dataclass(frozen=True)
class Spread:
    """Mean and spread of a number over repetitions.

    Attributes:
        mean: Over repetitions.
        deviation: Standard deviation over repetitions; 0 for a single one.
        n: Number of repetitions.
    """

    mean: float
    deviation: float
    n: int


@dataclass(frozen=True)
class Paired:
    """The differences first - second of two candidates on the same repetitions.

    Attributes:
        difference: Their mean.
        low, high: Its 95 % interval by Student's t, not corrected for several comparisons.
        p: Of the two-sided paired t-test; `pairwise` corrects it for several comparisons.
        n: Number of pairs.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int

    @property
    def settled(self) -> bool:
        """Whether the difference is significant."""
        return self.p < LEVEL


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation.

    Examples:
        >>> spread([1.0, 2.0, 3.0])
        Spread(mean=2.0, deviation=1.0, n=3)
    """
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(float(np.mean(values)), deviation, len(values))


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """The paired t-test of two candidates on the same repetitions.

    With fewer than three pairs there is no test: p is 1 and the interval infinite. If all
    differences are equal and not 0, p is 0.

    References:
        The Probable Error of a Mean, Student 1908.
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    n, mean = len(differences), float(differences.mean())
    if n < FEWEST:
        return Paired(mean, -math.inf, math.inf, 1.0, n)
    if np.ptp(differences) == 0:
        return Paired(mean, mean, mean, 1.0 if mean == 0 else 0.0, n)
    from scipy import stats  # imported where it is needed, since loading it takes a second

    test = stats.ttest_rel(first, second)
    low, high = test.confidence_interval(0.95)
    return Paired(mean, float(low), float(high), float(test.pvalue), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for several tests, which bounds the probability of any false positive.

    In ascending order p_(i) becomes max over j <= i of min(1, (m - j) p_(j)), j counted from 0.

    References:
        A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = worst
    return corrected


def pairwise(scores: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Paired]:
    """The paired tests of all pairs of candidates, with p-values corrected by `holm`.

    The correction counts all pairs, not only those with the best candidate, since the best one is
    chosen by the same numbers.
    """
    pairs = list(itertools.combinations(scores, 2))
    tests = [paired(scores[a], scores[b]) for a, b in pairs]
    corrected = holm([test.p for test in tests])
    found = {}
    for (a, b), test, p in zip(pairs, tests, corrected, strict=True):
        found[a, b] = Paired(test.difference, test.low, test.high, p, test.n)
        found[b, a] = Paired(-test.difference, -test.high, -test.low, p, test.n)
    return found


def needed(test: Paired, comparisons: int = 1, most: int = 1_000) -> int | None:
    """The number of pairs at which this difference would be significant, at the same spread.

    The smallest n for which a t-test of this mean and deviation has p < 0.05 / comparisons. None if
    it is larger than `most`, or if there are too few pairs to estimate the spread.
    """
    if not math.isfinite(test.high) or test.difference == 0:
        return None
    from scipy import stats

    deviation = (test.high - test.difference) / stats.t.ppf(0.975, test.n - 1) * math.sqrt(test.n)
    for n in range(FEWEST, most + 1):
        reach = stats.t.ppf(1 - LEVEL / comparisons / 2, n - 1) * deviation / math.sqrt(n)
        if abs(test.difference) > reach:
            return n
    return None


def auroc(higher: Numbers, lower: Numbers) -> float:
    """P(a > b) + P(a = b) / 2 for a of the first and b of the second: the area under the ROC curve.

    References:
        The Meaning and Use of the Area under a Receiver Operating Characteristic Curve, Hanley and
        McNeil 1982.

    Examples:
        >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
        0.875
    """
    from scipy import stats

    return float(stats.mannwhitneyu(higher, lower).statistic) / (len(higher) * len(lower))


def reached(sizes: Sequence[int], values: Sequence[float], target: float) -> float | None:
    """The size at which a curve reaches the target, interpolated linearly in the log of the size.

    Returns:
        The first size if its value is at the target already; None if no value is.

    Examples:
        >>> reached([10, 1000], [0.5, 0.9], 0.7)
        100.0
    """
    for k, value in enumerate(values):
        if value >= target:
            if k == 0:
                return float(sizes[0])
            share = (target - values[k - 1]) / (value - values[k - 1])
            low, high = math.log(sizes[k - 1]), math.log(sizes[k])
            return round(math.exp(low + share * (high - low)), 6)
    return None
