"""Images of data sets on the Hugging Face hub, or wherever `datasets.load_dataset` reads.

| wanted | what is read |
|---|---|
| all images | the set is downloaded into the cache of datasets, and its rows stay on the disk |
| at most so many | rows of some files are streamed; the others are not downloaded |
| the shards of a set of several files | each file is streamed when its shard is made |

Images come undecoded (`Image(decode=False)`) and are decoded by the rules of `decode`: the
library's own decoding ends at the first damaged file.
"""

import importlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any

from latent_atlas.data.decode import MAX_BYTES, UndecodableError, check_size, read_file
from latent_atlas.data.parallel_read import reject_or_content
from latent_atlas.data.source import Item, Source
from latent_atlas.errors import UserError, counted, require

__all__ = ["HubFile", "files_on_hub", "huggingface_source", "is_installed"]

SPREAD = 8  # files that some rows are taken from: one file often holds few classes
HELD_OUT = 0.1  # of these rows, where a part is held out


def is_installed() -> bool:
    """Whether the extra `huggingface` is installed."""
    return importlib.util.find_spec("datasets") is not None


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a data set.

    Attributes:
        name: Such as `train`.
        rows: A Dataset or an IterableDataset, with images undecoded.
        images: The column of images.
        labels: The first column of classes, if there is one.
        label_names: Their names.
        held_out: Whether no network trains on it; None lets the content decide.
    """

    name: str
    rows: Any
    images: str
    labels: str | None
    label_names: tuple[str, ...]
    held_out: bool | None


@dataclass(frozen=True, eq=False)
class HubFile:
    """One file of a data set, whose rows are read as they come. Any process can read it.

    Attributes:
        repository: The data set.
        part: The part that it belongs to.
        number: Its place in the part.
    """

    repository: str
    part: _Part
    number: int

    @property
    def name(self) -> str:
        """Such as `train-00002`."""
        return f"{self.part.name}-{self.number:05}"

    def items(self) -> Iterator[Item]:
        """The rows, named `train-00002:17`.

        Raises:
            UserError: the file cannot be read to its end.
        """
        part = self.part
        rows = iter(part.rows.shard(num_shards=part.rows.num_shards, index=self.number))
        for i in count():
            with _told(f"read {self.name}, row {i:,}, of", self.repository):
                row = next(rows, None)
            if row is None:
                return
            label = row[part.labels] if part.labels else None
            read = partial(_content, row[part.images])
            known = -1 if label is None else label
            yield Item(f"{self.name}:{i}", read, known, part.held_out)

    def sources(self, size: int) -> Iterator[Source]:
        """The rows, some at a time.

        Arguments:
            size: Rows of a source, at most.

        Raises:
            UserError: the file cannot be read to its end.
        """
        rows = self.items()
        while items := tuple(islice(rows, size)):
            yield Source(items, self.part.label_names)


def huggingface_source(
    repository: str, limit: int | None = None, came: Callable[[int], object] | None = None
) -> Source:
    """The images in a data set of the hub.

    The part `test` is held out, or else `validation` or `valid`, and the other parts are trained
    on; with a single part, the content of each image decides. Labels come from the first column of
    classes, if there is one.

    Arguments:
        repository: As in `datasets.load_dataset`, such as `uoft-cs/cifar10`.
        limit: Stream so many images, a tenth of them held out; None downloads all.
        came: Called with the number of images that have come, while they are streamed.

    Raises:
        UserError: datasets is not installed, the set cannot be loaded, or has no column of images.
    """
    if limit is not None:
        return _some(files_on_hub(repository), limit, came)
    items: list[Item] = []
    label_names: tuple[str, ...] = ()
    for part in _parts(repository, streaming=False):
        label_names = part.label_names
        items += _items(part, len(items))
    return Source(tuple(items), label_names, in_turn=True)


def files_on_hub(repository: str) -> list[HubFile]:
    """The files of a data set, those to train on first; none of them is downloaded.

    Raises:
        UserError: datasets is not installed, the set cannot be read, or has no column of images.
    """
    return [
        HubFile(repository, part, i)
        for part in _parts(repository, streaming=True)
        for i in range(part.rows.num_shards)
    ]


def _parts(repository: str, *, streaming: bool) -> list[_Part]:
    """The parts of a data set by their names, of which the last may be held out."""
    if not is_installed():
        raise UserError(
            f"'{repository}' is downloaded by the package datasets, which is not installed; "
            "pip install 'latent-atlas[huggingface]'"
        )
    require(bool(repository), "'hf:' names no data set; write hf:OWNER/NAME")
    datasets: Any = importlib.import_module("datasets")
    with _told("load", repository):
        parts = datasets.load_dataset(repository, streaming=streaming)
    held = next(
        (name for name in ("test", "validation", "valid") if name in parts and len(parts) > 1), None
    )
    found: list[_Part] = []
    for name in sorted(parts, key=lambda name: name == held):
        images, labels, names = _columns(datasets, parts[name].features or {}, repository)
        rows = parts[name].cast_column(images, datasets.Image(decode=False))
        found.append(
            _Part(name, rows, images, labels, names, None if held is None else name == held)
        )
    return found


@contextmanager
def _told(deed: str, repository: str) -> Iterator[None]:
    """Tells what could not be done with a data set in one sentence."""
    try:
        yield
    # The library raises some thirty types, from its own to those of three HTTP clients.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"cannot {deed} '{repository}' from Hugging Face ({reason}); check its name and the "
            "network"
        ) from None


def _columns(
    datasets: Any, features: Any, repository: str
) -> tuple[str, str | None, tuple[str, ...]]:
    """The column of images, that of labels or None, and the labels' names."""
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not images:
        columns = f", only {', '.join(features)}" if features else ""
        raise UserError(f"'{repository}' has no column of images{columns}; choose another data set")
    if not labels:
        return images[0], None, ()
    return images[0], labels[0], tuple(features[labels[0]].names)


