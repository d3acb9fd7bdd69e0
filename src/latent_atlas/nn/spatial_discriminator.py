"""D_z of spatial codes (c, h, w): a Gaussian field in closed form, the rest by convolutions."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.nn.blocks import ChannelNorm, Down, stage_widths
from latent_atlas.nn.latent_discriminator import (
    FOURIER,
    LEVEL_WIDTH,
    SHORTEST,
    LatentBlock,
    LatentDiscriminator,
    level_embedding,
    waves_of,
)
from latent_atlas.shapes import Angles, Latents, Values

__all__ = ["Discriminator", "GaussianField", "SpatialDiscriminator", "is_spatial"]

SIDE = 4  # pixels from which a map is spatial, and to which it is halved
CHANNELS = 4  # hidden maps at full resolution are a quarter as many as hidden units
# Coefficients of low frequencies with a full covariance, and images at least for each of them.
LOW, PER_COEFFICIENT = 256, 8
LEAST_VARIANCE = 1e-6  # as a share of the largest


def is_spatial(shape: tuple[int, ...]) -> bool:
    """Whether codes are maps (c, h, w), h and w 4 or more.

    Examples:
        >>> is_spatial((4, 8, 8)), is_spatial((256,)), is_spatial((77, 768))
        (True, False, False)
    """
    return len(shape) == 3 and min(shape[1:]) >= SIDE


class GaussianField(nn.Module):
    r"""N(m, C) of maps (c, h, w), with C measured on the coefficients of a cosine transform.

    The k x k lowest frequencies of all channels have a full covariance. At each other frequency the
    c channels have one, and frequencies are independent, as in a field whose law is the same
    everywhere. Where all frequencies are low, C is any covariance: so it is in maps of up to 256
    coordinates, if there are codes enough.
    """

    mean: Tensor
    basis: Tensor
    channels: Tensor
    variances: Tensor
    order: Tensor
    back: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, shape: tuple[int, ...], low: int) -> None:
        """Arguments: (c, h, w); k, 1 or more. It is N(0, I) until `fit`."""
        super().__init__()
        self.shape, self.low = shape, low
        c, h, w = shape
        is_low = torch.zeros(h, w, dtype=torch.bool)
        is_low[:low, :low] = True
        numbers = torch.arange(c * h * w).view(c, h * w)
        first = numbers[:, is_low.flatten()].flatten()
        others = numbers[:, ~is_low.flatten()].T  # (frequencies, c)
        order = torch.cat([first, others.flatten()])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)
        self.register_buffer("rows", _cosines(h), persistent=False)
        self.register_buffer("columns", _cosines(w), persistent=False)
        self.register_buffer("mean", torch.zeros(c * h * w))
        self.register_buffer("basis", torch.eye(len(first)))
        self.register_buffer("channels", torch.eye(c).repeat(len(others), 1, 1))
        self.register_buffer("variances", torch.ones(c * h * w))

    @classmethod
    @torch.no_grad()
    def fit(cls, latents: Latents, shape: tuple[int, ...], images: int) -> "GaussianField":
        """The field with the moments of codes (n, d) that were drawn from those of some images.

        k is as large as 256 coefficients and 8 images for each of them allow.
        """
        c, h, w = shape
        most = min(LOW, images // PER_COEFFICIENT)
        counts = {k: c * min(k, h) * min(k, w) for k in range(1, max(h, w) + 1)}
        k = max(k for k, count in counts.items() if k == 1 or count <= most)
        field = cls(shape, k).to(latents.device)
        field.mean.copy_(latents.double().mean(dim=0))
        coefficients, m = field._coefficients(latents - field.mean), len(field.basis)
        high = coefficients[:, m:].unflatten(1, field.channels.shape[:2])
        found = []
        for values, basis in (
            (coefficients[:, None, :m], field.basis[None]),
            (high, field.channels),
        ):
            covariance = torch.einsum("nfc,nfe->fce", values, values).double() / len(values)
            variances, vectors = torch.linalg.eigh(covariance)
            basis.copy_(vectors)
            found.append(variances.flatten())
        variances = torch.cat(found)
        field.variances.copy_(variances.clamp_min(LEAST_VARIANCE * variances.max().item()))
        return field

    def forward(self, latents: Latents, angles: Angles) -> tuple[Latents, Values]:
        """y = C_t^(-1/2) (z - m_t) and log N(z; m_t, C_t) - log N(z; 0, I), of codes (n, d).

        m_t = cos(t) m and C_t = cos²(t) C + sin²(t) I at angles t, shape (n,) or (1,).
        """
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        variances = cos.square() * self.variances + sin.square()
        coefficients = self._coefficients(latents - cos * self.mean)
        whitened = self._turned(coefficients, self.basis, self.channels) * variances.rsqrt()
        ratio = 0.5 * (latents.square() - whitened.square() - variances.log()).sum(dim=1)
        spectrum = self._turned(whitened, self.basis.mT, self.channels.mT)[:, self.back]
        return (self.rows.T @ spectrum.unflatten(1, self.shape) @ self.columns).flatten(1), ratio

    def _coefficients(self, latents: Latents) -> Latents:
        """Those of the low frequencies, then those of the others, c by c; shape (n, d)."""
        spectrum = self.rows @ latents.unflatten(1, self.shape) @ self.columns.T
        return spectrum.flatten(1)[:, self.order]

    def _turned(self, coefficients: Latents, basis: Tensor, channels: Tensor) -> Latents:
        """The low frequencies times `basis`, the channels at each other one times `channels`."""
        m = len(basis)
        low = coefficients[:, :m] @ basis
        if not len(channels):
            return low
        high = coefficients[:, m:].unflatten(1, channels.shape[:2])
        return torch.cat([low, torch.einsum("nfc,fce->nfe", high, channels).flatten(1)], dim=1)


class SpatialDiscriminator(nn.Module):
    r"""D_z of maps (c, h, w), given as rows: a U-Net in place of a plain network.

        l(z, t) = g(z, t) + cos(t) (a(h) + <b(h), y>),    h = h(y, z, sin ωy, cos ωy, log |y|, t)

    as in `LatentDiscriminator`, where g is the log-ratio of a `GaussianField` and y is whitened by
    it. Maps are halved down to a side of 4 or less. There, vectors see the whole map at once, and
    give the scalar a; b is a map (c, h, w), found on the way back to full resolution.

    References:
        U-Net: Convolutional Networks for Biomedical Image Segmentation, Ronneberger et al. 2015.
    """

    reference: Tensor

    def __init__(self, field: GaussianField, *, width: int, depth: int) -> None:
        """Arguments: the field of the codes; width and depth as in `MapConfig`.

        Those are of the vectors; at full resolution there are width / 4 maps, at least 8, and twice
        and four times as many at lower ones.
        """
        super().__init__()
        self.field = field
        c, *side = field.shape
        self.sides = [side]
        while max(self.sides[-1]) > SIDE:
            self.sides.append([(one + 1) // 2 for one in self.sides[-1]])
        channels = stage_widths(max(8, width // CHANNELS), len(self.sides))
        coarsest = channels[-1] * math.prod(self.sides[-1])
        self.stem = nn.Conv2d((2 + 2 * len(FOURIER)) * c + 1, channels[0], 3, padding=1)
        with torch.no_grad():  # start smooth, as the plain network does
            self.stem.weight[:, 2 * c + 1 :] *= 0.3
        self.place = nn.Parameter(torch.zeros(channels[0], *side))  # codes depend on the place
        self.level = level_embedding()
        self.down = nn.ModuleList(Down(fine, coarse) for fine, coarse in pairwise(channels))
        self.flat = nn.Linear(coarsest, width)
        self.blocks = nn.ModuleList(LatentBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.scalar = nn.Linear(width, 1)
        self.wide = nn.Linear(width, coarsest)
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(channels))
        self.maps = nn.ModuleList(_MapBlock(one) for one in channels)
        self.last = ChannelNorm(channels[0])
        self.head = nn.Conv2d(channels[0], c, 3, padding=1)
        for weight in (*self.scalar.parameters(), *self.head.parameters()):
            nn.init.zeros_(weight)
        self.register_buffer("reference", torch.zeros(()))

    @torch.no_grad()
    def lower(self, nats: float) -> None:
        """As `LatentDiscriminator.lower`."""
        self.scalar.bias.sub_(nats)

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """Logits, shape (n,), of codes (n, d) at noise angles (n,) or (1,); None is 0."""
        if angles is None:
            angles = latents.new_zeros(1)
        y, gaussian = self.field(latents, angles)
        a, b = self.learned(y, latents, angles)
        return self.reference * gaussian + angles.cos() * (a + (b * y).sum(dim=1))

    def learned(self, y: Latents, latents: Latents, angles: Angles) -> tuple[Values, Latents]:
        """a (n,) and b (n, d)."""
        maps, z = (some.unflatten(1, self.field.shape) for some in (y, latents))
        length = 0.5 * (maps.square().mean(dim=(1, 2, 3), keepdim=True) + SHORTEST).log()
        waves = [f(omega * maps) for omega in FOURIER for f in (torch.sin, torch.cos)]
        given = torch.cat([maps, z, length.expand_as(maps[:, :1]), *waves], dim=1)
        level = self.level(waves_of(angles))
        finer = [self.stem(given) + self.place]
        for down in self.down:
            finer.append(down(F.silu(finer[-1])))
        vector = self.flat(F.silu(finer[-1]).flatten(1))
        for block in self.blocks:
            vector = block(vector, level)
        vector = F.silu(self.norm(vector))
        hidden = self.maps[-1](finer[-1] + self.wide(vector).view_as(finer[-1]), level)
        for i in reversed(range(len(self.up))):
            enlarged = F.interpolate(self.up[i](hidden), size=self.sides[i], mode="nearest")
            hidden = self.maps[i](finer[i] + enlarged, level)
        return self.scalar(vector).squeeze(1), self.head(F.silu(self.last(hidden))).flatten(1)

    def at(self, angle: Angles) -> Callable[[Latents], tuple[Values, Latents]]:
        """As `LatentDiscriminator.at`."""

        def function(latents: Latents) -> tuple[Values, Latents]:
            with torch.enable_grad():
                z = latents.detach().requires_grad_()
                logits = self(z, angle)
                (slope,) = torch.autograd.grad(logits.sum(), z)
            return logits.detach(), slope

        return function


Discriminator = LatentDiscriminator | SpatialDiscriminator


class _MapBlock(nn.Module):
    """A residual block on maps, shifted and scaled by the noise level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.level = nn.Linear(LEVEL_WIDTH, 2 * channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for weight in self.conv2.parameters():
            nn.init.zeros_(weight)

    def forward(self, hidden: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.level(level)[:, :, None, None].chunk(2, dim=1)
        update = self.norm(hidden) * (1 + scale) + shift
        return hidden + self.conv2(F.silu(self.conv1(F.silu(update))))


def _cosines(side: int) -> Tensor:
    """The cosine transform (DCT-II): an orthogonal matrix (side, side), with a frequency a row."""
    places = math.pi / side * (torch.arange(side) + 0.5)
    rows = (torch.arange(side)[:, None] * places).cos() * (2 / side) ** 0.5
    return torch.cat([rows[:1] / 2**0.5, rows[1:]])
