"""Do an atlas's samples copy its training images? In pixels, and with the pairs to look at."""

import numpy as np
import torch
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.evaluation.memorisation import Memorisation, memorisation
from latent_atlas.shapes import ByteImages

__all__ = ["nearest_pairs", "sample_and_compare"]

MOST = 2_000  # held-out images compared, which is enough for their nearest 1 %


def sample_and_compare(
    atlas: Atlas, train: ByteImages, count: int, *, generator: torch.Generator
) -> tuple[Memorisation, Tensor]:
    """Draw images and compare them with the training images, beside reconstructions of held-out images.

    Arguments:
        atlas: With a model.
        train: What it has learned from.
        count: How many images to draw.
        generator: Source of the draws.

    Returns:
        The comparison, by Euclidean distances of pixels in [0, 1], and the images drawn, (count, c, h, w).
    """
    samples = atlas.sample(count, generator=generator).cpu()
    rebuilt = atlas.decode(atlas.codes["held_out"].means[:MOST])
    return memorisation(_rows(samples), _rows(train), _rows(rebuilt)), samples


def nearest_pairs(
    found: Memorisation, samples: Tensor, train: Tensor, count: int = 16
) -> dict[str, Tensor]:
    """The samples nearest to a training image, in [0, 1], and that image of the training images, given as bytes."""
    first = torch.from_numpy(found.nearest.argsort(kind="stable")[:count])
    neighbours = torch.from_numpy(found.neighbours)[first]
    return {"sample": samples[first], "nearest training image": train[neighbours].float() / 255}


def _rows(images: Tensor) -> np.ndarray:
    """Pixels in [0, 1], one image per row."""
    scale = 255 if images.dtype == torch.uint8 else 1
    return (images.flatten(1).float() / scale).cpu().numpy()
