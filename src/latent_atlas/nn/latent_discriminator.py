"""D_z, which judges codes at every noise level: the Gaussian part of log q - log r in closed form, the rest learned."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.shapes import Angles, Latents, Values

__all__ = ["FINEST", "Ensemble", "LatentDiscriminator", "angle_of", "place_of"]

FINEST = 0.05  # sin t of the noise below which levels are spaced evenly, above which by ratios


def place_of(angles: Tensor) -> Tensor:
    """τ(t) = log(1 + sin t / FINEST) / log(1 + 1 / FINEST): where a noise angle stands between sharp, 0, and smooth, 1.

    Example:
        >>> place_of(angle_of(torch.tensor([0.0, 0.25, 1.0])))
        tensor([0.0000, 0.2500, 1.0000])
    """
    return torch.log1p(angles.sin() / FINEST) / math.log1p(1 / FINEST)


def angle_of(places: Tensor) -> Tensor:
    """The noise angle t in [0, π/2] that stands at τ in [0, 1]; inverse of `place_of`."""
    return torch.asin((FINEST * torch.expm1(places * math.log1p(1 / FINEST))).clamp(0, 1))


class _LatentBlock(nn.Module):
    """A residual block on vectors, shifted and scaled by the noise level."""

    def __init__(self, width: int, level_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.level = nn.Linear(level_width, 2 * width)
        self.linear1 = nn.Linear(width, width)
        self.linear2 = nn.Linear(width, width)
        nn.init.zeros_(self.linear2.weight)
        nn.init.zeros_(self.linear2.bias)

    def forward(self, hidden: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.level(level).chunk(2, dim=1)
        update = self.norm(hidden) * (1 + scale) + shift
        return hidden + self.linear2(F.silu(self.linear1(F.silu(update))))


class LatentDiscriminator(nn.Module):
    r"""D_z: the logit of a code being real (1, of the population) and not fake (0, of the boundary).

    The noise level of z_t = cos(t) z + sin(t) eps enters as the angle t in [0, π/2]; t = 0 is no noise, and at π/2
    nothing of the population is left:

        l(z, t) = g(z, t) + cos(t) (a(h) + <b(h), y>),    h = h(y, t)

    where y is z brought to mean 0 and covariance I at its level. g is the part that needs no learning, the log-ratio
    of the Gaussian with the population's moments to N(0, I), both noised to the level t; without a reference, g = 0.

    References:
        A term <b(h), y> beside the scalar a(h): Should EBMs model the energy or the score?, Salimans and Ho 2021.
    """

    FREQUENCIES = 8
    LEVEL_WIDTH = 32  # a level is one number: a wide embedding would cost as much as the blocks themselves

    mean: Tensor
    basis: Tensor
    variances: Tensor
    reference: Tensor

    def __init__(self, latent_dim: int, *, width: int, depth: int) -> None:
        """Arguments: latent_dim d; width and depth as in `MapConfig`. Moments are those of N(0, I) until set."""
        super().__init__()
        self.stem = nn.Linear(latent_dim, width)
        self.level = nn.Sequential(nn.Linear(2 * self.FREQUENCIES, self.LEVEL_WIDTH), nn.SiLU())
        self.blocks = nn.ModuleList(_LatentBlock(width, self.LEVEL_WIDTH) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1 + latent_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("basis", torch.eye(latent_dim))
        self.register_buffer("variances", torch.ones(latent_dim))
        self.register_buffer("reference", torch.zeros(()))

    def set_moments(self, mean: Tensor, covariance: Tensor, *, reference: Literal["gaussian", "none"]) -> None:
        """Tell the population's mean (d,) and covariance (d, d), and whether g is their log-ratio to N(0, I) or 0."""
        variances, basis = torch.linalg.eigh(covariance.double())
        self.mean.copy_(mean)
        self.basis.copy_(basis)
        self.variances.copy_(variances.clamp_min(1e-6 * variances.max().item()))
        self.reference.fill_(reference == "gaussian")

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """Logits, shape (n,), of codes (n, d) at noise angles (n,) or (1,) in radians; without them, at t = 0."""
        if angles is None:
            angles = latents.new_zeros(1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        variances = cos.square() * self.variances + sin.square()
        main = latents @ self.basis - cos * (self.mean @ self.basis)  # in the eigenvectors' coordinates
        whitened = main * variances.rsqrt()
        gaussian = 0.5 * (latents.square() - whitened.square() - variances.log()).sum(dim=1)
        y = whitened @ self.basis.T
        phases = place_of(angles)[:, None] * torch.arange(1, self.FREQUENCIES + 1, device=y.device) * (math.pi / 2)
        level = self.level(torch.cat([phases.sin(), phases.cos()], dim=1))
        hidden = self.stem(y)
        for block in self.blocks:
            hidden = block(hidden, level)
        head = self.head(F.silu(self.norm(hidden)))
        learned = head[:, 0] + (head[:, 1:] * y).sum(dim=1)
        return self.reference * gaussian + cos.squeeze(1) * learned


class Ensemble(nn.Module):
    """Discriminators that learned the same codes independently: their mean logit, and how far they disagree."""

    def __init__(self, members: Iterable[LatentDiscriminator]) -> None:
        """Arguments: one or more discriminators of the same shape."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def logits(self, latents: Latents, angles: Angles | None = None) -> Tensor:
        """Each member's logits, shape (members, n)."""
        return torch.stack([member(latents, angles) for member in self.members])

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """The mean logit, shape (n,), of codes (n, d) at noise angles (n,) or (1,) in radians."""
        return self.logits(latents, angles).mean(dim=0)
