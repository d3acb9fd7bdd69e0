"""What every cell of a study shares: the images, the features that judge, and images that should look odd."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.config import Config, DataConfig
from latent_atlas.data import ImageSet, load_images
from latent_atlas.data.load import open_source
from latent_atlas.errors import UserError
from latent_atlas.features import train_classifier
from latent_atlas.shapes import ByteImages, Images
from latent_atlas.study.ledger import Ledger

__all__ = ["CORRUPTIONS", "Material", "as_bytes", "corrupted", "material_of", "odd_images", "other_source"]

REFERENCE = 10_000  # real images that samples are compared with
ENOUGH = 2_000  # held-out images from which on these alone are the reference
ODD = 1_000  # images of each odd kind, at most
CLASSIFIED = 10_000  # images that the judging classifier learns from
STEPS = 400  # of that, or three passes if these are more
COARSE = 8  # side of the pixels that judge where there are no classes

CORRUPTIONS = ("noise", "blur", "quarter turn")
OTHERS = ("fashion-mnist", "mnist", "faces")
SIMILAR = ({"digits", "mnist"},)
"""Sets of the same things: none of them is odd beside the other."""

FeatureRows = Float[np.ndarray, "_ f"]


@dataclass(frozen=True)
class Material:
    """What cells share.

    Attributes:
        images: The collection.
        odd: Images that should look odd by kind, each of shape (n, c, h, w).
        judge: What the features are, to print beside their distances.
        reference: Features of real images.
    """

    images: ImageSet
    odd: dict[str, Tensor]
    judge: str
    reference: FeatureRows
    _network: nn.Module | None

    def features(self, images: Images) -> FeatureRows:
        """Of images in [0, 1], shape (n, f)."""
        return _features(self._network, as_bytes(images))


def as_bytes(images: Images) -> ByteImages:
    """Images as a file would hold them, so that decoded and real ones are judged alike."""
    return (images.detach().cpu() * 255).round().clamp(0, 255).byte()


def corrupted(images: ByteImages, kind: str, *, generator: torch.Generator) -> ByteImages:
    """Images spoilt in one of `CORRUPTIONS`: pixel noise of deviation 0.2, a blur over a quarter of the side, a turn.

    Arguments:
        images: Shape (n, c, h, w), square.
        kind: Which.
        generator: Of the noise, on the CPU.
    """
    floats = images.float() / 255
    if kind == "noise":
        spoilt = floats + 0.2 * torch.randn(floats.shape, generator=generator)
    elif kind == "blur":
        width = max(3, images.shape[-1] // 4 | 1)
        spoilt = F.avg_pool2d(floats, width, stride=1, padding=width // 2, count_include_pad=False)
    else:
        spoilt = floats.rot90(1, (2, 3))
    return as_bytes(spoilt.clamp(0, 1))


def other_source(source: str) -> str:
    """The first named set that can be had and shows something else than this one."""
    kin = {source}.union(*(names for names in SIMILAR if source in names))
    for name in OTHERS:
        try:
            if name not in kin:
                open_source(name).close()
                return name
        except UserError:
            continue
    return "digits"


def odd_images(images: ImageSet, config: Config, other: str) -> dict[str, Tensor]:
    """Corruptions of held-out images, and images of another set at the same size."""
    generator = torch.Generator().manual_seed(config.train.seed)
    held_out = images.test.images[:ODD]
    odd = {kind: corrupted(held_out, kind, generator=generator) for kind in CORRUPTIONS}
    strange = load_images(DataConfig(source=other, limit=ODD), config.model.image_size, config.model.channels)
    return odd | {other: strange.images}


@lru_cache(maxsize=1)
def material_of(folder: Path) -> Material:
    """The material of a study; the same in every process.

    Raises:
        UserError: the images are no longer those that the study began with.
    """
    design = Ledger(folder).design()
    config = design.config
    images = load_images(config.data, config.model.image_size, config.model.channels)
    if images.manifest()["digest"] != design.digest:
        raise UserError(
            f"the images of '{config.data.source}' are not those the study began with; restore them or choose "
            "another --out"
        )
    network, judge = _judge(images, config.train.seed)
    held_out = images.test.images
    real = held_out if len(held_out) >= ENOUGH else images.images
    reference = _features(network, real[:REFERENCE])
    judge = f"{judge}, against {len(reference):,} {'held-out' if real is held_out else 'real'} images"
    return Material(images, odd_images(images, config, design.other), judge, reference, network)


def _judge(images: ImageSet, seed: int) -> tuple[nn.Module | None, str]:
    """A classifier of the collection's classes and what to call it; without classes None, for coarse pixels."""
    train, test = images.train, images.test
    if train.labels is None or test.labels is None or train.labels.min() < 0 or len(train.labels.unique()) < 2:
        return None, f"pixels averaged to {COARSE} x {COARSE}"
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(train), generator=generator)[:CLASSIFIED]
    epochs = max(3, STEPS * 128 // len(rows))
    held_out = (test.images[:CLASSIFIED], test.labels[:CLASSIFIED])
    judge = train_classifier(train.images[rows], train.labels[rows], held_out, epochs=epochs, generator=generator)
    return judge.network[:-1], judge.name


@torch.no_grad()
def _features(network: nn.Module | None, images: ByteImages) -> FeatureRows:
    """The classifier's last hidden layer, or coarse pixels."""
    parts = [part.float() / 255 for part in images.split(512)]
    if network is None:
        seen = [F.adaptive_avg_pool2d(part, COARSE).flatten(1) for part in parts]
    else:
        seen = [network(part) for part in parts]
    return torch.cat(seen).double().numpy()
