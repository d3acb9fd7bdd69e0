"""The encoder E and the decoder G, also of codes that another network makes."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.config.model import ModelConfig, resolutions
from latent_atlas.nn.blocks import (
    ChannelNorm,
    Down,
    ResidualBlock,
    Up,
    patches_of,
    pixels_of,
    stage_widths,
)
from latent_atlas.shapes import Images, Latents

__all__ = ["CodeDecoder", "Decoder", "Encoder", "FrozenEncoder"]

LOG_VARIANCE_RANGE = (-14.0, 4.0)  # beyond it exp(log_variance) overflows in bf16
FIRST_LOG_VARIANCE = -2.0  # of given codes, whose coordinates have variance 1


class Encoder(nn.Module):
    """q(z|x) = N(mu(x), sigma(x)²): images to the means and log-variances of their codes."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        shape: tuple[int, ...],
        *,
        width: int,
        depth: int,
        patch_size: int = 1,
    ) -> None:
        """Arguments.

        image_size in pixels; channels, 1 to 4;
        shape: of a code, (d,), or (c, h, w) with h = w one of `resolutions`;
        width, depth, patch_size: as in `ModelConfig`.
        """
        super().__init__()
        sides = _sides(image_size, patch_size, shape)
        widths = stage_widths(width, len(sides))
        self.patch_size = patch_size
        first = nn.Conv2d(channels * patch_size**2, widths[0], 3, padding=1)
        stages = _stages(widths, depth, lambda i: Down(widths[i - 1], widths[i]))
        last = nn.Flatten() if len(shape) == 1 else nn.Identity()
        self.body = nn.Sequential(first, *stages, ChannelNorm(widths[-1]), nn.SiLU(), last)
        self.head = (
            nn.Linear(widths[-1] * sides[-1] ** 2, 2 * shape[0])
            if len(shape) == 1
            else nn.Conv2d(widths[-1], 2 * shape[0], 3, padding=1)
        )

    def forward(self, images: Images) -> tuple[Latents, Latents]:
        """Return means and log-variances, (n, d) each, for images (n, c, h, w) in [0, 1]."""
        patches = patches_of(2 * images - 1, self.patch_size)
        moments = self.head(self.body(patches)).flatten(1)
        means, log_variances = moments.chunk(2, dim=1)
        return means, log_variances.clamp(*LOG_VARIANCE_RANGE)


class FrozenEncoder(nn.Module):
    """q(z|x) = N(mu, sigma²) with given means, and a sigma for each coordinate that is learned.

    G then trains with noise: the KL term widens it where G gains little from a coordinate, so that
    G learns few codes by heart.
    """

    def __init__(self, dimension: int) -> None:
        """Arguments: dimension, d."""
        super().__init__()
        self.log_variances = nn.Parameter(torch.full((dimension,), FIRST_LOG_VARIANCE))

    def forward(self, means: Latents) -> tuple[Latents, Latents]:
        """Return the means (n, d) as they are, and log-variances (n, d)."""
        return means, self.log_variances.clamp(*LOG_VARIANCE_RANGE).expand_as(means)


class Decoder(nn.Module):
    """G(z): codes to images in [0, 1]."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        shape: tuple[int, ...],
        *,
        width: int,
        depth: int,
        patch_size: int = 1,
    ) -> None:
        """Arguments: as for `Encoder`."""
        super().__init__()
        sides = _sides(image_size, patch_size, shape)[::-1]
        self.patches = (patch_size, image_size)
        widths = stage_widths(width, len(sides))[::-1]
        self.latent_shape = shape
        self.shape = (widths[0], sides[0], sides[0])
        self.stem = (
            nn.Linear(shape[0], math.prod(self.shape))
            if len(shape) == 1
            else nn.Conv2d(shape[0], widths[0], 3, padding=1)
        )
        stages = _stages(widths, depth, lambda i: Up(widths[i - 1], widths[i], sides[i]))
        self.body = nn.Sequential(*stages, ChannelNorm(widths[-1]))
        self.last = nn.Conv2d(widths[-1], channels * patch_size**2, 3, padding=1)
        with torch.no_grad():  # the pixels of a patch begin equal
            for weight in self.last.parameters():
                weight.copy_(weight[:: patch_size**2].repeat_interleave(patch_size**2, dim=0))

    def forward(self, latents: Latents) -> Images:
        """Images (n, c, h, w) in [0, 1] of codes (n, d)."""
        stem = self.stem(latents.unflatten(1, self.latent_shape))
        hidden = self.body(stem.reshape(-1, *self.shape))
        pixels = pixels_of(self.last(F.silu(hidden)), *self.patches)
        return torch.sigmoid(pixels.float())  # bf16 would step by 1/256 near white


class CodeDecoder(nn.Module):
    """G((z - m) A): images of codes that another network makes, by their principal coordinates."""

    def __init__(self, config: ModelConfig, dimension: int) -> None:
        """Arguments: the sizes of G, of which `latent_dim` is k; the dimension d of the codes."""
        super().__init__()
        size = {"width": config.width, "depth": config.depth, "patch_size": config.patch_size}
        self.decoder = Decoder(config.image_size, config.channels, (config.latent_dim,), **size)
        self.mean = nn.Buffer(torch.zeros(dimension))
        self.axes = nn.Buffer(torch.zeros(dimension, config.latent_dim))

    def coordinates(self, codes: Latents) -> Float[Tensor, "n k"]:
        """(z - m) A, shape (n, k)."""
        return (codes - self.mean) @ self.axes

    def forward(self, codes: Latents) -> Images:
        """Images (n, c, h, w) in [0, 1] of codes (n, d)."""
        return self.decoder(self.coordinates(codes))


def _stages(
    widths: Sequence[int], depth: int, to_stage: Callable[[int], nn.Module]
) -> list[nn.Module]:
    """Residual blocks of each width, `depth` of them, and before each stage i > 0 `to_stage(i)`."""
    layers: list[nn.Module] = []
    for stage, width in enumerate(widths):
        layers += [to_stage(stage)] if stage else []
        layers += [ResidualBlock(width, normalise=True) for _ in range(depth)]
    return layers


def _sides(image_size: int, patch_size: int, shape: tuple[int, ...]) -> list[int]:
    """Sides of the feature maps, down to that of a spatial code."""
    sides = resolutions(image_size, patch_size)
    return [side for side in sides if len(shape) == 1 or side >= shape[-1]]
