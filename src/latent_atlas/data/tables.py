"""Labels and attributes from a table beside the images: labels.csv, metadata.csv, metadata.jsonl.

| column | names |
|---|---|
| the file, relative to the table, with or without its suffix | the first of `file_name`, ... |
| the class | the first of `label`, ...; or the other one of two columns |
| the part of a split | the first of `split`, ... with `train` and another part |
| an attribute | any other, if every image has a number, or one of 2 to 50 words |
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

from latent_atlas.data.layout import is_held_out_part
from latent_atlas.errors import counted

__all__ = ["Table", "is_table", "read_tables"]

_FILE_COLUMNS = """file_name filename file image_path filepath file_path path image image_name
image_id img id name"""
_FILES = _FILE_COLUMNS.split()
_CLASSES = ["label", "labels", "class", "class_name", "classname", "category", "target", "y"]
_PARTS = ["split", "subset", "partition", "part", "set"]
_MOST_WORDS = 50  # a column of more different words is text, not categories


@dataclass(frozen=True)
class Table:
    """What tables say of the images.

    Attributes:
        classes: The class of each image, "" where there is none; None without such a column.
        held_out: Whether each image is held out; None without such a column.
        attributes: One number per image, by column.
        attribute_names: The words that the numbers of a column of words stand for.
        notes: What to tell the user.
    """

    classes: tuple[str, ...] | None
    held_out: tuple[bool, ...] | None
    attributes: Mapping[str, Tensor]
    attribute_names: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def is_table(name: str) -> bool:
    """Whether a file is a table of labels by its name."""
    path = PurePosixPath(name.lower())
    return path.stem in ("labels", "metadata") and path.suffix in (".csv", ".tsv", ".jsonl")


def read_tables(tables: Mapping[str, bytes], images: Sequence[str]) -> Table:
    """Match the rows of tables with images.

    Arguments:
        tables: The contents of tables by their paths.
        images: Paths of the images.

    Returns:
        What the tables say; what could not be used is in the notes.
    """
    rows: dict[int, dict[str, str]] = {}
    notes: list[str] = []
    for place, content in sorted(tables.items()):
        matched, note = _matched(place, content, images)
        rows |= matched
        notes.append(note)
    columns = dict.fromkeys(column for row in rows.values() for column in row)
    values = {
        column: [rows.get(i, {}).get(column, "") for i in range(len(images))] for column in columns
    }
    classes = next((tuple(values.pop(name)) for name in list(values) if name == "label"), None)
    column, held_out = _parts(values)
    if column:
        notes.append(f"the parts are those of the column {column}")
    attributes: dict[str, Tensor] = {}
    names: dict[str, tuple[str, ...]] = {}
    unused: list[str] = []
    for column, cells in values.items():
        numbers, words = _attribute(cells)
        if numbers is None:
            unused.append(column)
            continue
        attributes[column] = numbers
        if words:
            names[column] = words
    if attributes:
        notes.append(f"attributes: {', '.join(attributes)}")
    if unused:
        notes.append(f"columns not used: {', '.join(unused)}")
    return Table(classes, held_out, attributes, names, tuple(notes))


def _matched(
    place: str, content: bytes, images: Sequence[str]
) -> tuple[dict[int, dict[str, str]], str]:
    """The rows of one table by image, with the column of classes named `label`; and a remark."""
    try:
        rows = _rows(place, content.decode("utf-8-sig"))
    except (ValueError, csv.Error, RecursionError) as error:
        return {}, f"{place} is not used: it cannot be read ({str(error).partition(chr(10))[0]})"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    key = next((c for name in _FILES for c in columns if c.lower() == name), None)
    if key is None:
        return {}, f"{place} is not used: it has no column of files, such as file_name"
    label = next((c for name in _CLASSES for c in columns if c.lower() == name), None)
    if label is None and len(columns) == 2:
        label = next(c for c in columns if c != key)
    folder = PurePosixPath(place).parent
    known = _places(images, folder)
    matched: dict[int, dict[str, str]] = {}
    lost = 0
    for row in rows:
        name = (folder / row.get(key, "").replace("\\", "/").lstrip("/")).as_posix()
        found = known.get(name, known.get(PurePosixPath(name).name))
        if found is None:
            lost += 1
            continue
        matched[found] = {
            "label" if c == label else c: v for c, v in row.items() if c != key and c is not None
        }
    words = f"{place}: {counted(len(matched), 'image')} by the column {key}"
    words += f", classes from the column {label}" if label else ", no column of classes"
    return matched, words + (
        f"; {counted(lost, 'row names', 'rows name')} no image" if lost else ""
    )


def _places(images: Sequence[str], folder: PurePosixPath) -> dict[str, int]:
    """Indices of images by path and, where only one has it, by name; with and without suffix."""
    known: dict[str, int] = {}
    twice: set[str] = set()
    for i, image in enumerate(images):
        path = PurePosixPath(image)
        for short in {path.name, path.stem} if path.is_relative_to(folder) else ():
            if known.setdefault(short, i) != i:
                twice.add(short)
    known = {name: i for name, i in known.items() if name not in twice}
    for i, image in enumerate(images):
        known[image] = i
        known.setdefault(PurePosixPath(image).with_suffix("").as_posix(), i)
    return known


def _rows(place: str, text: str) -> list[dict[str, str]]:
    if place.lower().endswith(".jsonl"):
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not all(isinstance(row, dict) for row in found):
            raise ValueError("a line is no JSON object")
        return [{str(c): "" if v is None else str(v) for c, v in row.items()} for row in found]
    first = text.partition("\n")[0]
    delimiter = max("\t,;", key=first.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return [{c: v or "" for c, v in row.items() if isinstance(c, str)} for row in reader]


def _parts(values: dict[str, list[str]]) -> tuple[str, tuple[bool, ...] | None]:
    """Take the column of parts out, if its words are parts and one of them is to train on."""
    for column in [c for name in _PARTS for c in values if c.lower() == name]:
        parts = [is_held_out_part(cell) for cell in values[column]]
        if {True, False} <= set(parts):
            del values[column]
            return column, tuple(part is True for part in parts)
    return "", None


def _attribute(cells: list[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """The numbers of a column and the words that they stand for; None if it is not usable."""
    try:
        numbers = [float(cell) for cell in cells]
        return (torch.tensor(numbers) if all(map(math.isfinite, numbers)) else None), ()
    except ValueError:
        words = tuple(sorted(set(cells)))
    if "" in words or not 2 <= len(words) <= min(_MOST_WORDS, len(cells) // 2):
        return None, ()
    return torch.tensor([words.index(cell) for cell in cells]), words
