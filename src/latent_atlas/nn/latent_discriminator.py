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
SHORTEST = 0.01  # of a squared length, per coordinate: at the very centre a logarithm has no end


def place_of(angles: Tensor) -> Tensor:
    """τ(t) = log(1 + sin t / FINEST) / log(1 + 1 / FINEST): where a noise angle stands between sharp, 0, and smooth, 1.

    Examples:
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

        l(z, t) = g(z, t) + cos(t) (a(h) + <b(h), y>),    h = h(y, sin ωy, cos ωy, log |y|, t)

    where y is z brought to mean 0 and covariance I at its level. Waves of each coordinate are told beside it, since
    layers learn last what is thin and bent. g is the part that needs no learning: log p̂_t - log N(0, I), where p̂_t has
    the population's mean and covariance, noised to the level t, and looks the same in all directions of y:

        |y|² ~ Gamma(k, θ),    k θ = d,    k θ² = V_t = cos⁴(t) V + (1 - cos⁴(t)) 2d

    with V the measured variance of |y|², 2d at most. At 2d it is a Gaussian. Below it is hollow: so is taken a
    population whose middle has no codes that D_z could learn from, as is usual in many dimensions. Without a reference,
    g = 0.

    References:
        A term <b(h), y> beside the scalar a(h): Should EBMs model the energy or the score?, Salimans and Ho 2021.
        Waves of the inputs: Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains,
        Tancik et al. 2020.
    """

    WAVES = (1.5, 3.0)  # ω, in radians per standard deviation
    FREQUENCIES = 8
    LEVEL_WIDTH = (
        32  # a level is one number: a wide embedding would cost as much as the blocks themselves
    )

    mean: Tensor
    basis: Tensor
    variances: Tensor
    spread: Tensor
    reference: Tensor

    def __init__(self, latent_dim: int, *, width: int, depth: int) -> None:
        """Arguments: latent_dim d; width and depth as in `MapConfig`. Moments are those of N(0, I) until set."""
        super().__init__()
        self.stem = nn.Linear((1 + 2 * len(self.WAVES)) * latent_dim + 1, width)
        with (
            torch.no_grad()
        ):  # smooth at first, or what is smooth would be learned later than without waves
            self.stem.weight[:, latent_dim + 1 :] *= 0.3
        self.level = nn.Sequential(nn.Linear(2 * self.FREQUENCIES, self.LEVEL_WIDTH), nn.SiLU())
        self.blocks = nn.ModuleList(_LatentBlock(width, self.LEVEL_WIDTH) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1 + latent_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("basis", torch.eye(latent_dim))
        self.register_buffer("variances", torch.ones(latent_dim))
        self.register_buffer("spread", torch.tensor(2.0 * latent_dim))
        self.register_buffer("reference", torch.zeros(()))

    def set_moments(
        self,
        mean: Tensor,
        covariance: Tensor,
        spread: float | None = None,
        *,
        reference: Literal["gaussian", "none"],
    ) -> None:
        """Tell the population's mean (d,), covariance (d, d) and V, None for 2d, and whether there is a g."""
        variances, basis = torch.linalg.eigh(covariance.double())
        self.mean.copy_(mean)
        self.basis.copy_(basis)
        self.variances.copy_(variances.clamp_min(1e-6 * variances.max().item()))
        most = 2.0 * len(mean)
        self.spread.fill_(most if spread is None else min(spread, most))
        self.reference.fill_(reference == "gaussian")

    @torch.no_grad()
    def lower(self, nats: float) -> None:
        """Subtract so much from the logit at t = 0, and cos(t) of it at the level t."""
        self.head.bias[0] -= nats

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """Logits, shape (n,), of codes (n, d) at noise angles (n,) or (1,) in radians; without them, at t = 0."""
        if angles is None:
            angles = latents.new_zeros(1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        variances = cos.square() * self.variances + sin.square()
        main = latents @ self.basis - cos * (
            self.mean @ self.basis
        )  # in the eigenvectors' coordinates
        whitened = main * variances.rsqrt()
        gaussian = 0.5 * (latents.square() - whitened.square() - variances.log()).sum(dim=1)
        y = whitened @ self.basis.T
        log_length = 0.5 * (y.square().mean(dim=1, keepdim=True) + SHORTEST).log()
        reference = self.reference * (gaussian + self._hollow(y, cos, log_length).squeeze(1))
        waves = [wave(frequency * y) for frequency in self.WAVES for wave in (torch.sin, torch.cos)]
        phases = (
            place_of(angles)[:, None]
            * torch.arange(1, self.FREQUENCIES + 1, device=y.device)
            * (math.pi / 2)
        )
        level = self.level(torch.cat([phases.sin(), phases.cos()], dim=1))
        hidden = self.stem(torch.cat([y, log_length, *waves], dim=1))
        for block in self.blocks:
            hidden = block(hidden, level)
        head = self.head(F.silu(self.norm(hidden)))
        learned = head[:, 0] + (head[:, 1:] * y).sum(dim=1)
        return reference + cos.squeeze(1) * learned

    def _hollow(self, y: Latents, cos: Tensor, log_length: Tensor) -> Tensor:
        """What the law of |y|² adds to the Gaussian's log-density, shape (n, 1)."""
        d = y.shape[1]
        variance = cos.pow(4) * self.spread + (1 - cos.pow(4)) * 2 * d
        k, theta = d**2 / variance, variance / d
        log_square = 2 * log_length + math.log(d)
        shape = (k - d / 2) * log_square - y.square().sum(dim=1, keepdim=True) * (1 / theta - 0.5)
        return shape - k * theta.log() - k.lgamma() + math.lgamma(d / 2) + d / 2 * math.log(2)


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
