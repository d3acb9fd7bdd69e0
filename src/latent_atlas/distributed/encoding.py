"""Encode a source: the codes of its images, in files that other tools read.

`latent-atlas encode` writes a file per shard, in the order of the source:

| tensor of a safetensors file | type and shape | content |
|---|---|---|
| `means` | float16 (n, d) | mu, the mean of q(z|x) of each image |
| `log_variances` | float16 (n, d) | log sigma² of q(z|x) |
| `digests` | uint8 (n, 16) | hash of the pixels at full size: equal for equal pictures |
| `names`, `name_offsets` | uint8 (bytes,), int64 (n + 1,) | UTF-8 names one after the other |
| `labels` | int64 (n,) | class numbers, -1 where unknown; only with classes |

Name i is the bytes from offset i to offset i + 1. Parquet and Lance have the columns `name`,
`digest`, `mean` and `log_variance` (lists of d floats) and `label`, with the same numbers in single
precision. manifest.json, written last, names the files in order with their rows and sha256, the
classes as `label_names`, and `dimension`, which is d.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas.atlas.loading import read_model
from latent_atlas.codes.wrapped_autoencoder import Autoencoder
from latent_atlas.data.decode import Square
from latent_atlas.data.load import square_of
from latent_atlas.data.shards import Shard, Shards
from latent_atlas.device import pick_device
from latent_atlas.distributed.jobs import Made, Mark, checksum
from latent_atlas.distributed.packing import made_of, notes_of, square_settings
from latent_atlas.errors import require
from latent_atlas.runs import Run

__all__ = ["Encoding"]

LARGEST = 60_000.0  # coordinate that half precision holds


@dataclass(frozen=True)
class Encoding:
    """The work of `encode`: the codes of a shard.

    Attributes:
        run: The run folder with the encoder.
        square: What every image becomes before it is encoded.
        model: Checksum of the weights.
        device: Where the encoder computes, as for `pick_device`.
        dimension: d.
    """

    run: Path
    square: Square
    model: str
    dimension: int
    device: str = "auto"
    name: str = "encode"

    @classmethod
    def by(cls, run: Path, device: str) -> "Encoding":
        """The work with the encoder of a run.

        Raises:
            UserError: the folder holds no run with a model, or it is damaged.
        """
        config, weights = Run(run).config(), Run(run).file("model.safetensors")
        require(
            weights.is_file(),
            f"{run} has no model.safetensors, so it has no encoder; give a run that "
            "`latent-atlas train` has finished",
        )
        read_model(Run(run), torch.device("cpu"))  # damage is found here, and not in each shard
        square = square_of(config.data, config.model.image_size, config.model.channels)
        digest = checksum(weights)[:32]
        return cls(run.absolute(), square, digest, config.model.latent_dim, device)

    def settings(self) -> dict[str, Any]:
        """The weights, the dimension, and what images become."""
        return {
            "model": self.model,
            "dimension": self.dimension,
            **square_settings(self.square),
        }

    def __call__(self, shard: Shard) -> Made:
        """Encode a shard."""
        encoder = _encoder(self.run, self.device, self.model)
        return made_of(shard, self.square, lambda images, _: _halves(encoder, images))

    def finish(
        self, out: Path, marks: list[Mark], failed: list[Mark], shards: Shards
    ) -> dict[str, Any]:
        """Compare the scales of the shards, as `notes_of`."""
        return notes_of(shards, marks)


@lru_cache(maxsize=1)
def _encoder(run: Path, device: str, model: str) -> Autoencoder:
    """The model of a run, once per process and checksum."""
    del model
    return read_model(Run(run), pick_device(device))


def _halves(encoder: Autoencoder, images: Tensor) -> dict[str, Tensor]:
    """Means and log-variances in half precision, on the CPU."""
    means, spread = encoder.posterior(images)
    assert spread is not None  # the encoder of a run has both
    return {"means": _half(means), "log_variances": _half(spread)}


def _half(rows: Tensor) -> Tensor:
    return rows.clamp(-LARGEST, LARGEST).half().cpu()
