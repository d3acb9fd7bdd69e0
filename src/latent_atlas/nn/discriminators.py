"""D_x, which judges images, and D_z, which judges codes. Neither has batch statistics in it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latent_atlas.nn.blocks import Down, ResidualBlock, resolutions, stage_widths
from latent_atlas.shapes import Images, Latents, Values

__all__ = ["ImageDiscriminator", "LatentDiscriminator"]


class ImageDiscriminator(nn.Module):
    """D_x: the logit of an image being real (1) and not the decoder's work (0)."""

    def __init__(self, image_size: int, channels: int, *, width: int, depth: int, spectral: bool = False) -> None:
        """Arguments: as for `Encoder`; spectral, whether every weight is divided by its largest singular value."""
        super().__init__()
        sides = resolutions(image_size)
        widths = stage_widths(width, len(sides))
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.stages = nn.ModuleList()
        for stage, w in enumerate(widths):
            layers: list[nn.Module] = [
                ResidualBlock(w, normalise=False, start_as_identity=not spectral) for _ in range(depth)
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
        """The feature maps after each resolution, from fine to coarse."""
        hidden = self.stem(2 * images - 1)
        maps = []
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        return maps

    def forward(self, images: Images) -> Values:
        """Logits, shape (n,), of images (n, c, h, w) in [0, 1]."""
        return self.head(F.silu(self.features(images)[-1]).flatten(1)).squeeze(1)


class _LatentBlock(nn.Module):
    """A residual block on vectors, shifted and scaled by the noise level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.level = nn.Linear(width, 2 * width)
        self.linear1 = nn.Linear(width, width)
        self.linear2 = nn.Linear(width, width)
        nn.init.zeros_(self.linear2.weight)
        nn.init.zeros_(self.linear2.bias)

    def forward(self, hidden: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.level(level).chunk(2, dim=1)
        update = self.norm(hidden) * (1 + scale) + shift
        return hidden + self.linear2(F.silu(self.linear1(F.silu(update))))


class LatentDiscriminator(nn.Module):
    """D_z: the logit of a code being real (1, of the population) and not fake (0, of the boundary).

    The noise level of z_t = cos(t) z + sin(t) eps enters as the angle t in [0, π/2]; t = 0 is no noise.
    """

    FREQUENCIES = 8

    def __init__(self, latent_dim: int, *, width: int, depth: int) -> None:
        """Arguments: latent_dim d; width and depth as in `MapConfig`."""
        super().__init__()
        self.stem = nn.Linear(latent_dim, width)
        self.level = nn.Sequential(nn.Linear(2 * self.FREQUENCIES, width), nn.SiLU())
        self.blocks = nn.ModuleList(_LatentBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(self, latents: Latents, angles: Values | None = None) -> Values:
        """Logits, shape (n,), of codes (n, d) at noise angles (n,) in radians; without them, at t = 0."""
        if angles is None:
            angles = latents.new_zeros(latents.shape[0])
        multiples = torch.arange(self.FREQUENCIES, device=latents.device, dtype=latents.dtype)
        phases = angles[:, None] * 2**multiples * (2 / math.pi)
        level = self.level(torch.cat([phases.sin(), phases.cos()], dim=1))
        hidden = self.stem(latents)
        for block in self.blocks:
            hidden = block(hidden, level)
        return self.head(F.silu(self.norm(hidden))).squeeze(1)
