"""A run folder: its settings, its log and its lock."""

import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NotRequired

from filelock import BaseFileLock, FileLock, Timeout
from pydantic import NonNegativeInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from latent_atlas.config.run import Config
from latent_atlas.errors import UserError, printable, require
from latent_atlas.files import read_object, read_objects, signed, write_text
from latent_atlas.runs.damage import ADVICE, damaged

__all__ = ["LEFT_OVER", "Run", "json_safe"]

LEFT_OVER = ".*.????????????.partial"  # what a process that was killed had begun to write
PATIENCE = 2.0  # seconds that the holder of a lock has to write its name


class Manifest(TypedDict, extra_items=Any):
    """The content of manifest.json."""

    label_names: NotRequired[list[str]]
    attributes: NotRequired[dict[str, list[str]]]
    n: NotRequired[NonNegativeInt]
    n_train: NotRequired[NonNegativeInt]
    n_held_out: NotRequired[NonNegativeInt]
    digest: NotRequired[str]
    source: NotRequired[str]
    path: NotRequired[str]
    records: NotRequired[NonNegativeInt]
    copies: NotRequired[str]


class Record(TypedDict, extra_items=float):
    """A line of log.jsonl."""

    phase: Literal["model", "map"]
    step: NonNegativeInt
    steps: NotRequired[NonNegativeInt]


class Reject(TypedDict):
    """A line of rejects.jsonl."""

    path: str
    reason: str


