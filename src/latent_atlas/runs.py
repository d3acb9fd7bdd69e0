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
| attributes.safetensors | known attributes of all images, where they have some |
| codes.safetensors | means, log-variances and labels of all images; held-out errors |
| examples.safetensors | some held-out images and their labels |
| embeddings/ | codes and thumbnails of a collection, as `latent-atlas embed` wrote them |
| comparison.safetensors | what `latent-atlas compare` found last |
| decoder/ | the decoder that was learned for a collection: config.json, log.jsonl, \
state.safetensors and model.safetensors as above |
| neighbours.faiss | an index of the training codes, where there are a million or more |

Every file is replaced as a whole: a run that is killed at any moment leaves complete files. Each
but the index carries checksums of its content, which are compared whenever it is read; files of
older versions have none and are read unverified. One process writes into a folder at a time: it
holds `.lock`.
"""

import hashlib
import json
import math
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired

import torch
from filelock import BaseFileLock, FileLock, Timeout
from pydantic import NonNegativeInt, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from typing_extensions import TypedDict

from latent_atlas.config.run import Config
from latent_atlas.errors import UserError, printable, require
from latent_atlas.files import read_object, read_objects, replacing, signed, write_text

__all__ = [
    "Layout",
    "Run",
    "check_layout",
    "is_signed",
    "json_safe",
    "read_tensors",
    "reading",
    "tensor_shapes",
    "write_tensors",
]

CHECKSUMS = "checksums"  # in the metadata of a file of tensors; "" is that of the other metadata
LEFT_OVER = ".*.????????????.partial"  # what a process that was killed had begun to write
PIECE = 2**22  # numbers looked at together
PATIENCE = 2.0  # seconds that the holder of a lock has to write its name
ADVICE = {
    "config.json": "restore it from a copy, or train into another --out",
    "manifest.json": "remove it, and `latent-atlas train --resume` writes it anew",
    "log.jsonl": "remove it, and the report does without training curves",
    "rejects.jsonl": "remove it; it only lists the files that could not be read",
    "metrics.json": "remove it, and `latent-atlas report` writes it anew",
    "state.safetensors": "a finished run does without it; another can only be trained again",
    "examples.safetensors": "remove it and map.safetensors, and `latent-atlas train --resume` "
    "writes them anew",
    **dict.fromkeys(
        ("model.safetensors", "codes.safetensors"),
        "remove it and map.safetensors, and `latent-atlas train --resume` makes them again from "
        "state.safetensors, or `latent-atlas fit` from a file of codes",
    ),
    "attributes.safetensors": "remove it, and `latent-atlas train SOURCE --resume` writes it anew",
    "map.safetensors": "remove it, and `latent-atlas train --resume` makes it again from "
    "state.safetensors, or `latent-atlas fit` from a file of codes",
}
"""What to do where a file of a run is damaged."""


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


class Layout(NamedTuple):
    """What a tensor of a file must be; equal letters of a shape stand for equal sizes."""

    shape: tuple[str | int, ...]
    integer: bool = False
    required: bool = True


def write_tensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors to a file, which is replaced once they are all on disk."""
    plain = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    sums = {name: _checksum(value, name) for name, value in plain.items()}
    sums[""] = _checksum_of(metadata or {})
    with replacing(path) as partial, _system_errors():
        save_file(plain, partial, {**(metadata or {}), CHECKSUMS: json.dumps(sums)})


