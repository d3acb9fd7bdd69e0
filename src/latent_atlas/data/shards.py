"""Sources in shards: parts that are read one at a time, each by any process."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from latent_atlas.data.decode import IMAGE_SUFFIXES, Square
from latent_atlas.data.files import is_tar
from latent_atlas.data.findings import Facts
from latent_atlas.data.huggingface import HubFile, files_on_hub
from latent_atlas.data.imageset import Reject
from latent_atlas.data.levels import Levels
from latent_atlas.data.load import open_source
from latent_atlas.data.packed import Pack
from latent_atlas.data.parallel_read import read_all, reject_or_content
from latent_atlas.data.source import Source
from latent_atlas.data.split import Digests, as_digests, digest
from latent_atlas.errors import require
from latent_atlas.shapes import ByteImages, Labels

__all__ = ["ROWS", "Rows", "Shard", "Shards", "archives_in", "shards_of"]

ROWS = 10_000  # images of a shard of a folder, an array or a pack
CHUNK = 512  # images that are decoded at a time

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of some images besides their squares, at least one, in the order of the source.

    Attributes:
        digests: Of their pixels at full size.
        names: Of each image.
        parts: 1 for an image that the source holds out, 0 for one to train on, and -1 where the
            content decides; shape (n,), int8.
        labels: Class numbers; None where the source has none.
        attributes: Known properties by name, one number per image each.
        facts: What they were like before they became squares; None for packed images.
        levels: The scales of floats and deep integers among them.
    """

    digests: Digests
    names: tuple[str, ...]
    parts: Tensor
    labels: Labels | None = None
    attributes: dict[str, Tensor] = field(default_factory=dict)
    facts: Facts | None = None
    levels: Levels = field(default_factory=Levels)


Chunk = tuple[ByteImages, Rows]
"""Images that could be decoded, as squares, and what is known of them."""


@dataclass(frozen=True)
class Shard:
    """Some items of a source, in the order of the source.

    Attributes:
        name: Such as `shard-00017`.
        place: The source, as for `open_source`.
        start, stop: The items meant; None is the end.
        source: These items alone, where any process can read them; None where the process must
            open the place.
        file: The file of the hub that holds them, where they are streamed.
    """

    name: str
    place: str
    start: int = 0
    stop: int | None = None
    source: Source | None = None
    file: HubFile | None = None

    @property
    def rows(self) -> int:
        """How many items there are; 0 if that is not known before they are read."""
        return len(self.source.items) if self.source else (self.stop or self.start) - self.start

    def chunks(self, square: Square, rejects: list[Reject]) -> Iterator[Chunk]:
        """Read and decode the images; while one chunk is used, the next is read.

        Arguments:
            square: What every image becomes.
            rejects: Is given the items that cannot be decoded.

        Raises:
            UserError: the place cannot be read, or is a pack of other squares.
        """
        if Pack.is_at(self.place):
            return self._packed_chunks(square)
        return _ahead(self._decoded_chunks(square, rejects))

    def _packed_chunks(self, square: Square) -> Iterator[Chunk]:
        pack = _pack(self.place)
        pack.check(square)
        for start in range(self.start, self.stop or len(pack), CHUNK):
            rows = slice(start, min(start + CHUNK, self.stop or len(pack)))
            yield (
                pack.images[rows],
                Rows(
                    pack.rows("digests", rows),
                    pack.names[rows],
                    torch.from_numpy(pack.rows("parts", rows)),
                    torch.from_numpy(pack.rows("labels", rows)) if pack.label_names else None,
                ),
            )

    def _decoded_chunks(self, square: Square, rejects: list[Reject]) -> Iterator[Chunk]:
        whole = self.source is None and self.start == 0 and self.stop is None
        if self.file is not None:
            for source in self.file.sources(CHUNK):
                yield from _decoded(source, 0, None, square, rejects)
        elif whole:
            with closing(open_source(self.place)) as source:
                # Classes are numbered within a source, so those of two archives do not compare.
                unlabelled = replace(source, label_names=(), attributes=None)
                yield from _decoded(unlabelled, 0, None, square, rejects)
        elif self.source is None:
            yield from _decoded(_opened(self.place), self.start, self.stop, square, rejects)
        else:
            yield from _decoded(self.source, 0, None, square, rejects)


@lru_cache(maxsize=1)
def _opened(place: str) -> Source:
    """A source that stays open, as its shards are read one after the other."""
    return open_source(place)


@lru_cache(maxsize=1)
def _pack(place: str) -> Pack:
    return Pack.open(place)