SCHEMAS: dict[str, Any] = {
    "manifest.json": TypeAdapter(Manifest),
    "log.jsonl": TypeAdapter(Record),
    "rejects.jsonl": TypeAdapter(Reject),
    "metrics.json": TypeAdapter(dict[str, dict[str, Any]]),
}


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

    @property
    def decoder(self) -> "Run":
        """The folder of the decoder that is learned for a collection's codes."""
        return Run(self.path / "decoder")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes from writing into the folder, which is made if it is missing.

        The operating system releases the lock if the process dies. The thread that holds the
        folder may hold it once more.

        Raises:
            UserError: another process holds it (the sentence names it), or there can be no folder.
        """
        self._make()
        lock = FileLock(self.file(".lock").absolute(), is_singleton=True)
        if lock.is_locked:
            yield
            return
        self._acquire(lock)
        try:
            for left_over in self.path.glob(LEFT_OVER):
                left_over.unlink(missing_ok=True)
            who = {"pid": os.getpid(), "host": socket.gethostname()}
            write_text(self.file(".holder.json"), json.dumps(who))
            yield
        finally:
            with suppress(OSError):
                self.file(".holder.json").unlink(missing_ok=True)
                self.file(".lock").unlink(missing_ok=True)  # its holder may: see FileLock
            lock.release()

    def writer(self) -> str | None:
        """The process that holds the folder, in words; None if none does."""
        if not self.file(".holder.json").is_file():
            return None
        try:
            with FileLock(self.file(".lock").absolute()).acquire(timeout=0):
                return None  # it was left behind by a process that has died
        except Timeout:
            return self._holder() or "another process"

    def claim(self) -> None:
        """Create the folder; `begin` then makes it a run.

        Raises:
            UserError: the folder holds a run already, or cannot be created.
        """
        if self.file("config.json").exists():
            goes_on = not self.file("map.safetensors").is_file()
            more = ", or continue it with train --resume" * goes_on
            raise UserError(f"{self.path} holds a run already; choose another --out{more}")
        self._make()

    def begin(self, config: Config) -> None:
        """Write the configuration, which makes the folder a run."""
        self.write_json("config.json", json.loads(config.to_json()))

    def config(self) -> Config:
        """The run's configuration.

        Raises:
            UserError: the folder holds no run, or its config.json is damaged.
        """
        if not self.file("config.json").is_file():
            advice = "`latent-atlas train SOURCE --out RUN` makes one"
            if self.file("embeddings").is_dir():
                advice = "the `latent-atlas embed` that began it finishes it"
            elif not self.path.exists() and len(self.path.parts) == 2:
                advice += f", and hf:{self.path.as_posix()} names one on the Hugging Face hub"
            raise UserError(f"{self.path} holds no run (no config.json); {advice}")
        return Config.load(self.file("config.json"))

    def source(self, config: Config) -> Config:
        """The configuration with a relative source made absolute if it is not found from here."""
        given = Path(config.data.source)
        absolute = (self.read_json("manifest.json") or {}).get("path")
        missing = not given.is_absolute() and not given.exists()
        if absolute and missing and Path(absolute).exists():
            return replace(config, data=replace(config.data, source=absolute))
        return config

    def write_text(self, name: str, text: str) -> None:
        """Replace a small text file as a whole."""
        write_text(self.file(name), text)

    def log(self, record: dict[str, Any]) -> None:
        """Append one record to log.jsonl."""
        with self.file("log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(signed(record)) + "\n")

    def records(
        self, name: str = "log.jsonl", *, damage: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """All records of log.jsonl or rejects.jsonl; a half-written last line is left out.

        Arguments:
            name: The file.
            damage: As for `read_objects`: damaged lines are left out, and named there.

        Raises:
            UserError: a line is damaged.
        """
        path = self.file(name)
        if not path.is_file():
            return []
        advice = ADVICE[name] if damage is None else "it is left out"
        found = read_objects(path, advice, partial(_check_content, path), damage=damage)
        if name == "log.jsonl" and not damage:
            written = (self.read_json("manifest.json") or {}).get("records", 0)
            require(len(found) >= written, damaged(path, f"{len(found)} of {written} records"))
        return found

    def count_records(self) -> None:
        """Keep the number of records in manifest.json, so that a log cut short is noticed."""
        manifest = self.read_json("manifest.json") or {}
        self.write_json("manifest.json", manifest | {"records": len(self.records())})

    def note_copies(self, change: str) -> None:
        """Keep in manifest.json how the copies were changed that D_z learned from."""
        manifest = self.read_json("manifest.json") or {}
        self.write_json("manifest.json", manifest | {"copies": change})

    def rewind_log(self, step: int) -> None:
        """Drop the records that will be written again: the model's after `step`, and the map's."""
        kept = [r for r in self.records() if r["phase"] == "model" and r["step"] <= step]
        lines = [json.dumps(signed(record)) + "\n" for record in kept]
        self.write_text("log.jsonl", "".join(lines))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Replace a small JSON file as a whole."""
        self.write_text(name, json.dumps(signed(content), indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Content of a small JSON file; None if there is no such file.

        Raises:
            UserError: it is damaged.
        """
        path = self.file(name)
        if not path.is_file():
            return None
        content = read_object(path, ADVICE.get(name, "remove it and resume the run"))
        try:
            _check_content(path, content)
        except ValueError as error:
            raise UserError(damaged(path, str(error))) from None
        return content

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be made a folder ({error.strerror}); choose another --out"
            ) from None

    def _acquire(self, lock: BaseFileLock) -> None:
        """Take the lock at once, or say who holds it."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                lock.acquire(timeout=0)
                return
            except Timeout:
                holder = self._holder()
            require(
                holder is None and time.monotonic() < until,
                f"{holder or 'another process'} is writing into {self.path}; wait until it ends, "
                "or choose another --out",
            )
            time.sleep(0.02)

    def _holder(self) -> str | None:
        """The process that holds the folder; None where it has not written its name yet."""
        try:
            who = json.loads(self.file(".holder.json").read_text())
            return f"process {who['pid']} on {who['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return None


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


def _check_content(path: Path, content: dict[str, Any]) -> None:
    """Compare the content of a JSON file with its schema, if it has one.

    Raises:
        ValueError: it does not fit.
    """
    if path.name not in SCHEMAS:
        return
    try:
        SCHEMAS[path.name].validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}") from None
