"""Score a source: anomaly scores and p-values of its images, in tables shard by shard.

`latent-atlas anomalies RUN SOURCE --out FOLDER` writes a table per shard, with a row per image in
the order of the source and the columns of `AnomalyTable`, besides `digest`, the hash of the pixels
at full size, and `label`, the class number, where there are classes. manifest.json has the number
of outliers, the most anomalous images of all, and what they were calibrated on.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import nlargest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.anomaly.conformal import check_rate
from latent_atlas.anomaly.result import AnomalyTable
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.loading import AtlasParts
from latent_atlas.codes.codec import Codec
from latent_atlas.data.adhoc import read_images
from latent_atlas.data.decode import Square
from latent_atlas.data.load import square_of
from latent_atlas.data.shards import Shard, Shards
from latent_atlas.device import pick_device
from latent_atlas.distributed.jobs import Made, Mark, checksum
from latent_atlas.distributed.packing import made_of, names_of, notes_of, square_settings
from latent_atlas.errors import require
from latent_atlas.runs import Run

__all__ = ["Scoring"]

FIRST = 100  # most anomalous images that manifest.json names
NEEDED = ("model.safetensors", "map.safetensors", "codes.safetensors")


@dataclass(frozen=True)
class Scoring:
    """The work of `anomalies`: the anomaly scores of a shard.

    Attributes:
        run: The run folder.
        square: What every image becomes before it is scored.
        model, map, calibration: Checksums of the weights, of the map, and of what the scores are
            calibrated on.
        false_alarm_rate: Largest share of real images that are called outliers, in (0, 1).
        held_out: A source of real images to calibrate with; None for those the run held out.
        device: Where to compute, as for `pick_device`.
    """

    run: Path
    square: Square
    model: str
    map: str
    calibration: str
    false_alarm_rate: float
    held_out: str | None = None
    device: str = "auto"
    name: str = "anomalies"

    @classmethod
    def by(
        cls, run: Path, *, false_alarm_rate: float, held_out: str | None, device: str
    ) -> "Scoring":
        """The work with the model and the map of a run.

        Raises:
            UserError: the run has no model, is damaged, has not finished, or has nothing to
                calibrate with; or the rate is not in (0, 1).
        """
        check_rate(false_alarm_rate)
        config = Run(run).config()
        for name in NEEDED:
            require(
                Run(run).file(name).is_file(),
                f"{run} has no {name}; images are scored by a run that `latent-atlas train` has "
                "finished",
            )
        model, its_map, codes = (checksum(Run(run).file(name))[:32] for name in NEEDED)
        square = square_of(config.data, config.model.image_size, config.model.channels)
        if held_out is not None:
            codes = _fingerprint(held_out, square)
        work = cls(
            run.absolute(), square, model, its_map, codes, false_alarm_rate, held_out, device
        )
        _ = _atlas(work).scorer  # what is wrong is said here, and not in each shard
        return work

    def settings(self) -> dict[str, Any]:
        """The weights, the map, the calibration, and what images become."""
        return {
            "model": self.model,
            "map": self.map,
            "calibration": self.calibration,
            "false_alarm_rate": self.false_alarm_rate,
            **square_settings(self.square),
        }

    def __call__(self, shard: Shard) -> Made:
        """Score a shard."""
        atlas, rate = _atlas(self), self.false_alarm_rate
        made = made_of(
            shard,
            self.square,
            lambda images, rows: _columns(
                atlas.anomaly(images, false_alarm_rate=rate, names=rows.names)
            ),
        )
        if not made.rows:
            return made
        found = {
            "outliers": int(made.tensors["is_outlier"].sum()),
            "most_anomalous": _first(made.tensors),
        }
        return replace(made, facts=made.facts | found)

    def finish(
        self, out: Path, marks: list[Mark], failed: list[Mark], shards: Shards
    ) -> dict[str, Any]:
        """Count the outliers of all shards, and name the most anomalous images.

        Raises:
            UserError: shards were read by different scales.
        """
        candidates = (
            one | {"shard": mark["shard"]} for mark in marks for one in mark["most_anomalous"]
        )
        return {
            "outliers": sum(mark["outliers"] for mark in marks),
            "calibrated_on": _atlas(self).scorer.calibrated_on,
            "most_anomalous": nlargest(FIRST, candidates, key=lambda one: one["anomaly_score"]),
            **notes_of(shards, marks),
        }


@lru_cache(maxsize=1)
def _atlas(work: Scoring) -> Atlas:
    """The model and the map of a run, calibrated once per process."""
    parts = AtlasParts.read(work.run, pick_device(work.device))
    if work.held_out is not None:
        coding = Codec(parts.model, parts.map.shape, parts.map.device)
        images = read_images([work.held_out], work.square).images[:]
        held_out = coding.posterior(images)
        errors = coding.errors(images, held_out.means)
        codes = {**parts.codes, "held_out": held_out}
        parts = replace(parts, codes=codes, labels={}, population=None, errors=errors)
    require(
        parts.errors is not None,
        f"{work.run} was written by an older version, without the errors of its held-out images; "
        "name real images that it was not trained on with --held-out",
    )
    return Atlas(**vars(parts))


def _fingerprint(place: str, square: Square) -> str:
    """A hash of the images that scores are calibrated on."""
    pixels = read_images([place], square).images[:]
    return hashlib.sha256(pixels.numpy().tobytes()).hexdigest()[:32]


def _columns(table: AnomalyTable) -> dict[str, Tensor]:
    """The columns of a table without the names."""
    arrays = {name: value for name, value in vars(table).items() if isinstance(value, np.ndarray)}
    arrays |= {f"membership: {name}": value for name, value in table.membership_parts.items()}
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def _first(tensors: dict[str, Tensor]) -> list[dict[str, Any]]:
    """The most anomalous images of a shard, for JSON: of equal ones, the first."""
    columns = (tensors[name].tolist() for name in ("anomaly_score", "p_value"))
    rows = (
        {"name": name, "anomaly_score": score, "p_value": p}
        for name, score, p in zip(names_of(tensors), *columns, strict=True)
    )
    return nlargest(FIRST, rows, key=lambda row: row["anomaly_score"])
