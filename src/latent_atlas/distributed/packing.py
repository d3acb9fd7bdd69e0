"""Pack a source: decode its images once, into files that training and encoding map into memory."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.data.decode import Square
from latent_atlas.data.findings import Facts
from latent_atlas.data.imageset import Reject
from latent_atlas.data.levels import Levels, Scale
from latent_atlas.data.packed import PACK, facts_of
from latent_atlas.data.shards import Rows, Shard, Shards
from latent_atlas.distributed.jobs import Made, Mark
from latent_atlas.errors import UserError, counted
from latent_atlas.files import signed, write_text
from latent_atlas.progress import doing
from latent_atlas.shapes import ByteImages

__all__ = [
    "Packing",
    "agreed_scales",
    "made_of",
    "names_of",
    "notes_of",
    "numbers_of",
    "rows_per_shard",
    "square_settings",
]

SHARD_BYTES = 2**27  # of the images of a shard, at most


def rows_per_shard(square: Square, most: int) -> int:
    """Images of a packed shard: `most`, or fewer if they are large."""
    return max(1, min(most, SHARD_BYTES // (square.channels * square.size**2)))


def _levels_settings(levels: Levels) -> dict[str, Any]:
    """The scales of floats and deep integers for JSON; None where they are not known."""
    scales = {"floats": levels.floats, "integers": levels.integers}
    return {
        name: [one.black, one.white] if isinstance(one, Scale) else None
        for name, one in scales.items()
    }


def square_settings(square: Square) -> dict[str, Any]:
    """Side, channels, fit and scales of what every image becomes, for JSON."""
    return {
        "image_size": square.size,
        "channels": square.channels,
        "fit": square.fit,
        "scales": _levels_settings(square.levels),
    }


def made_of(
    shard: Shard, square: Square, columns: Callable[[ByteImages, Rows], dict[str, Tensor]]
) -> Made:
    """What a work makes of a shard, chunk by chunk, beside the names and digests of its images.

    Arguments:
        shard: The shard.
        square: What every image becomes.
        columns: Of the images of a chunk the same tensors each time, one row per image.
    """
    rejects: list[Reject] = []
    kept: list[Rows] = []
    found: list[dict[str, Tensor]] = []
    for images, rows in shard.chunks(square, rejects):
        doing("images", sum(len(one.names) for one in kept), shard.rows)
        found.append(columns(images, rows))
        kept.append(rows)
    facts = {"scales": _scales_in_mark(kept)}
    if not kept:
        return Made({}, 0, tuple(rejects), facts)
    tensors = {name: torch.cat([one[name] for one in found]) for name in found[0]}
    tensors |= {name: value for name, value in _row_tensors(kept).items() if name != "parts"}
    return Made(tensors, sum(len(rows.names) for rows in kept), tuple(rejects), facts)


def notes_of(shards: Shards, marks: list[Mark]) -> dict[str, Any]:
    """What manifest.json says of all shards.

    Raises:
        UserError: two shards were read by different scales.
    """
    agreed_scales(marks)
    return {"notes": list(shards.notes)}


def agreed_scales(marks: list[Mark]) -> dict[str, Any]:
    """The scales that all shards were read by.

    Raises:
        UserError: two shards were read by different ones.
    """
    agreed: dict[str, Any] = {}
    for kind, setting in (
        ("floats", "data.float_range=[BLACK,WHITE]"),
        ("integers", "data.integer_white=WHITE"),
    ):
        seen = {tuple(scale): mark["shard"] for mark in marks for scale in mark["scales"][kind]}
        if len(seen) > 1:
            (one, first), (other, second) = list(seen.items())[:2]
            raise UserError(
                f"{kind} of {first} were read by the scale {list(one)} and those of {second} by "
                f"{list(other)}; pack into another folder with one for all: --set {setting}"
            )
        agreed[kind] = list(next(iter(seen))) if seen else None
    return agreed


def _row_tensors(chunks: list[Rows]) -> dict[str, Tensor]:
    """What shards keep of each image besides its pixels or its code."""
    names = [name.encode() for chunk in chunks for name in chunk.names]
    text = np.frombuffer(b"".join(names), np.uint8).copy()
    offsets = np.cumsum([0, *map(len, names)], dtype=np.int64)
    tensors = {
        "digests": torch.from_numpy(np.concatenate([chunk.digests for chunk in chunks])),
        "names": torch.from_numpy(text),
        "name_offsets": torch.from_numpy(offsets),
        "parts": torch.cat([chunk.parts for chunk in chunks]),
    }
    labels = [chunk.labels for chunk in chunks if chunk.labels is not None]
    if labels:
        tensors["labels"] = torch.cat(labels)
    return tensors


def names_of(tensors: dict[str, Tensor]) -> list[str]:
    """The names in the tensors of a shard."""
    text, offsets = (tensors[name].numpy() for name in ("names", "name_offsets"))
    whole = text.tobytes()
    return [whole[a:b].decode() for a, b in pairwise(offsets)]


def numbers_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a shard with one number per image, by the name of its column."""
    found = {
        name: value
        for name, value in tensors.items()
        if value.ndim == 1 and name not in ("names", "name_offsets", "labels")
    }
    return found | ({"label": tensors["labels"]} if "labels" in tensors else {})


