"""The contents of a run folder that a report shows; what is missing stays empty."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from latent_atlas.config.run import Config
from latent_atlas.runs import Run

__all__ = ["RunContents"]


@dataclass(frozen=True)
class RunContents:
    """The contents of a run folder.

    Attributes:
        path: The folder.
        config: The run's configuration.
        made: When config.json was written, in local time.
        records: The objects of log.jsonl.
        metrics: Section to numbers, from metrics.json; empty if there is none.
        manifest: What the images are, from manifest.json; empty if there is none.
        rejects: The objects of rejects.jsonl, one per file that could not be read.
        pictures: File name to PNG bytes.
        damage: Lines of log.jsonl and rejects.jsonl that were left out, each with the reason.
    """

    path: Path
    config: Config
    made: datetime
    records: list[dict[str, Any]]
    metrics: dict[str, Any]
    manifest: dict[str, Any]
    rejects: list[dict[str, Any]]
    pictures: dict[str, bytes]
    damage: list[str]

    @classmethod
    def read(cls, path: Path) -> "RunContents":
        """Read a run folder.

        Raises:
            UserError: it holds no config.json, or one of its files is damaged.
        """
        run = Run(path)
        damage: list[str] = []
        return cls(
            path=path,
            config=run.config(),
            made=datetime.fromtimestamp(run.file("config.json").stat().st_mtime).astimezone(),
            records=run.records(damage=damage),
            metrics=run.read_json("metrics.json") or {},
            manifest=run.read_json("manifest.json") or {},
            rejects=run.records("rejects.jsonl", damage=damage),
            pictures={file.name: file.read_bytes() for file in sorted(path.glob("*.png"))},
            damage=damage,
        )
