"""A packed source: images that were decoded once, in files that are read without decoding.

`latent-atlas pack` writes the folder:

| file | content |
|---|---|
| pack.json | what the images are: side, channels, fit, classes, counts, checksums of the shards |
| shard-00000.safetensors, ... | the images of one part of the source, in the order of the source |
| rejects.jsonl | the files that could not be decoded |

| tensor of a shard | type and shape | content |
|---|---|---|
| `images` | uint8 (n, c, h, w) | pixels in 0..255 |
| `digests` | uint8 (n, 16) | hash of the pixels at full size, by which images are held out |
| `names`, `name_offsets` | uint8 (bytes,), int64 (n + 1,) | UTF-8 names one after the other |
| `parts` | int8 (n,) | 1 held out by the source, 0 to train on, -1 left to the content |
| `labels` | int64 (n,) | class numbers, -1 where unknown; only with classes |
| `attribute/NAME` | (n,) | a known property; only with attributes |

The shards are memory-mapped: the system reads the rows that are asked for, and keeps in its own
memory those that are read often.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latent_atlas.config.data import DataConfig
from latent_atlas.data.decode import Square
from latent_atlas.data.findings import CHANNELS, Facts, refuse_few, remarks, summary_of
from latent_atlas.data.imageset import ImageSet, Reject
from latent_atlas.data.levels import Levels, Scale
from latent_atlas.data.pixels import PackedImages, PackedNames
from latent_atlas.data.source import Item, Source
from latent_atlas.data.split import held_out_by_content
from latent_atlas.errors import UserError, require
from latent_atlas.files import read_object, read_objects
from latent_atlas.shapes import Mask

__all__ = ["Pack", "mapped", "packed_set", "packed_source"]

PACK = "pack.json"
AGAIN = "remove it and its mark in `marks`, and run `latent-atlas pack` again"
KINDS = {
    "F32": "<f4",
    "F64": "<f8",
    "I8": "i1",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "u1",
    "BOOL": "?",
}
"""Types of safetensors as those of NumPy."""


def mapped(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file as arrays that stay on the disk.

    Raises:
        UserError: there is no such file, or it is cut or damaged.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        whole = np.memmap(path, np.uint8, "r")
        header.pop("__metadata__", None)
        return {name: _array(whole, 8 + length, entry) for name, entry in header.items()}
    except FileNotFoundError:
        raise UserError(f"{path} is missing; restore it, or {AGAIN}") from None
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise UserError(f"{path} is cut or damaged ({error}); {AGAIN}") from None


def _array(whole: np.ndarray, first: int, entry: dict[str, Any]) -> np.ndarray:
    begin, end = entry["data_offsets"]
    kind, shape = np.dtype(KINDS[entry["dtype"]]), tuple(entry["shape"])
    if end - begin != math.prod(shape) * kind.itemsize or first + end > len(whole):
        raise ValueError("it is shorter than it says")
    return whole[first + begin : first + end].view(kind).reshape(shape)


@dataclass(frozen=True, eq=False)
class Pack:
    """A folder of packed images.

    Attributes:
        folder: The folder.
        about: The content of pack.json.
    """

    folder: Path
    about: dict[str, Any]

    @staticmethod
    def is_at(place: str | Path) -> bool:
        """Whether a place is such a folder."""
        return bool(str(place)) and (Path(place).expanduser() / PACK).is_file()

    @classmethod
    def open(cls, place: str | Path) -> "Pack":
        """The pack at a place.

        Raises:
            UserError: pack.json is damaged.
        """
        folder = Path(place).expanduser()
        about = read_object(folder / PACK, "remove it and run `latent-atlas pack` again")
        require(
            about.get("kind") == "pack" and about.get("images", 0) > 0,
            f"{folder / PACK} does not describe packed images; run `latent-atlas pack` again",
        )
        return cls(folder, about)

    def __len__(self) -> int:
        """How many images there are."""
        return self.about["images"]

    @property
    def digest(self) -> str:
        """Of all shards; it changes with any pixel, label or name."""
        return self.about["digest"]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes; empty where there are none."""
        return tuple(self.about["label_names"])

    @property
    def attribute_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the categories of attributes that have some."""
        return {name: tuple(words) for name, words in self.about["attribute_names"].items()}

    @property
    def levels(self) -> Levels:
        """The scales by which floats and deep integers were read."""
        floats, integers = (
            None if self.about[kind] is None else Scale(*self.about[kind])
            for kind in ("floats", "integers")
        )
        return Levels(floats, integers)

    @cached_property
    def shards(self) -> tuple[dict[str, np.ndarray], ...]:
        """The arrays of each shard, on the disk.

        Raises:
            UserError: a shard is missing or damaged.
        """
        found = tuple(mapped(self.folder / shard["file"]) for shard in self.about["shards"])
        shape = self._shape()
        for shard, arrays in zip(self.about["shards"], found, strict=True):
            fits = arrays.get("images", np.empty(0)).shape == (shard["rows"], *shape)
            require(fits, f"{self.folder / shard['file']} is not the one that was packed; {AGAIN}")
        return found

    def _shape(self) -> tuple[int, int, int]:
        side = self.about["image_size"]
        return self.about["channels"], side, side

    @cached_property
    def images(self) -> PackedImages:
        """The images, on the disk."""
        return PackedImages([shard["images"] for shard in self.shards], self.digest)

    @cached_property
    def names(self) -> PackedNames:
        """The names of the images, on the disk."""
        return PackedNames([(shard["names"], shard["name_offsets"]) for shard in self.shards])

    def rows(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """One number, label or digest per image, in memory."""
        start, stop, _ = rows.indices(len(self))
        found, first = [], 0
        for shard in self.shards:
            last = first + len(shard[name])
            if first < stop and last > start:
                found.append(shard[name][max(start - first, 0) : stop - first])
            first = last
        return np.concatenate(found)

    def check(self, square: Square) -> None:
        """Refuse squares other than those that were packed.

        Raises:
            UserError: the side, the channels or the way to fit differ.
        """
        side, channels, fit = (self.about[name] for name in ("image_size", "channels", "fit"))
        require(
            (side, channels, fit) == (square.size, square.channels, square.fit),
            f"'{self.folder}' holds images of {side} x {side} pixels, {CHANNELS[channels]}, made "
            f"square by {fit}; {square.size} x {square.size}, {CHANNELS[square.channels]} and "
            f"{square.fit} were asked for: pack the source again so, or give --image-size {side} "
            f"--channels {channels} --fit {fit}",
        )

    def held_out(self, share: float) -> Mask:
        """The images that no network trains on: as the source says, else by their content.

        They are those that would be held out of the source itself.
        """
        parts = torch.from_numpy(self.rows("parts"))
        if bool((parts >= 0).all()):
            return parts == 1
        return held_out_by_content(self.rows("digests"), share)

    def rejects(self) -> tuple[Reject, ...]:
        """The files that could not be decoded."""
        path = self.folder / "rejects.jsonl"
        lines = read_objects(path, "remove it") if path.is_file() else []
        return tuple(Reject(line["path"], line["reason"]) for line in lines)


def packed_set(data: DataConfig, square: Square) -> ImageSet:
    """The image set of a packed source: the images stay on the disk.

    Arguments:
        data: The source, and the fractions held out and rejected; `limit` takes the images with the
            least digests of their pixels.
        square: What was packed.

    Raises:
        UserError: other squares were packed, too many files were rejected, or there are fewer than
            20 images to train on.
    """
    pack = Pack.open(data.source)
    pack.check(square)
    rejects = pack.rejects()
    require(
        len(rejects) <= data.max_rejects * (len(pack) + len(rejects)),
        f"{len(rejects)} of {len(pack) + len(rejects)} images of '{data.source}' could not be "
        f"decoded, more than the fraction {data.max_rejects:g} that is allowed; they are listed in "
        f"{pack.folder / 'rejects.jsonl'}: repair them and pack again, or allow more with "
        "--max-rejects",
    )
    names = pack.about["attributes"]
    whole = ImageSet(
        images=pack.images,
        labels=torch.from_numpy(pack.rows("labels")) if pack.label_names else None,
        label_names=pack.label_names,
        names=pack.names,
        held_out=pack.held_out(data.held_out),
        rejects=rejects,
        attributes={name: torch.from_numpy(pack.rows(f"attribute/{name}")) for name in names}
        if names
        else None,
        attribute_names=pack.attribute_names,
        source=data.source,
        levels=pack.levels,
    )
    digests = pack.rows("digests")
    if data.limit is not None and data.limit < len(pack):
        halves = np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0]
        least = np.sort(np.argsort(halves, kind="stable")[: data.limit])
        whole, digests = whole.select(torch.from_numpy(least)), digests[least]
    refuse_few(whole, digests)
    facts = facts_of(pack.about["facts"])
    return replace(
        whole,
        notes=(*pack.about["notes"], *remarks(whole, facts, digests)),
        summary=summary_of(whole, facts, digests),
    )


def facts_of(numbers: dict[str, Any]) -> Facts:
    """The facts from JSON, where pairs are lists."""
    pairs = {name: tuple(numbers[name]) for name in ("smallest", "largest")}
    return Facts(**{**numbers, **pairs})


def packed_source(place: str | Path) -> Source:
    """Packed images as items, for commands that look at some of them.

    The digests of these items are not those of the source, so they are not split by their content.
    """
    pack = Pack.open(place)
    labels: Iterable[int] = pack.rows("labels").tolist() if pack.label_names else [-1] * len(pack)
    items = tuple(
        Item(pack.names[i], partial(_row, pack.images, i), label, place=i)
        for i, label in enumerate(labels)
    )
    return Source(items, pack.label_names)


def _row(images: PackedImages, i: int) -> np.ndarray:
    return images[i].numpy().transpose(1, 2, 0)
