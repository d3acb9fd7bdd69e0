"""Scores: a table with one row per image, to look at, to sort, and to write."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from latent_atlas.anomaly.statistics import Column
from latent_atlas.errors import UserError

__all__ = ["AnomalyTable", "fewest"]

ABOUT = ("false_alarm", "calibrated_on")


@dataclass(frozen=True)
class AnomalyTable:
    """One row per image; columns that could not be measured are None.

    Attributes:
        names: What the images are called.
        log_prob: log q(mu(x)) in nats.
        typicality: Share of held-out real images whose codes are less likely, in [0, 1].
        realness: D_z(mu(x)) in [0, 1].
        error: Mean squared error per pixel of the reconstruction.
        width: Geometric mean of sigma(x) over the coordinates.
        rarity, excess_error, excess_width: The vector of surprises, in standard deviations of real images; negative
            where an image is more likely, better reconstructed or sharper than usual.
        distance: Length of that vector; it still tells apart images odder than all real ones.
        oddness: Share of real images that are less odd, in [0, 1).
        odd: Whether the oddness is at least `threshold`.
        false_alarm: Share of real images that are called odd, at most.
        calibrated_on: Number of held-out images that oddness is a share of.
    """

    names: tuple[str, ...]
    log_prob: Column
    typicality: Column
    realness: Column | None
    error: Column | None
    width: Column | None
    rarity: Column
    excess_error: Column | None
    excess_width: Column | None
    distance: Column
    oddness: Column
    odd: Bool[np.ndarray, " n"]
    false_alarm: float
    calibrated_on: int

    def __len__(self) -> int:
        """n, the number of images."""
        return len(self.names)

    @property
    def threshold(self) -> float:
        """The oddness from which on an image is called odd."""
        return 1 - self.false_alarm

    def order(self) -> np.ndarray:
        """Numbers of the images, the oddest first."""
        return np.argsort(-self.distance, kind="stable")

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary per image, of plain numbers; infinite ones are kept."""
        columns = {
            name: value if name == "names" else value.tolist()
            for name, value in vars(self).items()
            if name not in ABOUT and value is not None
        }
        columns = {"name": columns.pop("names"), **columns}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def about(self) -> dict[str, Any]:
        """How to read the table: false-alarm rate, threshold, calibration, and how many images are odd."""
        told = {name: getattr(self, name) for name in ABOUT}
        return {
            "images": len(self),
            "odd": int(self.odd.sum()),
            "threshold": self.threshold,
            **told,
        }

    def sentence(self) -> str:
        """The outcome in words."""
        share = f"{100 * self.false_alarm:g} %"
        if self.calibrated_on < fewest(self.false_alarm):
            least = 1 / (self.calibrated_on + 1)
            return (
                f"no image can be called odd at a false-alarm rate of {share}: oddness is a rank among "
                f"{self.calibrated_on} held-out images, too few; --false-alarm {math.ceil(1000 * least) / 1000:g} or "
                "more, or more held-out images, would do"
            )
        return (
            f"{self.odd.sum()} of {len(self)} images are odd: their oddness is {self.threshold:g} or more, as for "
            f"at most {share} of real images (calibrated on {self.calibrated_on} held out)"
        )

    def write(self, path: Path) -> Path:
        """Write the rows as .csv, or rows and what they mean as .json, where an infinite number is null.

        Raises:
            UserError: the file is to be of another kind.
        """
        rows = self.rows()
        suffix = path.suffix.lower()
        if suffix == ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)
        elif suffix == ".json":
            finite = [{name: _finite(value) for name, value in row.items()} for row in rows]
            path.write_text(
                json.dumps({**self.about(), "rows": finite}, indent=2) + "\n", encoding="utf-8"
            )
        else:
            raise UserError(f"{path} is not a .csv or .json file; choose one of these")
        return path


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fewest(false_alarm: float) -> int:
    """How many images it takes to rank among before one can be odd at all: p is at least 1 / (m + 1).

    Examples:
        >>> fewest(0.05), fewest(0.01)
        (19, 99)
    """
    return math.ceil(1 / false_alarm - 1e-9) - 1
