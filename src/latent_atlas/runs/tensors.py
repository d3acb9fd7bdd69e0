"""Files of named tensors that show whether they are still as written."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latent_atlas.errors import UserError, require
from latent_atlas.files import replacing
from latent_atlas.runs.damage import damaged

__all__ = [
    "CHECKSUMS",
    "Layout",
    "check_layout",
    "is_signed",
    "read_tensors",
    "reading",
    "tensor_shapes",
    "write_tensors",
]

CHECKSUMS = "checksums"  # in the metadata of a file of tensors; "" is that of the other metadata
PIECE = 2**22  # numbers looked at together


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
        require(not bad, damaged(path, f"tensor '{name}' holds NaN or infinity"))
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
        require(name in layouts, damaged(path, f"nothing is called '{name}' there"))
    for name, (shape, integer, required) in layouts.items():
        if name not in tensors:
            require(not required, damaged(path, f"it has no tensor '{name}'"))
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
            damaged(
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
        raise error if known else UserError(damaged(path, str(error))) from error
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
        raise UserError(damaged(path, reason)) from error


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