def _scales_in_mark(chunks: list[Rows]) -> dict[str, list[list[float]]]:
    """The scales that the chunks of a shard were read by, each once."""
    found: dict[str, list[list[float]]] = {"floats": [], "integers": []}
    for chunk in chunks:
        for kind, scale in _levels_settings(chunk.levels).items():
            if scale is not None and scale not in found[kind]:
                found[kind].append(scale)
    return found


def _missing(failed: list[Mark]) -> list[str]:
    """A sentence on shards that could not be read."""
    if not failed:
        return []
    words = ("shard of the source is", "shards of the source are")
    return [
        f"{counted(len(failed), *words)} missing, for instance {failed[0]['place']}: "
        f"{failed[0]['reason']}"
    ]


@dataclass(frozen=True)
class Packing:
    """The work of `pack`: images of a shard as squares.

    Attributes:
        square: What every image becomes.
    """

    square: Square
    name: str = "pack"

    def settings(self) -> dict[str, Any]:
        """Side, channels, fit and scales."""
        return square_settings(self.square)

    def __call__(self, shard: Shard) -> Made:
        """Decode a shard."""
        rejects: list[Reject] = []
        found = list(shard.chunks(self.square, rejects))
        chunks = [rows for _, rows in found]
        if not chunks:
            return Made({}, 0, tuple(rejects), {"scales": _scales_in_mark(chunks)})
        tensors = {"images": torch.cat([images for images, _ in found]), **_row_tensors(chunks)}
        for name in chunks[0].attributes:
            values = torch.cat([chunk.attributes[name] for chunk in chunks])
            tensors[f"attribute/{name}"] = values
        facts: dict[str, Any] = {"scales": _scales_in_mark(chunks)}
        facts["attributes"] = sorted(chunks[0].attributes)
        facts["facts"] = asdict(reduce(Facts.__add__, (c.facts for c in chunks if c.facts)))
        return Made(tensors, len(tensors["images"]), tuple(rejects), facts)

    def finish(
        self, out: Path, marks: list[Mark], failed: list[Mark], shards: Shards
    ) -> dict[str, Any]:
        """Write pack.json, which makes the folder a source, if any shard could be read.

        Raises:
            UserError: shards were read by different scales.
        """
        if not marks:
            return {}
        whole = hashlib.blake2b(digest_size=16)
        for mark in marks:
            whole.update(mark["sha256"].encode())
        square = self.square
        about = {
            "kind": "pack",
            "source": shards.place,
            "image_size": square.size,
            "channels": square.channels,
            "fit": square.fit,
            **agreed_scales(marks),
            "images": sum(mark["rows"] for mark in marks),
            "label_names": list(shards.label_names),
            "attributes": marks[0]["attributes"],
            "attribute_names": {name: list(v) for name, v in shards.attribute_names.items()},
            "notes": [*shards.notes, *_missing(failed)],
            "facts": asdict(reduce(Facts.__add__, (facts_of(mark["facts"]) for mark in marks))),
            "digest": whole.hexdigest(),
            "shards": [{"file": mark["file"], "rows": mark["rows"]} for mark in marks],
        }
        write_text(out / PACK, json.dumps(signed(about), indent=2) + "\n")
        return {"digest": about["digest"]}
