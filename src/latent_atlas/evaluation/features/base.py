"""Feature extractors: images to features, with a name to print beside numbers."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.shapes import ByteImages, Images, to_float

__all__ = ["BATCH", "Extractor", "Features", "as_bytes", "as_rgb", "resized"]

Features = Float[Tensor, "n f"]
BATCH = 256  # images at a time


class Extractor(ABC):
    """Images to features.

    Attributes:
        name: The features in words, printed beside every number computed from them.
    """

    name: str

    @abstractmethod
    def features(self, images: ByteImages) -> Features:
        """Features of images (n, c, h, w) in 0..255, shape (n, f), as float32 on the CPU."""


def as_bytes(images: Images) -> ByteImages:
    """Images in [0, 1] as bytes: real and decoded images are compared at the same 256 levels."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def as_rgb(images: Tensor) -> Tensor:
    """Three channels of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha); alpha is dropped.

    Examples:
        >>> as_rgb(torch.zeros(5, 2, 8, 8)).shape
        torch.Size([5, 3, 8, 8])
    """
    colours = images[:, :1] if images.shape[1] < 3 else images[:, :3]
    return colours.expand(-1, 3, -1, -1)


def resized(images: Tensor, side: int) -> Tensor:
    """Images as float in [0, 1], brought to side x side pixels with antialiasing."""
    pixels = to_float(images)
    if pixels.shape[-2:] == (side, side):
        return pixels
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