def _decoded(
    source: Source, start: int, stop: int | None, square: Square, rejects: list[Reject]
) -> Iterator[Chunk]:
    """Chunks of some items; those that must be read in turn are read at once."""
    stop = len(source.items) if stop is None else stop
    step = stop - start if source.in_turn else CHUNK
    for first in range(start, stop, step):
        items = source.items[first : min(first + step, stop)]
        reading = read_all(items, square, source.in_turn, None)
        rejects += reading.rejects
        if not reading.kept:
            continue
        kept = [items[i] for i in reading.kept]
        rows = torch.tensor(reading.kept) + first
        yield (
            reading.images,
            Rows(
                as_digests([look.digest for look in reading.looks]),
                tuple(item.name for item in kept),
                torch.tensor(
                    [-1 if item.held_out is None else item.held_out for item in kept],
                    dtype=torch.int8,
                ),
                torch.tensor([item.label for item in kept]) if source.label_names else None,
                {name: values[rows] for name, values in (source.attributes or {}).items()},
                Facts.of(reading.looks, reading.images),
                reading.levels,
            ),
        )


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, of which the next is made by a thread while one is used."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, items, end)
        while (item := pending.result()) is not end:
            pending = pool.submit(next, items, end)
            yield item  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class Shards:
    """A source in shards, and what is common to them.

    Attributes:
        place: The source.
        shards: In order.
        digest: Changes with the names, the number and the order of the items, and, where items can
            be read in any order, with the content of some.
        label_names, attribute_names, notes: As for `Source`.
    """

    place: str
    shards: tuple[Shard, ...]
    digest: str
    label_names: tuple[str, ...] = ()
    attribute_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def shards_of(place: str, rows: int = ROWS) -> Shards:
    """Divide a source into shards that can be read by themselves.

    They are the archives of a folder of tar archives, the files of a data set of the hub in several
    files, and of any other source parts of `rows` images.

    Arguments:
        place: As for `open_source`, or a folder of tar archives.
        rows: Images of a shard.

    Raises:
        UserError: there is no such source, or it holds no image.
    """
    for cached in (_opened, _pack):
        cached.cache_clear()  # what was there before may have been replaced
    if archives := archives_in(place):
        return _of_archives(place, archives)
    if Pack.is_at(place):
        pack = Pack.open(place)
        slices = _slices(place, len(pack), rows)
        return Shards(place, slices, pack.digest, pack.label_names, pack.attribute_names)
    files = files_on_hub(place.removeprefix("hf:")) if place.startswith("hf:") else []
    if any(file.number > 0 for file in files):
        return _of_files(place, files)
    source = open_source(place)
    slices = _slices(place, len(source.items), rows)
    if source.portable:
        slices = tuple(
            replace(one, start=0, stop=None, source=_part(source, one.start, one.stop))
            for one in slices
        )
    found = Shards(
        place,
        slices,
        _digest([*(item.name for item in source.items), *_samples(source)]),
        source.label_names,
        dict(source.attribute_names),
        source.notes,
    )
    source.close()
    return found


def archives_in(place: str) -> list[Path]:
    """The tar archives directly in a folder; none if there are images beside them."""
    folder = Path(place).expanduser()
    if not folder.is_dir() or Pack.is_at(place):
        return []
    files = [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files):
        return []
    return [folder / name for name in sorted(files) if is_tar(name)]


def _of_archives(place: str, archives: list[Path]) -> Shards:
    """One shard per archive."""
    shards = tuple(Shard(f"shard-{i:05}", str(path)) for i, path in enumerate(archives))
    digest = _digest(path.name for path in archives)
    note = f"{len(archives):,} archives are read one by one, so their folders are no classes"
    return Shards(place, shards, digest, notes=(note,))


def _of_files(place: str, files: list[HubFile]) -> Shards:
    """One shard per file of the hub."""
    shards = tuple(Shard(f"shard-{i:05}", place, file=file) for i, file in enumerate(files))
    first = Source(tuple(islice(files[0].items(), 1)))
    names = [*(file.name for file in files), *_samples(first)]
    note = f"{len(files):,} files are streamed one by one"
    return Shards(place, shards, _digest(names), files[0].part.label_names, notes=(note,))


def _slices(place: str, n: int, rows: int) -> tuple[Shard, ...]:
    require(n > 0, f"'{place}' holds no image; give another source")
    return tuple(
        Shard(f"shard-{i:05}", place, start, min(start + rows, n))
        for i, start in enumerate(range(0, n, rows))
    )


def _part(source: Source, start: int, stop: int | None) -> Source:
    """A source of some of the items."""
    attributes = source.attributes and {
        name: values[start:stop] for name, values in source.attributes.items()
    }
    return replace(source, items=source.items[start:stop], attributes=attributes, notes=())


def _samples(source: Source) -> list[str]:
    """Digests of the first, the middle and the last item: names alone may be equal."""
    if source.in_turn or not source.items:
        return []
    last = len(source.items) - 1
    contents = (reject_or_content(source.items[i]) for i in (0, last // 2, last))
    return ["" if isinstance(one, Reject) else digest(one).hex() for one in contents]


def _digest(names: Iterable[str]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for name in names:
        whole.update(name.encode() + b"\n")
    return whole.hexdigest()
