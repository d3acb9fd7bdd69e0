"""The table of anomaly scores, with one row per image."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from latent_atlas.anomaly.statistics import Column
from latent_atlas.display import Tabular, html_table, html_text
from latent_atlas.errors import UserError, checked, counted, printable
from latent_atlas.files import replacing, write_text

__all__ = ["AnomalyTable", "fewest", "verdict"]

SETTINGS = ("false_alarm_rate", "calibrated_on")


@dataclass(frozen=True)
class AnomalyTable(Tabular):
    """One row per image; columns that were not measured are None.

    Attributes:
        names: Names of the images.
        anomaly_score: Minus the logarithm of the harmonic mean p-value of rarity, excess_distance,
            excess_error, their sum, excess_sharpness and excess_texture, 0 or more; or of wide
            codes without images the sum of rarity, excess_distance and excess_residual; see
            `ConformalScorer`.
        p_value: Conformal p-value in (0, 1]: at most a for a share a of real images.
        is_outlier: Whether the p-value is at most `false_alarm_rate`.
        rarity, excess_distance, excess_error, excess_sharpness, excess_texture, excess_residual:
            The parts of the score, in standard deviations of real images; negative where an image
            is more likely, nearer to real codes, better reconstructed, softer or smoother beside
            its reconstruction, or nearer to the leading coordinates than usual.
        log_prob: log q(mu(x)) in nats.
        typicality: Share of held-out real images whose codes are less likely, in [0, 1].
        realness: D_z(mu(x)) in [0, 1].
        error: Mean squared error per pixel of the reconstruction.
        sharpness, texture: How much more the image has of them than its reconstruction, in nats;
            see `codes.codec.reconstruction_errors`.
        width: Geometric mean of sigma(x) over the coordinates.
        false_alarm_rate: Largest share of real images that are called outliers, in (0, 1).
        calibrated_on: Number of held-out images that scores are ranked among.
        membership: Share of held-out real codes that look less like real codes than this one does,
            by `density.membership`, in [0, 1]; None where fewer than 40 are known.
        membership_parts: By statistic, the share of them at least as far out, on either side.
    """

    names: tuple[str, ...]
    anomaly_score: Column
    p_value: Column
    is_outlier: Bool[np.ndarray, " n"]
    rarity: Column
    excess_distance: Column
    excess_error: Column | None
    log_prob: Column
    typicality: Column
    realness: Column | None
    error: Column | None
    width: Column | None
    false_alarm_rate: float
    calibrated_on: int
    membership: Column | None = None
    membership_parts: Mapping[str, Column] = field(default_factory=dict)
    excess_residual: Column | None = None
    excess_sharpness: Column | None = None
    excess_texture: Column | None = None
    sharpness: Column | None = None
    texture: Column | None = None

    def __len__(self) -> int:
        """n, the number of images."""
        return len(self.names)

    def order(self) -> np.ndarray:
        """Numbers of the images, the most anomalous first."""
        return np.argsort(-self.anomaly_score, kind="stable")

    def columns(self) -> dict[str, Any]:
        """The name of each image, and what was measured of it.

        Parts of the membership have columns of their own, such as "membership: log-density".
        """
        arrays = {
            name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        arrays |= {f"membership: {name}": part for name, part in self.membership_parts.items()}
        return {"name": list(map(printable, self.names)), **arrays}

    def _repr_html_(self) -> str:
        """The result in one sentence, and the most anomalous images."""
        rows = self.rows()
        return html_text(self.sentence()) + html_table([rows[i] for i in self.order()])

    def about(self) -> dict[str, Any]:
        """The number of images and of outliers, the false-alarm rate and the calibration."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        return {"images": len(self), "outliers": int(self.is_outlier.sum()), **settings}

    def sentence(self) -> str:
        """The result in one sentence."""
        return verdict(**self.about())

    @checked
    def write(self, path: Path) -> Path:
        """Write the rows as .csv, or the rows and `about` as .json, with null for infinite numbers.

        Raises:
            UserError: the file name ends otherwise.
        """
        rows = self.rows()
        suffix = path.suffix.lower()
        if suffix == ".csv":
            with (
                replacing(path) as partial,
                partial.open("w", newline="", encoding="utf-8") as file,
            ):
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)
        elif suffix == ".json":
            finite = [{name: _finite(value) for name, value in row.items()} for row in rows]
            write_text(path, json.dumps({**self.about(), "rows": finite}, indent=2) + "\n")
        else:
            raise UserError(f"{path} is not a .csv or .json file; choose one of these endings")
        return path


def _finite(value: Any) -> Any:
    """None instead of an infinite number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verdict(images: int, outliers: int, false_alarm_rate: float, calibrated_on: int) -> str:
    """How many images are outliers and what that means, in one sentence."""
    share = f"{100 * false_alarm_rate:g} %"
    if calibrated_on < fewest(false_alarm_rate):
        smallest = 1 / (calibrated_on + 1)
        least = math.ceil(1000 * smallest) / 1000
        return (
            f"no image can be an outlier at a false-alarm rate of {share}: p-values of "
            f"{counted(calibrated_on, 'held-out image')} are {smallest:.2g} or more "
            "(as many again set the scale of the scores); "
            f"choose --false-alarm-rate {least:g} or more, or more held-out images"
        )
    found = f"{outliers:,} of {images:,} images are outliers: their"
    if images == 1:
        found = f"the image is {'an' if outliers else 'no'} outlier: an outlier's"
    return (
        f"{found} p-value is at most {false_alarm_rate:g}, as for at most {share} of real "
        f"images (calibrated on {counted(calibrated_on, 'held-out image')})"
    )


def fewest(false_alarm_rate: float) -> int:
    """The fewest images to rank among so that p can reach the rate, since p >= 1 / (m + 1).

    Examples:
        >>> fewest(0.05), fewest(0.01)
        (19, 99)
    """
    return math.ceil(1 / false_alarm_rate - 1e-9) - 1
