"""Images in .npy and .npz files.

| shape | taken as |
|---|---|
| (n, h, w) | grey |
| (n, h, w, c), last axis 1 to 4 | channels last |
| (n, c, h, w), second axis 1 to 4, last axis longer | channels first |

| values | taken as |
|---|---|
| booleans | 0 and 255 |
| integers, all in 0..255 | as they are |
| floats, all finite ones in [0, 1] | times 255 |
| floats, all finite ones in [0, 255], one above 1 | as they are, rounded |
| anything else | refused |

An image with a NaN or an infinity is a reject.
"""

import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from latent_atlas.data.decode import UndecodableError
from latent_atlas.data.source import Item, Source, refuse_bomb
from latent_atlas.errors import UserError

__all__ = ["array_items", "array_source"]

Rows = Shaped[np.ndarray, "n h w c"]
_BLOCK = 256  # rows checked at a time, so that a memory-mapped file is not loaded whole


def array_source(path: Path) -> Source:
    """All images in an array file.

    Arguments:
        path: A .npy file with the images. Of an .npz file: the array `images`, else its only array,
            else its first array of four axes, else its first of three; and the array `labels`, of
            shape (n,), if there is one.

    Returns:
        Items named `row:0`, `row:1`, ...

    Raises:
        UserError: the file is damaged or pickled, or its arrays have a shape or values that the
            tables above do not list.
    """
    try:
        arrays = _read(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, UserError):
            raise
        reason = str(error).partition(";")[0].partition("\n")[0]
        raise UserError(
            f"cannot read '{path}' ({reason}); save plain numbers with numpy.save or numpy.savez"
        ) from None
    key = _key_of_images(arrays, path)
    rows = _channels_last(arrays[key], f"'{path}' ({key})" if key else f"'{path}'")
    labels, names = _labels(arrays, len(rows), path)
    return Source(array_items(rows, _scale(rows, str(path)), labels), names)


def array_items(
    rows: Rows, scale: float = 1.0, labels: np.ndarray | None = None
) -> tuple[Item, ...]:
    """One item per row, named `row:0`, `row:1`, ...

    Arguments:
        rows: Images of numbers that `scale` brings to 0..255.
        scale: 255 for values in [0, 1], 1 for values in [0, 255].
        labels: Class numbers, -1 where unknown.
    """
    numbers = [-1] * len(rows) if labels is None else labels.tolist()
    return tuple(
        Item(f"row:{i}", partial(_row, rows, i, scale), label) for i, label in enumerate(numbers)
    )


def _row(rows: Rows, i: int, scale: float) -> UInt8[np.ndarray, "h w c"]:
    row = np.array(rows[i])
    if row.dtype == np.uint8:
        return row
    if not np.isfinite(row).all():
        raise UndecodableError("it has a NaN or an infinity")
    return np.rint(row * scale).astype(np.uint8)


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() == ".npy":
        return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        refuse_bomb(
            path, path.stat().st_size, sum(info.file_size for info in archive.zip.infolist())
        )
        return dict(archive)


def _key_of_images(arrays: Mapping[str, np.ndarray], path: Path) -> str:
    for key in ("", "images"):
        if key in arrays:
            return key
    others = [key for key in arrays if key != "labels"]
    for axes in (4, 3):
        for key in others:
            if arrays[key].ndim == axes:
                return key
    if len(others) == 1:
        return others[0]
    seen = ", ".join(f"{key} {arrays[key].shape}" for key in arrays) or "nothing"
    raise UserError(
        f"'{path}' holds {seen}; give the array of images 3 or 4 axes and the name `images`"
    )


def _channels_last(array: np.ndarray, place: str) -> Rows:
    if array.ndim == 3 and array.size:
        return array[..., None]
    if array.ndim == 4 and array.size:
        if 1 <= array.shape[3] <= 4:
            return array
        if 1 <= array.shape[1] <= 4:
            return array.transpose(0, 2, 3, 1)
    raise UserError(
        f"the array in {place} has the shape {array.shape}; "
        "give (n, h, w), (n, h, w, c) or (n, c, h, w) with c from 1 to 4"
    )


def _scale(rows: Rows, path: str) -> float:
    """The factor that brings the values to 0..255; see the table at the head of this module."""
    if rows.dtype == np.uint8:
        return 1.0
    if rows.dtype == np.bool_:
        return 255.0
    if rows.dtype.kind not in "iuf":
        raise UserError(f"'{path}' holds values of type {rows.dtype}; convert them to uint8")
    low, high = np.inf, -np.inf
    for start in range(0, len(rows), _BLOCK):
        block = np.asarray(rows[start : start + _BLOCK])
        finite = block[np.isfinite(block)]
        if finite.size:
            low, high = min(low, finite.min()), max(high, finite.max())
    if high >= low and (low < 0 or high > 255):
        raise UserError(
            f"'{path}' holds values from {low} to {high}; scale them to 0..255 as uint8, or to "
            "[0, 1] as floats"
        )
    return 255.0 if rows.dtype.kind == "f" and high <= 1 else 1.0


def _labels(
    arrays: Mapping[str, np.ndarray], n: int, path: Path
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Class numbers and names, from integers (negative for unknown) or words."""
    if "labels" not in arrays:
        return None, ()
    values = arrays["labels"]
    if values.shape != (n,) or values.dtype.kind not in "iubU":
        raise UserError(
            f"`labels` in '{path}' has the shape {values.shape} and type {values.dtype}; "
            f"give ({n},) integers or words, one per image"
        )
    known = values >= 0 if values.dtype.kind == "i" else np.ones(n, bool)
    classes, numbers = np.unique(values[known], return_inverse=True)
    labels = np.full(n, -1, np.int64)
    labels[known] = numbers
    return labels, tuple(str(name) for name in classes)