def read_tensors(
    path: Path,
    *,
    device: torch.device | str = "cpu",
    prefix: str | None = "",
    finite: bool = True,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote: the tensors, and the metadata.

    Arguments:
        path: The file.
        device: Where to put the tensors.
        prefix: Read only the tensors whose names begin so; None reads the metadata alone.
        finite: Whether NaN and infinity are damage.

    Raises:
        UserError: there is no such file, it is damaged, or it is not as it was written.
    """
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; `latent-atlas train` makes a run, and --resume finishes one"
        )
    with reading(path), _system_errors(), safe_open(path, framework="pt") as file:
        every = set(file.keys())
        names = [] if prefix is None else sorted(name for name in every if name.startswith(prefix))
        tensors = {name: file.get_tensor(name) for name in names}
        metadata = file.metadata() or {}
        sums = json.loads(metadata.pop(CHECKSUMS, "null"))
        if sums is not None:
            _compare(sums, tensors, metadata, every)
    for name, value in tensors.items():
        bad = finite and value.is_floating_point() and not _all_finite(value)
        require(not bad, _damaged(path, f"tensor '{name}' holds NaN or infinity"))
    return {name: value.to(device) for name, value in tensors.items()}, metadata


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors by name, of which none is read.

    Raises:
        UserError: it is no file of tensors.
    """
    with reading(path), _system_errors(), safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _all_finite(value: Tensor) -> bool:
    """Whether there is no NaN and no infinity; a piece at a time, for memory."""
    return all(bool(part.isfinite().all()) for part in value.reshape(-1).split(PIECE))


def is_signed(path: Path) -> bool:
    """Whether a file of a run carries checksums; files of older versions do not."""
    if path.suffix == ".safetensors":
        with reading(path), _system_errors(), safe_open(path, framework="pt") as file:
            return CHECKSUMS in (file.metadata() or {})
    return b'"checksum"' in path.read_bytes()


def check_layout(path: Path, tensors: Mapping[str, Tensor], layouts: Mapping[str, Layout]) -> None:
    """Compare the tensors of a file with what they must be.

    Raises:
        UserError: one is missing, unknown, or of another type or shape; the sentence names it.
    """
    sizes: dict[str | int, int] = {}
    for name in tensors:
        require(name in layouts, _damaged(path, f"nothing is called '{name}' there"))
    for name, (shape, integer, required) in layouts.items():
        if name not in tensors:
            require(not required, _damaged(path, f"it has no tensor '{name}'"))
            continue
        seen = tensors[name]
        fits = seen.ndim == len(shape) and integer == (not seen.is_floating_point())
        for letter, size in zip(shape, seen.shape, strict=False):
            expected = letter if isinstance(letter, int) else sizes.setdefault(letter, size)
            fits = fits and size == expected
        sides = tuple(sizes.get(letter, letter) for letter in shape)
        kind = "whole numbers" if integer else "floats"
        require(
            fits,
            _damaged(
                path,
                f"'{name}' is {seen.dtype} of shape {tuple(seen.shape)}, not {kind} of {sides}",
            ),
        )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Report whatever goes wrong with the content of a file as one sentence that names it.

    Raises:
        UserError: the content is not what the file must hold.
    """
    try:
        yield
    except UserError as error:
        known = str(path) in str(error)
        raise error if known else UserError(_damaged(path, str(error))) from error
    except (
        SafetensorError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(_damaged(path, reason)) from error


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
            require(len(found) >= written, _damaged(path, f"{len(found)} of {written} records"))
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
            raise UserError(_damaged(path, str(error))) from None
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


def _damaged(path: Path, reason: str) -> str:
    advice = ADVICE.get(path.name, "restore it or make it again")
    return f"{path} is damaged or of another version ({reason}); {advice}"


def _compare(
    sums: dict[str, str], tensors: Mapping[str, Tensor], metadata: dict[str, str], every: set[str]
) -> None:
    """Compare the checksums of a file with its content."""
    require_same = {name: _checksum(value, name) for name, value in tensors.items()}
    require_same[""] = _checksum_of(metadata)
    if every != sums.keys() - {""}:
        raise ValueError("its tensors are not those that were written")
    for name, seen in require_same.items():
        if sums[name] != seen:
            raise ValueError(f"the checksum of {name or 'its metadata'} does not fit")


def _checksum(value: Tensor, name: str) -> str:
    """SHA-256, the fastest here, of a tensor with its name, type and shape."""
    whole = hashlib.sha256(f"{name} {value.dtype} {tuple(value.shape)}".encode())
    whole.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()[:32]


def _checksum_of(metadata: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise what safetensors reports of the system as the `OSError` that it was."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None
