"""Numbers with standard errors."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

__all__ = ["Number", "half_sampled", "mean_of"]

ROUNDING = 1e-6  # share of a value below which its error is that of single precision

Statistic = Callable[[Float[np.ndarray, "n f"], Float[np.ndarray, "m f"]], Mapping[str, float]]


@dataclass(frozen=True)
class Number:
    """A value with its standard error.

    Attributes:
        value: The number.
        error: Its standard error; None if it is exact or not known.
    """

    value: float
    error: float | None = None

    def __str__(self) -> str:
        """The value to as many places as two digits of its error have, or to three digits.

        Examples:
            >>> print(Number(1.23456, 0.0456), Number(612.3, 41.2), Number(3.0), sep=", ")
            1.235 ± 0.046, 612 ± 41, 3
            >>> print(Number(1.0, 1e-8))
            1
        """
        if (
            not self.error
            or not math.isfinite(self.error)
            or self.error < ROUNDING * abs(self.value)
        ):
            return f"{self.value:.3g}"
        places = max(0, 1 - math.floor(math.log10(self.error)))
        return f"{self.value:,.{places}f} ± {self.error:,.{places}f}"


def mean_of(values: Float[np.ndarray, " n"]) -> Number:
    """The mean of independent values, and its standard error.

    Examples:
        >>> mean_of(np.array([1.0, 3.0]))
        Number(value=2.0, error=1.0)
    """
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return Number(float(values.mean()), error)


def half_sampled(
    statistic: Statistic,
    a: Float[np.ndarray, "n f"],
    b: Float[np.ndarray, "m f"],
    *,
    rounds: int = 20,
    generator: torch.Generator,
) -> dict[str, Number]:
    """Statistics of two sets, with standard errors by random halves of both.

    The mean of n/2 of n values drawn without replacement differs from the mean of all with variance
    σ²/n, as that mean differs from the expectation. So does any statistic that behaves as a mean
    for large n. A bootstrap would draw some images twice, and such an image is its own nearest
    neighbour. If both sets are of one distribution, the errors are too large rather than too small.

    References:
        A General Theory for Jackknife Variance Estimation, Shao and Wu 1989.

    Arguments:
        statistic: Two sets, of n and m or half as many rows, to numbers by name.
        a, b: The sets.
        rounds: Number of pairs of halves.
        generator: Source of the halves, on the CPU.
    """

    def half(rows: Float[np.ndarray, "_ f"]) -> np.ndarray:
        return rows[torch.randperm(len(rows), generator=generator)[: len(rows) // 2].numpy()]

    values = statistic(a, b)
    tried = [statistic(half(a), half(b)) for _ in range(rounds)]
    return {
        name: Number(value, float(np.std([one[name] for one in tried], ddof=1)))
        for name, value in values.items()
    }
