"""Images in .npy and .npz files.

| shape | taken as |
|---|---|
| (n, h, w) | grey |
| (n, h, w, c), last axis 1 to 4 | channels last |
| (n, c, h, w), second axis 1 to 4, last axis longer | channels first |

| arrays of an .npz file | taken as |
|---|---|
| `x_train`, `train_images` and the like; so with `test`, `val` | the parts of a split |
| `y_train`, `train_labels` and the like | labels of the part, (n,), (n, 1) or one-hot |
| `images` or `x`, and `labels` or `y` | images, and their labels |
| a single array of 3 or 4 axes, of any name | images |
| `FILE.npz:NAME` | the array of this name |
| anything else | refused, with the list of the arrays |

`levels` says how numbers become 0..255. An image with a NaN or an infinity is a reject.
"""

import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from latent_atlas.data.layout import is_held_out_part
from latent_atlas.data.source import Item, Source, refuse_bomb
from latent_atlas.errors import UserError

__all__ = ["array_items", "array_source"]

Rows = Shaped[np.ndarray, "n h w c"]

_IMAGES = frozenset(["x", "image", "images", "img", "imgs", "data", "pixels"])
_LABELS = frozenset(["y", "label", "labels", "target", "targets", "class", "classes"])


@dataclass(frozen=True)
class _Array:
    """An array of a file, before it is read."""

    shape: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.shape))}{',' if len(self.shape) == 1 else ''})"


def array_source(path: Path, key: str | None = None) -> Source:
    """All images in an array file.

    Arguments:
        path: A .npy file with the images, or an .npz file.
        key: Name of the array of images in the .npz file; None finds it by the table above.

    Returns:
        Items named `row:0`, `row:1`, ...; those of parts that are held out say so.

    Raises:
        UserError: the file is damaged or pickled, or its arrays are none that the tables above
            list.
    """
    if path.suffix.lower() == ".npy":
        rows = _channels_last(_load(path), f"'{path}'")
        return Source(array_items(rows))
    arrays = _directory(path)
    parts, others = _parts(arrays, path, key)
    found: list[Item] = []
    labelled: list[int | str | None] = []
    for images, labels, held_out in parts:
        rows = _channels_last(_load(path, images), f"'{path}' ({images})")
        labelled += (
            _known(_labels(_load(path, labels), len(rows), path, labels))
            if labels
            else [None] * len(rows)
        )
        first = len(found)
        found += (
            Item(f"row:{first + i}", partial(_row, rows, i), held_out=held_out)
            for i in range(len(rows))
        )
    note = f"{path.name}: images from " + ", ".join(
        images + (f" (labels {labels})" if labels else "") for images, labels, _ in parts
    )
    if others:
        note += f"; not used: {', '.join(f'{name} {arrays[name]}' for name in others)}"
    classes = sorted({one for one in labelled if one is not None}, key=_order)
    number = {one: i for i, one in enumerate(classes)}
    items = (
        replace(item, label=-1 if one is None else number[one])
        for item, one in zip(found, labelled, strict=True)
    )
    return Source(tuple(items), tuple(map(str, classes)), notes=(note,))


def _order(label: int | str) -> tuple[bool, int | str]:
    """Numbers before words."""
    return isinstance(label, str), label


def array_items(rows: Rows, labels: np.ndarray | None = None) -> tuple[Item, ...]:
    """One item per row, named `row:0`, `row:1`, ...

    Arguments:
        rows: Images of any numbers.
        labels: Class numbers, -1 where unknown.
    """
    numbers = [-1] * len(rows) if labels is None else labels.tolist()
    return tuple(Item(f"row:{i}", partial(_row, rows, i), label) for i, label in enumerate(numbers))


def _row(rows: Rows, i: int) -> Shaped[np.ndarray, "h w c"]:
    return np.array(rows[i])


def _load(path: Path, key: str | None = None) -> np.ndarray:
    """One array of a file; that of a .npy file stays on the disk."""
    try:
        if key is None:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive[key]
    # On junk, numpy raises almost anything, from tokenize errors to MemoryError.
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).partition(";")[0].partition("\n")[0] or type(error).__name__
    return UserError(
        f"cannot read '{path}' ({reason}); save plain numbers with numpy.save or numpy.savez"
    )


