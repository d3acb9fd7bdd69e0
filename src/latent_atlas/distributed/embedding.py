"""Embed a source: codes of its images by a pretrained network, and their thumbnails.

`latent-atlas embed` writes a file per shard into the folder `embeddings` of the run, as `encode`
does: `means` are float32 (n, d), and `images` are the thumbnails, uint8 (n, 3, 64, 64); `digests`,
`names`, `name_offsets` and `labels` are as there. What a run shows of its images, it reads there.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latent_atlas.atlas.collection import THUMBNAIL, thumbnails
from latent_atlas.codes.embedder import digest_of, embedder
from latent_atlas.codes.files import CodeSet, collect
from latent_atlas.data.decode import Square
from latent_atlas.data.packed import mapped
from latent_atlas.data.shards import Shard, Shards
from latent_atlas.device import pick_device, pick_precision
from latent_atlas.distributed.jobs import Made, Mark, checksum
from latent_atlas.distributed.packing import made_of, notes_of, square_settings
from latent_atlas.errors import require
from latent_atlas.files import read_object
from latent_atlas.runs import Run

__all__ = [
    "MOST",
    "ROWS",
    "Embedding",
    "embedded_codes",
]

ROWS = 512  # images of a shard, which an interruption loses at most
MOST = 100_000
"""Images whose codes a run keeps; of more, those with the lowest digests: a fair sample."""


@dataclass(frozen=True)
class Embedding:
    """The work of `embed`: codes and thumbnails of a shard.

    Attributes:
        model: As for `embedder`.
        weights: Checksum of the weights or the function.
        square: What every image becomes before it is embedded.
        precision: "32" or "bf16".
        device: Where the network computes, as for `pick_device`.
    """

    model: str
    weights: str
    square: Square
    precision: str
    device: str = "auto"
    name: str = "embed"

    @classmethod
    def by(cls, model: str, square: Square, device: str, out: Path) -> "Embedding":
        """The work with a model, in the precision of a job that has begun, or else the faster one.

        Raises:
            UserError: there is no such model.
        """
        begun = out / "job.json"
        about = read_object(begun, "choose another --out") if begun.is_file() else {}
        precision = about.get("precision") or pick_precision("auto", pick_device(device))
        return cls(model, digest_of(model), square, precision, device)

    def settings(self) -> dict[str, Any]:
        """The model, its weights, and what images become."""
        return {
            "model": self.model,
            "weights": self.weights,
            "precision": self.precision,
            "thumbnail": THUMBNAIL,
            **square_settings(self.square),
        }

    def __call__(self, shard: Shard) -> Made:
        """Embed a shard."""
        model = embedder(self.model, self.device, self.precision)
        return made_of(
            shard,
            self.square,
            lambda images, _: {"means": model(images), "images": thumbnails(images)},
        )

    def finish(
        self, out: Path, marks: list[Mark], failed: list[Mark], shards: Shards
    ) -> dict[str, Any]:
        """Compare the scales of the shards, as `notes_of`."""
        return notes_of(shards, marks)


def same_model(run: Path, other: Path) -> bool:
    """Whether one model made the codes of two runs: one embedder, or networks of equal weights."""
    return _maker(run) == _maker(other) is not None


def _maker(run: Path) -> object:
    """What tells the model that made the codes of a run from others; None if it is not known."""
    folder = Run(run)
    about = (folder.read_json("manifest.json") or {}).get("embedder")
    if about:
        return [about[name] for name in ("weights", "image_size", "channels", "fit")]
    weights = folder.file("model.safetensors")
    return checksum(weights) if weights.is_file() else None


def embedded_codes(folder: Path, manifest: dict[str, Any]) -> CodeSet:
    """The codes that the job wrote, of which `rows` are the numbers of the images.

    Arguments:
        folder: Its output.
        manifest: The content of its manifest.json.

    Raises:
        UserError: a file is damaged, the shards have codes of several dimensions, or no map can be
            fitted to them.
    """
    shards = [mapped(folder / shard["file"]) for shard in manifest["shards"]]
    sizes = {shard["means"].shape[1] for shard in shards}
    require(
        len(sizes) == 1,
        f"{folder} has codes of {' and '.join(map(str, sorted(sizes)))} "
        "coordinates; a model has to give all images as many",
    )
    rows = _chosen(np.concatenate([shard["digests"] for shard in shards]))
    means = np.empty((len(rows), sizes.pop()), np.float32)
    labels = np.empty(len(rows), np.int64)
    start = 0
    for shard in shards:
        stop = start + len(shard["means"])
        to = slice(*np.searchsorted(rows, (start, stop)))
        within = rows[to] - start
        means[to] = shard["means"][within]
        if "labels" in shard:
            labels[to] = shard["labels"][within]
        start = stop
    names = tuple(manifest["label_names"])
    labelled = bool(names) and all("labels" in shard for shard in shards)
    found = collect(means, None, labels if labelled else None, names if labelled else ())
    return replace(found, rows=torch.from_numpy(rows)[found.rows])


def _chosen(digests: np.ndarray) -> np.ndarray:
    """The rows of at most `MOST` images, those of the lowest digests, in ascending order."""
    if len(digests) <= MOST:
        return np.arange(len(digests))
    first = digests[:, :8].copy().view(">u8")[:, 0]
    return np.sort(np.argsort(first, kind="stable")[:MOST])
