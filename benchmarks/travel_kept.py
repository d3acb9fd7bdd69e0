"""Rows of the travel table that were computed, kept in runs/kept until what they depend on changes.

| file | content |
|---|---|
| RUN/judges.json | what the judges of the run say of themselves |
| RUN/ROW.json | what the row depends on, and its numbers |
| RUN/ROW.npz | film strips of the first pairs, (pairs, frames, c, h, w) in 0..255 |
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from latent_atlas.files import write_text
from latent_atlas.shapes import Images
from travel_ghosts import as_seen

__all__ = ["FOLDER", "STRIPS", "Kept", "collected", "slug"]

FOLDER = Path(__file__).parents[1] / "runs" / "kept"
STRIPS = 12  # pairs whose frames are kept
DECIDING = ("model.safetensors", "map.safetensors")  # files of a run that its rows depend on


@dataclass
class Kept:
    """The kept rows of one run.

    Attributes:
        run: The run folder.
        collection: Name of the table that the run belongs to.
        asked: Settings of the benchmark that the rows depend on.
        rows: Those that are wanted, in order.
    """

    run: Path
    collection: str
    asked: dict[str, Any]
    rows: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the fingerprint of the run."""
        digest = hashlib.blake2b(digest_size=8)
        for name in DECIDING:
            digest.update((self.run / name).read_bytes())
        self.digest = digest.hexdigest()

    def has(self, row: str, planner: str) -> bool:
        """Whether the row is kept, and of the same run, planner and settings."""
        place = self._place(row)
        return place.exists() and json.loads(place.read_text())["of"] == self._of(planner)

    def write(
        self, row: str, planner: str, numbers: dict[str, float], images: Images | None = None
    ) -> None:
        """Keep the numbers of a row, and frames of its paths, (frames, n, c, h, w) in [0, 1]."""
        if images is not None:
            strips = as_seen(images.flatten(0, 1)).unflatten(0, (len(images), -1))
            self._place(row).parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(self._place(row, ".npz"), strips=strips.transpose(0, 1).numpy())
        self._write(row, {"of": self._of(planner), "numbers": numbers})

    def write_about(self, about: dict[str, Any]) -> None:
        """Keep what the judges say of themselves."""
        self._write("judges", {"collection": self.collection, **about})

    def about(self) -> dict[str, Any]:
        """What the judges said of themselves."""
        return json.loads(self._place("judges").read_text())

    def read(self, row: str) -> dict[str, float]:
        """The numbers of a row."""
        return json.loads(self._place(row).read_text())["numbers"]

    def _of(self, planner: str) -> dict[str, Any]:
        return {"run": self.digest, "planner": planner, **self.asked}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps(content, indent=2) + "\n")

    def _place(self, row: str, ending: str = ".json") -> Path:
        return FOLDER / self.run.name / (slug(row) + ending)


def slug(name: str) -> str:
    """A name of a row or collection as the name of a file."""
    return re.sub("[^a-z0-9]+", "-", name)


def collected(folders: list[Kept]) -> dict[str, Any]:
    """The tables of all collections: means over runs and, of several, standard deviations."""
    tables = {}
    for name in dict.fromkeys(kept.collection for kept in folders):
        runs = [kept for kept in folders if kept.collection == name]
        about = [kept.about() for kept in runs]
        tables[name] = {
            "features": about[0]["features"],
            "runs": len(runs),
            "AUROC of ghosts": {
                kind: mean(one["AUROC of ghosts"][kind] for one in about)
                for kind in about[0]["AUROC of ghosts"]
            },
            "judges": {kept.run.name: one for kept, one in zip(runs, about, strict=True)},
            "rows": {row: over_runs([kept.read(row) for kept in runs]) for row in runs[0].rows},
        }
    return tables


def over_runs(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each number, and "NAME, spread", its standard deviation, where there are several runs."""
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        found[name] = mean(values)
        if len(values) > 1:
            found[f"{name}, spread"] = stdev(values)
    return found
