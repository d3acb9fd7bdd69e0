"""The image discriminator D_x, without batch statistics."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latent_atlas.config.model import resolutions
from latent_atlas.nn.blocks import Down, ResidualBlock, patches_of, stage_widths
from latent_atlas.shapes import Images, Values

__all__ = ["ImageDiscriminator"]


class ImageDiscriminator(nn.Module):
    """D_x: the logit of an image being real (1) and not decoded (0)."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        width: int,
        depth: int,
        spectral: bool = False,
        patch_size: int = 1,
    ) -> None:
        """Arguments: as in `Encoder`; spectral, whether to divide weights by their norm."""
        super().__init__()
        sides = resolutions(image_size, patch_size)
        self.patch_size = patch_size
        widths = stage_widths(width, len(sides))
        self.stem = nn.Conv2d(channels * patch_size**2, widths[0], 3, padding=1)
        self.stages = nn.ModuleList()
        for stage, w in enumerate(widths):
            layers: list[nn.Module] = [
                ResidualBlock(w, normalise=False, start_as_identity=not spectral)
                for _ in range(depth)
            ]
            if stage + 1 < len(widths):
                layers.append(Down(w, widths[stage + 1]))
            self.stages.append(nn.Sequential(*layers))
        self.head = nn.Linear(widths[-1] * sides[-1] ** 2, 1)
        if spectral:
            for module in list(self.modules()):
                if isinstance(module, nn.Conv2d | nn.Linear):
                    spectral_norm(module)

    def features(self, images: Images) -> list[Tensor]:
        """Feature maps at each resolution, from fine to coarse."""
        hidden = self.stem(patches_of(2 * images - 1, self.patch_size))
        maps = []
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        return maps

    def logits(self, maps: list[Tensor]) -> Values:
        """Logits, shape (n,), of images with these feature maps."""
        return self.head(F.silu(maps[-1]).flatten(1)).squeeze(1)

    def forward(self, images: Images) -> Values:
        """Logits, shape (n,), of images (n, c, h, w) in [0, 1]."""
        return self.logits(self.features(images))
