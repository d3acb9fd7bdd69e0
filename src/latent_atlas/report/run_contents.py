"""The contents of a run folder that a report shows; what is missing stays empty."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from latent_atlas.config.run import Config
from latent_atlas.errors import UserError

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
    """

    path: Path
    config: Config
    made: datetime
    records: list[dict[str, Any]]
    metrics: dict[str, Any]
    manifest: dict[str, Any]
    rejects: list[dict[str, Any]]
    pictures: dict[str, bytes]

    @classmethod
    def read(cls, path: Path) -> "RunContents":
        """Read a run folder.

        Raises:
            UserError: it holds no config.json, or one of its JSON files is damaged.
        """
        config = path / "config.json"
        if not config.is_file():
            raise UserError(
                f"{path} holds no run (no config.json); "
                "`latent-atlas train SOURCE --out RUN` makes one"
            )
        return cls(
            path=path,
            config=Config.load(config),
            made=datetime.fromtimestamp(config.stat().st_mtime).astimezone(),
            records=_lines(path / "log.jsonl"),
            metrics=_object(path / "metrics.json", "report"),
            manifest=_object(path / "manifest.json", "train"),
            rejects=_lines(path / "rejects.jsonl"),
            pictures={file.name: file.read_bytes() for file in sorted(path.glob("*.png"))},
        )


def _object(path: Path, command: str) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not JSON ({error}); `latent-atlas {command}` writes it anew"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object; `latent-atlas {command}` writes it anew")
    return content


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, without the half line that a killed run may leave."""
    found = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                content = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(content, dict):
                found.append(content)
    return found