def _directory(path: Path) -> dict[str, _Array]:
    """Shapes and types of the arrays of an .npz file, from their headers; others are left out."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            refuse_bomb(path, path.stat().st_size, sum(member.file_size for member in members))
            return {
                member.filename.removesuffix(".npy"): _header(archive, member)
                for member in members
                if member.filename.endswith(".npy")
            }
    except UserError:
        raise
    except Exception as error:  # as in `_load`
        raise _unreadable(path, error) from None


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Array:
    """Shape and kind of one array; a member that is none has the kind "junk"."""
    try:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
    except Exception:  # as in `_load`
        return _Array((), "junk")
    # A header may promise more than there is, and numpy would reserve memory for it.
    if dtype.kind != "O" and math.prod(shape) * dtype.itemsize > member.file_size:
        return _Array((), "junk")
    return _Array(shape, dtype.kind)


_Part = tuple[str, str | None, bool | None]  # names of images and labels; whether held out


def _parts(
    arrays: Mapping[str, _Array], path: Path, key: str | None
) -> tuple[list[_Part], list[str]]:
    """The arrays of images with their labels, and the names of arrays that are not used."""
    if key is not None:
        if key not in arrays:
            raise UserError(f"'{path}' has no array '{key}'; it holds {_listed(arrays)}")
        return [(key, None, None)], [name for name in arrays if name != key]
    named: dict[tuple[str, bool], str] = {}
    for name in arrays:
        role = _role(name)
        if role is not None:
            if role in named:
                raise _unclear(arrays, path, f"{named[role]} and {name} say the same")
            named[role] = name
    splits = [part for part, is_image in named if is_image and part]
    pictures = [name for name, array in arrays.items() if len(array.shape) in (3, 4)]
    if {is_held_out_part(part) for part in splits} == {True, False}:
        order = sorted(splits, key=lambda part: is_held_out_part(part) is True)
        parts: list[_Part] = [
            (named[part, True], named.get((part, False)), is_held_out_part(part)) for part in order
        ]
    elif ("", True) in named:
        parts = [(named["", True], named.get(("", False)), None)]
    elif len(pictures) == 1:
        part = next((part for part, _ in named if named.get((part, True)) == pictures[0]), "")
        parts = [(pictures[0], named.get((part, False)), None)]
    else:
        raise _unclear(arrays, path, "which of them are the images?")
    used = {name for images, labels, _ in parts for name in (images, labels)}
    return parts, [name for name in arrays if name not in used]


def _role(name: str) -> tuple[str, bool] | None:
    """The part ("" for none) of an array by its name, and whether it holds images or labels.

    Examples:
        >>> _role("x_train"), _role("test_labels"), _role("images"), _role("codes")
        (('train', True), ('test', False), ('', True), None)
    """
    words = re.split(r"[_\W]+", name.lower())
    parts = [word for word in words if is_held_out_part(word) is not None]
    rest = [word for word in words if word not in parts]
    if len(rest) != 1 or len(parts) > 1 or rest[0] not in _IMAGES | _LABELS:
        return None
    return (parts[0] if parts else ""), rest[0] in _IMAGES


def _listed(arrays: Mapping[str, _Array]) -> str:
    return ", ".join(f"{name} {array}" for name, array in arrays.items()) or "nothing"


def _unclear(arrays: Mapping[str, _Array], path: Path, why: str) -> UserError:
    return UserError(
        f"'{path}' holds {_listed(arrays)}: {why} Name one, as in {path.name}:NAME; or save the "
        "images, of 3 or 4 axes, as `images`, or as x_train and x_test, and labels as `labels`, or "
        "as y_train and y_test"
    )


def _channels_last(array: np.ndarray, place: str) -> Rows:
    if array.ndim == 3 and array.size:
        if array.shape[2] <= 4 < min(array.shape[:2]):
            raise UserError(
                f"the array in {place} has the shape {array.shape}, which looks like one image; "
                "give an array of many, (n, h, w, c), or a folder of such files"
            )
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


def _labels(values: np.ndarray, n: int, path: Path, key: str) -> np.ndarray:
    """Labels of shape (n,): integers or words."""
    given = f"the shape {values.shape} and type {values.dtype}"
    if values.shape == (n, 1):
        values = values[:, 0]
    numbers = values.dtype.kind in "iubf"
    one_hot = values.ndim == 2 and numbers and bool((np.sort(values)[:, -2:] == (0, 1)).all())
    if one_hot and bool((values.sum(1) == 1).all()):
        values = values.argmax(1)
    if values.dtype.kind == "f" and bool((np.rint(values) == values).all()):
        values = values.astype(np.int64)
    if values.shape != (n,) or values.dtype.kind not in "iubU":
        raise UserError(
            f"`{key}` in '{path}' has {given}; give ({n},) integers or words, one per image"
        )
    return values


def _known(values: np.ndarray) -> list[int | str | None]:
    """Labels as Python values; None for negative numbers, which stand for unknown."""
    if values.dtype.kind == "U":
        return [str(value) for value in values]
    return [int(value) if value >= 0 else None for value in values]
