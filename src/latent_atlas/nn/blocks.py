"""Building blocks of encoder, decoder and image discriminator."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ChannelNorm", "Down", "ResidualBlock", "Up", "patches_of", "pixels_of", "stage_widths"]


def stage_widths(width: int, stages: int) -> list[int]:
    """Channels at each resolution: doubled at each halving, up to four times `width`.

    Examples:
        >>> stage_widths(32, 4)
        [32, 64, 128, 128]
    """
    return [width * min(2**stage, 4) for stage in range(stages)]


def patches_of(images: Tensor, size: int) -> Tensor:
    """Patches as places: (n, c, s, s) to (n, c · size², k, k), k = ⌈s / size⌉; edges are repeated.

    References:
        Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
        Neural Network, Shi et al. 2016.
    """
    beyond = -images.shape[-1] % size
    if beyond:
        images = F.pad(images, (0, beyond, 0, beyond), mode="replicate")
    return F.pixel_unshuffle(images, size)


def pixels_of(patches: Tensor, size: int, side: int) -> Tensor:
    """The inverse of `patches_of`, for images of `side` pixels."""
    return F.pixel_shuffle(patches, size)[:, :, :side, :side]


class ChannelNorm(nn.Module):
    """Normalise each pixel's channels to mean 0 and variance 1: (n, c, h, w) to the same shape.

    Unlike GroupNorm it needs no statistics over space: it is one kernel in eager mode, and is fused
    if compiled.

    References:
        Layer Normalization, Ba et al. 2016. Over channels: A ConvNet for the 2020s, Liu et al.
        2022.
    """

    def __init__(self, channels: int) -> None:
        """Arguments: channels, the c of the input."""
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(x - mean(x)) / std(x) · gain, in float32: bfloat16 takes thrice as long."""
        rows = features.permute(0, 2, 3, 1)  # a view, and contiguous, where channels run last
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        normal = F.layer_norm(rows, self.gain.shape, self.gain, eps=1e-6)
        return normal.to(features.dtype).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, channels: int, *, normalise: bool, start_as_identity: bool = True) -> None:
        """Arguments.

        channels: in and out;
        normalise: whether to use `ChannelNorm` (discriminators do not);
        start_as_identity: whether the last convolution starts at zero, not with spectral norm.
        """
        super().__init__()
        self.norm1 = ChannelNorm(channels) if normalise else nn.Identity()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = ChannelNorm(channels) if normalise else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        if start_as_identity:
            nn.init.zeros_(self.conv2.weight)
            nn.init.zeros_(self.conv2.bias)  # pyright: ignore[reportArgumentType] - it has a bias

    def forward(self, features: Tensor) -> Tensor:
        """(n, c, h, w) to the same shape."""
        hidden = self.conv1(F.silu(self.norm1(features)))
        return features + self.conv2(F.silu(self.norm2(hidden)))


class Down(nn.Module):
    """Halve the side, rounding up, and change the channels."""

    def __init__(self, channels: int, out_channels: int) -> None:
        """Arguments: channels in and out."""
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(n, c, h, w) to (n, out_channels, ceil(h / 2), ceil(w / 2))."""
        return self.conv(features)


class Up(nn.Module):
    """Enlarge to a given side by nearest neighbours, and change the channels."""

    def __init__(self, channels: int, out_channels: int, side: int) -> None:
        """Arguments: channels in and out; side in pixels of the output."""
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(n, c, h, w) to (n, out_channels, side, side)."""
        return self.conv(F.interpolate(features, size=(self.side, self.side), mode="nearest"))
