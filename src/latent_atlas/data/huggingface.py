"""Images of data sets on the Hugging Face hub, or wherever `datasets.load_dataset` reads.

Images come undecoded (`Image(decode=False)`) and are decoded by the rules of `decode`: the
library's own decoding ends at the first damaged file.
"""

import importlib
import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

from latent_atlas.data.decode import UndecodableError, read_file
from latent_atlas.data.source import Item, Source
from latent_atlas.errors import UserError

__all__ = ["huggingface_source", "is_installed"]


def is_installed() -> bool:
    """Whether the extra `huggingface` is installed."""
    return importlib.util.find_spec("datasets") is not None


def huggingface_source(repository: str) -> Source:
    """All images in a data set of the hub.

    The part `test` is held out, or else `validation` or `valid`, and the other parts are trained
    on; with a single part, the content of each image decides. Labels come from the first column of
    classes, if there is one.

    Arguments:
        repository: As in `datasets.load_dataset`, such as `uoft-cs/cifar10`.

    Raises:
        UserError: datasets is not installed, the set cannot be loaded, or has no column of images.
    """
    if not is_installed():
        raise UserError(
            f"'{repository}' is downloaded by the package datasets, which is not installed; "
            "pip install 'latent-atlas[huggingface]'"
        )
    datasets: Any = importlib.import_module("datasets")
    try:
        parts = datasets.load_dataset(repository)
    # The library raises some thirty types, from its own to those of three HTTP clients.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"cannot load '{repository}' from Hugging Face ({reason}); check its name and the "
            "network"
        ) from None
    held = next(
        (name for name in ("test", "validation", "valid") if name in parts and len(parts) > 1), None
    )
    items: list[Item] = []
    label_names: tuple[str, ...] = ()
    for part in sorted(parts, key=lambda name: name == held):
        images, labels, label_names = _columns(datasets, parts[part].features, repository)
        rows = parts[part].cast_column(images, datasets.Image(decode=False))
        numbers = rows[labels] if labels else [-1] * len(rows)
        items += _items(
            rows, images, list(numbers), None if held is None else part == held, len(items)
        )
    return Source(tuple(items), label_names, in_turn=True)


def _columns(
    datasets: Any, features: Any, repository: str
) -> tuple[str, str | None, tuple[str, ...]]:
    """The column of images, that of labels or None, and the labels' names."""
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not images:
        raise UserError(
            f"'{repository}' has no column of images, only {', '.join(features)}; choose another "
            "data set"
        )
    if not labels:
        return images[0], None, ()
    return images[0], labels[0], tuple(features[labels[0]].names)


def _items(
    rows: Any, column: str, labels: list[int | None], held_out: bool | None, first: int
) -> list[Item]:
    return [
        Item(
            f"test:{i}" if held_out else f"row:{first + i}",
            partial(_read, rows, column, i),
            -1 if label is None else label,
            held_out,
            first + i,
        )
        for i, label in enumerate(labels)
    ]


def _read(rows: Any, column: str, i: int) -> bytes:
    value = rows[i][column]
    if value is None:
        raise UndecodableError("the row has no image")
    return value["bytes"] if value["bytes"] is not None else read_file(Path(value["path"]))
