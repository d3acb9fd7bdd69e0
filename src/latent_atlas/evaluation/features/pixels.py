"""Pixels as features: no labels, weights or packages are needed."""

import torch
import torch.nn.functional as F

from latent_atlas.evaluation.features.base import Extractor, Features
from latent_atlas.shapes import ByteImages, to_float

__all__ = ["Pixels"]


class Pixels(Extractor):
    """Mean of each channel in the cells of a grid, in [0, 1]."""

    def __init__(self, cells: int = 8) -> None:
        """Arguments: cells along each side, 1 or more; 8 with three channels are 192 features."""
        self.cells = cells
        self.name = f"means of pixels in a grid of {cells} x {cells}"

    @torch.no_grad()
    def features(self, images: ByteImages) -> Features:
        """The means, cell by cell, shape (n, c · cells²).

        Examples:
            >>> Pixels(1).features(torch.full((1, 1, 4, 4), 51, dtype=torch.uint8))
            tensor([[0.2000]])
        """
        return F.adaptive_avg_pool2d(to_float(images.cpu()), self.cells).flatten(1)