def _items(part: _Part, first: int) -> list[Item]:
    """All rows of a part that is on the disk, counted from `first`."""
    labels = part.rows[part.labels] if part.labels else [None] * len(part.rows)
    return [
        Item(
            f"test:{i}" if part.held_out else f"row:{first + i}",
            partial(_read_row, part, i),
            -1 if label is None else label,
            part.held_out,
            first + i,
        )
        for i, label in enumerate(labels)
    ]


def _read_row(part: _Part, i: int) -> bytes:
    return _content(part.rows[i][part.images])


def _content(value: dict[str, Any] | None) -> bytes:
    """The file of an undecoded image, which may lie elsewhere, also in an archive on the hub."""
    if value is None:
        raise UndecodableError("the row has no image")
    content, path = value["bytes"], value["path"]
    if content is None and "://" not in path:
        return read_file(Path(path))
    if content is None:
        with importlib.import_module("fsspec").open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    check_size(len(content))
    return content


def _some(files: list[HubFile], limit: int, came: Callable[[int], object] | None) -> Source:
    """Some rows of a data set, kept in a temporary file: there may be more than fit into memory."""
    held_out = [file for file in files if file.part.held_out]
    others = [file for file in files if not file.part.held_out]
    tenth = round(HELD_OUT * limit) if held_out else 0
    rows = chain(_first_rows(others, limit - tenth), _first_rows(held_out, tenth))
    with ExitStack() as opened:
        spool = opened.enter_context(tempfile.TemporaryFile(buffering=0))
        items: list[Item] = []
        for item in rows:
            items.append(replace(_spooled(item, spool), place=len(items)))
            if came:
                came(len(items))
        note = f"{counted(len(items), 'row')} were streamed; the rest was not downloaded"
        names = files[0].part.label_names
        return Source(tuple(items), names, notes=(note,), close=opened.pop_all().close)


def _first_rows(files: list[HubFile], limit: int) -> Iterator[Item]:
    """At most so many rows, as many from each of eight files that lie far apart."""
    few, step = (-(-n // max(1, min(len(files), SPREAD))) for n in (limit, len(files)))
    apart = sorted(range(len(files)), key=lambda i: (i % max(1, step), i))
    return islice(chain.from_iterable(islice(files[i].items(), few) for i in apart), limit)


def _spooled(item: Item, spool: IO[bytes]) -> Item:
    """The same item with its content in a file; one that cannot be read stays as it is."""
    content = reject_or_content(item)
    if not isinstance(content, bytes):
        return item
    start = spool.tell()
    spool.write(content)
    return replace(item, read=partial(os.pread, spool.fileno(), len(content), start))
