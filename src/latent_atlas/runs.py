"""A run folder: how its files are written, read and replaced.

| file | content |
|---|---|
| config.json | all settings of the run; with the images, they determine it |
| manifest.json, rejects.jsonl | the images, and the files that could not be read |
| log.jsonl | a record a line: losses of the model, then of the map |
| state.safetensors | the last checkpoint: networks, averages, optimisers, step |
| model.safetensors | the finished networks; absent in a run from codes alone |
| map.safetensors | the finished map: D_z, boundary, calibration |
| growing.safetensors | the map at the last check while it is fitted |
| codes.safetensors | means, log-variances and labels of all images; held-out errors |
| examples.safetensors | some held-out images and their labels |

Every file is replaced as a whole: a run that is killed at any moment leaves complete files.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latent_atlas.config.run import Config
from latent_atlas.errors import UserError, printable

__all__ = ["Run", "json_safe", "read_tensors", "write_tensors"]


def write_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors to a file, which is replaced once they are all on disk."""
    partial = path.with_suffix(".partial")
    save_file(
        {name: value.detach().contiguous().cpu() for name, value in tensors.items()},
        partial,
        metadata,
    )
    _replace(partial, path)


def read_tensors(
    path: Path, *, device: torch.device | str = "cpu", prefix: str | None = ""
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote: the tensors, and the metadata.

    Arguments:
        path: The file.
        device: Where to put the tensors.
        prefix: Read only the tensors whose names begin so; None reads the metadata alone.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; `latent-atlas train` makes a run, and --resume finishes one"
        )
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            every = [] if prefix is None else file.keys()
            names = [name for name in every if name.startswith(prefix or "")]
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); restore it or make it again") from None


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        path: The folder.
    """

    path: Path

    def file(self, name: str) -> Path:
        """Path of one of the folder's files."""
        return self.path / name

    def claim(self) -> None:
        """Create the folder; `begin` then makes it a run.

        Raises:
            UserError: the folder holds a run already, or cannot be created.
        """
        if self.file("config.json").exists():
            raise UserError(
                f"{self.path} holds a run already; choose another --out, or continue it with "
                "train --resume"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be made a folder ({error.strerror}); choose another --out"
            ) from None

    def begin(self, config: Config) -> None:
        """Write the configuration, which makes the folder a run."""
        self.write_text("config.json", config.to_json())

    def config(self) -> Config:
        """The run's configuration.

        Raises:
            UserError: the folder holds no run.
        """
        if not self.file("config.json").is_file():
            raise UserError(
                f"{self.path} holds no run (no config.json); "
                "`latent-atlas train SOURCE --out RUN` makes one"
            )
        return Config.load(self.file("config.json"))

    def write_text(self, name: str, text: str) -> None:
        """Replace a small text file as a whole."""
        partial = self.file(name + ".partial")
        partial.write_text(text)
        _replace(partial, self.file(name))

    def log(self, record: dict[str, Any]) -> None:
        """Append one record to log.jsonl."""
        with self.file("log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """All records of log.jsonl; a half-written last line is left out."""
        records = []
        if self.file("log.jsonl").is_file():
            for line in self.file("log.jsonl").read_text().splitlines():
                try:
                    records.append(json.loads(line))
                except json.JSONDecodeError:
                    break
        return records

    def rewind_log(self, step: int) -> None:
        """Drop the records that will be written again: the model's after `step`, and the map's."""
        kept = [r for r in self.records() if r["phase"] == "model" and r["step"] <= step]
        self.write_text("log.jsonl", "".join(json.dumps(record) + "\n" for record in kept))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Replace a small JSON file as a whole."""
        self.write_text(name, json.dumps(content, indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Content of a small JSON file; None if there is no such file.

        Raises:
            UserError: it is damaged.
        """
        if not self.file(name).is_file():
            return None
        try:
            return json.loads(self.file(name).read_text())
        except json.JSONDecodeError as error:
            raise UserError(
                f"{self.file(name)} is damaged ({error}); remove it and resume the run"
            ) from None


def json_safe(content: Any) -> Any:
    """The same content with None for NaN and infinity, and escapes for halves of characters: JSON
    has none of these.

    Examples:
        >>> json_safe({"residual": [1.0, float("nan")]})
        {'residual': [1.0, None]}
    """
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, Mapping):
        return {json_safe(name): json_safe(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [json_safe(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _replace(partial: Path, path: Path) -> None:
    with partial.open("r+b") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
