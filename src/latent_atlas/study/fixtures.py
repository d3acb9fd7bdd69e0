"""What all cells of a study share: the images, the feature extractor, and outlier images."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.config.data import DataConfig
from latent_atlas.config.run import Config
from latent_atlas.data.imageset import ImageSet
from latent_atlas.data.load import load_images
from latent_atlas.data.named import is_on_disk
from latent_atlas.errors import UserError
from latent_atlas.evaluation.features.base import Extractor, as_bytes
from latent_atlas.evaluation.features.registry import extractor_for
from latent_atlas.shapes import ByteImages, Images, to_float
from latent_atlas.study.results import StudyResults

__all__ = [
    "CORRUPTIONS",
    "FeatureRows",
    "SharedData",
    "corrupted",
    "load_shared_data",
    "other_source",
    "outlier_images",
]

REFERENCE = 10_000  # real images at most that samples are compared with
ENOUGH = 2_000  # with as many held-out images, the reference leaves out the training images
OUTLIERS = 1_000  # outlier images of each kind at most

CORRUPTIONS = ("noise", "blur", "quarter turn")
NOISE = 0.2  # standard deviation, where white is 1
OTHERS = ("fashion-mnist", "mnist", "faces", "digits")
SIMILAR = ({"digits", "mnist"},)
"""Image sets with the same content: the images of one are no outliers of the other."""

FeatureRows = Float[np.ndarray, "_ f"]


@dataclass(frozen=True)
class SharedData:
    """What all cells share.

    Attributes:
        images: The image set.
        outliers: Outlier images by kind, shape (n, c, h, w) each.
        extractor: The feature extractor of Fréchet distances.
        features_note: Name of the extractor and size of the reference, to print beside distances.
        reference: Features of real images.
    """

    images: ImageSet
    outliers: dict[str, Tensor]
    extractor: Extractor
    features_note: str
    reference: FeatureRows

    def features(self, images: Images) -> FeatureRows:
        """Features of images in [0, 1], shape (n, f)."""
        return self.extractor.features(as_bytes(images)).double().numpy()


def corrupted(images: ByteImages, kind: str, *, generator: torch.Generator) -> ByteImages:
    """Corrupt images by pixel noise, a blur over a quarter of the side, or a quarter turn.

    Arguments:
        images: Shape (n, c, h, w), square.
        kind: One of `CORRUPTIONS`.
        generator: Source of the noise, on the CPU.
    """
    floats = to_float(images)
    if kind == "noise":
        spoilt = floats + NOISE * torch.randn(floats.shape, generator=generator)
    elif kind == "blur":
        width = max(3, images.shape[-1] // 4 | 1)
        spoilt = F.avg_pool2d(floats, width, stride=1, padding=width // 2, count_include_pad=False)
    else:
        spoilt = floats.rot90(1, (2, 3))
    return as_bytes(spoilt)


def other_source(source: str) -> str:
    """The first named set on this machine with other content than this source."""
    kin = {source}.union(*(names for names in SIMILAR if source in names))
    return next(name for name in OTHERS if name not in kin and is_on_disk(name))


def outlier_images(images: ImageSet, config: Config, other: str) -> dict[str, Tensor]:
    """Corruptions of held-out images, and images of another set at the same size."""
    generator = torch.Generator().manual_seed(config.train.seed)
    held_out = images.test.images[:OUTLIERS]
    outliers = {kind: corrupted(held_out, kind, generator=generator) for kind in CORRUPTIONS}
    strange = load_images(
        DataConfig(source=other, limit=OUTLIERS), config.model.image_size, config.model.channels
    )
    return outliers | {other: strange.images[:]}


@lru_cache(maxsize=1)
def load_shared_data(folder: Path) -> SharedData:
    """The shared data of a study; the same in every process.

    Raises:
        UserError: the images are no longer those that the study began with.
    """
    design = StudyResults(folder).design()
    config = design.config
    images = load_images(config.data, config.model.image_size, config.model.channels)
    if images.manifest()["digest"] != design.digest:
        raise UserError(
            f"the images of '{config.data.source}' are not those the study began with; "
            "restore them or choose another --out"
        )
    generator = torch.Generator().manual_seed(config.train.seed)
    extractor = extractor_for(images, design.extractor, generator=generator)
    held_out = images.test.images[:]
    enough = len(held_out) >= ENOUGH
    reference = (
        extractor.features((held_out if enough else images.images[:])[:REFERENCE]).double().numpy()
    )
    features_note = (
        f"{extractor.name}, against {len(reference):,} {'held-out' if enough else 'real'} images"
    )
    return SharedData(
        images, outlier_images(images, config, design.other), extractor, features_note, reference
    )
