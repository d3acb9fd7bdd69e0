"""The latent discriminator D_z: log q - log r at every noise level.

A Gaussian or radial part is given in closed form, the rest is learned.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal, Protocol, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.nn.mixture_reference import MixtureReference
from latent_atlas.nn.slope import EPS, norm_silu, rows, silu
from latent_atlas.shapes import Angles, Latents, Values, batched

__all__ = [
    "FINEST",
    "Ensemble",
    "LatentBlock",
    "LatentDiscriminator",
    "angle_of",
    "batched_logits",
    "level_embedding",
    "place_of",
    "waves_of",
]

FINEST = 0.05  # sin t below which noise levels are spaced linearly, and logarithmically above
SHORTEST = 0.01  # added to a squared length per coordinate, so that its logarithm stays finite
FOURIER = (1.5, 3.0)  # ω, in radians per standard deviation
FREQUENCIES = 8
LEVEL_WIDTH = 32  # of the embedding of a noise level, which is a single number


def place_of(angles: Tensor) -> Tensor:
    """The place τ(t) = log(1 + sin t / FINEST) / log(1 + 1 / FINEST) of a noise angle t.

    0 is no noise, 1 is noise alone.

    Examples:
        >>> place_of(angle_of(torch.tensor([0.0, 0.25, 1.0])))
        tensor([0.0000, 0.2500, 1.0000])
    """
    return torch.log1p(angles.sin() / FINEST) / math.log1p(1 / FINEST)


def angle_of(places: Tensor) -> Tensor:
    """The noise angle t in [0, π/2] at the place τ in [0, 1]; the inverse of `place_of`."""
    return torch.asin((FINEST * torch.expm1(places * math.log1p(1 / FINEST))).clamp(0, 1))


def level_embedding() -> nn.Module:
    """From `waves_of` angles, shape (n, 16), to the embedding of noise levels (n, LEVEL_WIDTH)."""
    return nn.Sequential(nn.Linear(2 * FREQUENCIES, LEVEL_WIDTH), nn.SiLU())


def waves_of(angles: Angles) -> Tensor:
    """Sines and cosines of the places of noise angles (n,), shape (n, 16)."""
    orders = torch.arange(1, FREQUENCIES + 1, device=angles.device)
    phases = place_of(angles)[:, None] * orders * (math.pi / 2)
    return torch.cat([phases.sin(), phases.cos()], dim=1)


class LatentBlock(nn.Module):
    """A residual block on vectors, shifted and scaled by the noise level."""

    def __init__(self, width: int) -> None:
        """Arguments: width, of the vectors."""
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.level = nn.Linear(LEVEL_WIDTH, 2 * width)
        self.linear1 = nn.Linear(width, width)
        self.linear2 = nn.Linear(width, width)
        nn.init.zeros_(self.linear2.weight)
        nn.init.zeros_(self.linear2.bias)

    def forward(self, hidden: Tensor, level: Tensor) -> Tensor:
        """(n, width) to the same shape, at `level_embedding`s (n, 32) or (1, 32)."""
        scale, shift = self.level(level).chunk(2, dim=1)
        update = self.norm(hidden) * (1 + scale) + shift
        return hidden + self.linear2(F.silu(self.linear1(F.silu(update))))

    def affine(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias of the layer normalisation, each (m, width), at levels (m, 32)."""
        scale, shift = self.level(level).chunk(2, dim=1)
        return self.norm.weight * (1 + scale), self.norm.bias * (1 + scale) + shift


class LatentDiscriminator(nn.Module):
    r"""D_z: the logit of a code being real (1, from q) and not fake (0, from the boundary r).

    The noise level of z_t = cos(t) z + sin(t) eps enters as the angle t in [0, π/2]; t = 0 is no
    noise, and t = π/2 is noise alone:

        l(z, t) = g(z, t) + cos(t) (a(h) + <b(h), y>),    h = h(y, sin ωy, cos ωy, log |y|, t)

    where y is z whitened to mean 0 and covariance I at its noise level. Fourier features of each
    coordinate are added to the input, since networks fit fine structure last. The reference g is
    log p̂_t - log N(0, I) in closed form, where p̂_t has the mean and covariance of q_t and is
    isotropic in y:

        |y|² ~ Gamma(k, θ),    k θ = d,    k θ² = V_t = cos⁴(t) V + (1 - cos⁴(t)) 2d

    with V the measured variance of |y|², at most 2d. For V = 2d, p̂ is a Gaussian. A smaller V is a
    radial correction, for a q without codes near its mean, as is usual in many dimensions: there
    D_z has no real codes to be trained on. In place of this Gaussian, g may be the log-ratio of a
    Gaussian mixture; see `MixtureReference`. Without a reference, g = 0.

    References:
        The term <b(h), y> beside the scalar a(h): Should EBMs Model the Energy or the Score?,
        Salimans and Ho 2021.
        Fourier features: Fourier Features Let Networks Learn High Frequency Functions in Low
        Dimensional Domains, Tancik et al. 2020.
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor
    spread: Tensor
    reference: Tensor

    def __init__(self, latent_dim: int, *, width: int, depth: int, components: int = 0) -> None:
        """Arguments: latent_dim d; width and depth as in `MapConfig`; Gaussians of the reference.

        Until `set_moments`, the moments are those of N(0, I). 0 `components` are a single Gaussian,
        with the radial correction.
        """
        super().__init__()
        self.stem = nn.Linear((1 + 2 * len(FOURIER)) * latent_dim + 1, width)
        with torch.no_grad():  # start smooth: large Fourier features would delay the coarse shape
            self.stem.weight[:, latent_dim + 1 :] *= 0.3
        self.level = level_embedding()
        self.blocks = nn.ModuleList(LatentBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, 1 + latent_dim)
        self.forget()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("basis", torch.eye(latent_dim))
        self.register_buffer("variances", torch.ones(latent_dim))
        self.register_buffer("spread", torch.tensor(2.0 * latent_dim))
        self.register_buffer("reference", torch.zeros(()))
        self.mixture = MixtureReference(latent_dim, components) if components else None

    def set_moments(
        self,
        mean: Tensor,
        covariance: Tensor,
        spread: float | None = None,
        *,
        reference: Literal["gaussian", "none"],
    ) -> None:
        """Set the mean (d,) and covariance (d, d) of q, V (None for 2d), and the reference g."""
        variances, basis = torch.linalg.eigh(covariance.double())
        self.mean.copy_(mean)
        self.basis.copy_(basis)
        self.variances.copy_(variances.clamp_min(1e-6 * variances.max().item()))
        most = 2.0 * len(mean)
        self.spread.fill_(most if spread is None else min(spread, most))
        self.reference.fill_(reference == "gaussian")

    def set_mixture(self, mixture: GaussianMixture) -> None:
        """Take the log-ratio of a mixture of full covariances as the reference g."""
        self.mixture = MixtureReference(len(self.mean), len(mixture.weights)).to(self.mean.device)
        self.mixture.set(mixture)
        self.reference.fill_(1)

    def drop_reference(self) -> None:
        """Keep the learned part alone: g = 0."""
        self.mixture = None
        self.reference.fill_(0)

    @torch.no_grad()
    def forget(self) -> None:
        """Leave the reference alone: the learned part is 0."""
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def lower(self, nats: float) -> None:
        """Lower the logit at the angle t by cos(t) times `nats`."""
        self.head.bias[0] -= nats

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """Logits, shape (n,), of codes (n, d) at noise angles (n,) or (1,); None is 0."""
        if angles is None:
            angles = latents.new_zeros(1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        y, whitened, variances = self._whitened(latents, cos, sin)
        if self.mixture is None:
            gaussian = 0.5 * (latents.square() - whitened.square() - variances.log()).sum(dim=1)
            reference = gaussian + self.radial_correction(y, cos, _log_length(y)).squeeze(1)
        else:
            reference = self.mixture(latents, cos, sin)
        return self.reference * reference + cos.squeeze(1) * self._learned(y, angles)

    def beyond_reference(self, latents: Latents, angles: Angles) -> Values:
        """What it has learned, the logit less the reference, of shape (n,); inputs as above."""
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return cos.squeeze(1) * self._learned(self._whitened(latents, cos, sin)[0], angles)

    def _whitened(self, latents: Latents, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        """y, the same in the coordinates of the eigenvectors, and the variances of these."""
        variances = cos.square() * self.variances + sin.square()
        whitened = (latents @ self.basis - cos * (self.mean @ self.basis)) * variances.rsqrt()
        return whitened @ self.basis.T, whitened, variances

    def _learned(self, y: Latents, angles: Angles) -> Values:
        """a(h) + <b(h), y>."""
        features = [f(omega * y) for omega in FOURIER for f in (torch.sin, torch.cos)]
        level = self.level(waves_of(angles))
        hidden = self.stem(torch.cat([y, _log_length(y), *features], dim=1))
        for block in self.blocks:
            hidden = block(hidden, level)
        head = self.head(F.silu(self.norm(hidden)))
        return head[:, 0] + (head[:, 1:] * y).sum(dim=1)

    def slope(
        self, latents: Latents, angles: Float[Tensor, " m"], count: int
    ) -> tuple[Values, Float[Tensor, "k d"]]:
        """Logits (n,) at angles (m,), and their gradients (k, d) at the first k = `count` codes.

        Code i is at the angle i mod m, where m divides n and k. A loss may be taken of both: the
        gradients are the chain rule written out, so that autograd goes back once, not twice.
        """
        device = latents.device.type
        products = torch.autocast(device, enabled=torch.is_autocast_enabled(device))
        # Whitened codes and the reference stay in float32: it is a difference of large squares.
        with torch.autocast(device, enabled=False):
            return _AtAngles(self, angles, products)(latents, count)

    def at(self, angle: Angles) -> Callable[[Latents], tuple[Values, Latents]]:
        """D_z at one noise angle (1,): logits (n,) of codes (n, d), and their gradients (n, d).

        They are those of the weights as they are now.
        """
        with torch.no_grad():
            function = _AtAngles(self, angle)
        return torch.no_grad()(function.__call__)

    def radial_correction(self, y: Latents, cos: Tensor, log_length: Tensor) -> Tensor:
        """What the distribution of |y|² adds to the Gaussian log-density, shape (n, 1)."""
        d = y.shape[1]
        k, theta = self.gamma(cos)
        log_square = 2 * log_length + math.log(d)
        shape = (k - d / 2) * log_square - y.square().sum(dim=1, keepdim=True) * (1 / theta - 0.5)
        return shape - k * theta.log() - k.lgamma() + math.lgamma(d / 2) + d / 2 * math.log(2)

    def gamma(self, cos: Tensor) -> tuple[Tensor, Tensor]:
        """k and θ of the distribution of |y|² where cos t is `cos`."""
        d = len(self.mean)
        variance = cos.pow(4) * self.spread + (1 - cos.pow(4)) * 2 * d
        return d**2 / variance, variance / d


class _AtAngles:
    """D_z and its gradient at angles (m,): the chain rule written out, faster than autograd.

    The shift and scale of a block belong to its layer normalisation, and the reference is
    ½ |z|² - A |y|² + B log |y|² + C. Code i of n is at the angle i mod m, where m divides n.
    """

    def __init__(
        self,
        network: LatentDiscriminator,
        angles: Float[Tensor, " m"],
        products: AbstractContextManager[object] | None = None,
    ) -> None:
        self.products = products or nullcontext()
        cos, sin, d = angles.cos()[:, None], angles.sin()[:, None], len(network.mean)
        variances = cos.square() * network.variances + sin.square()
        self.basis, self.root = network.basis, variances.rsqrt()
        one = len(angles) == 1
        self.whitening = (self.basis * self.root) @ self.basis.T if one else None
        self.cos, self.mean = cos, cos * network.mean
        self.stem, self.head, self.norm = network.stem, network.head, network.norm
        level = network.level(waves_of(angles))
        self.blocks = [
            (one, *one.affine(level)) for one in network.blocks if isinstance(one, LatentBlock)
        ]
        self.omega = angles.new_tensor(FOURIER)[:, None]
        self.reference = network.reference
        self.mixture = None
        if network.mixture is not None:
            self.mixture = (
                network.mixture.at(angles)
                if one
                else partial(network.mixture.slope, cos=cos, sin=sin)
            )
        k, theta = network.gamma(cos)
        radial = network.radial_correction(torch.zeros_like(variances), cos, torch.zeros_like(cos))
        self.on_log, self.on_square = 2 * k - d, d / theta
        self.constant = (
            radial - 0.5 * variances.log().sum(dim=1, keepdim=True) + self.on_square * SHORTEST
        )

    def __call__(
        self, latents: Latents, count: int | None = None
    ) -> tuple[Values, Float[Tensor, "k d"]]:
        """Logits (n,) of codes (n, d), and gradients at the first of them, by default at all."""
        k = latents.shape[0] if count is None else count
        cos = _each(self.cos, latents)
        y = self._whitened(latents - _each(self.mean, latents))
        d, square = y.shape[1], y.square().mean(dim=1, keepdim=True) + SHORTEST
        length = 0.5 * square.log()
        with self.products:
            learned, at_y = self._learned(y, square, length, k)
        learned, at_y = cos.squeeze(1) * learned, rows(cos, k) * at_y
        if self.mixture is not None:
            reference, at_latents = self.mixture(latents, count=k)
        else:
            on_log, on_square = _each(self.on_log, latents), _each(self.on_square, latents)
            parts = 0.5 * latents.square().sum(dim=1, keepdim=True) + on_log * length
            reference = (parts - on_square * square + _each(self.constant, latents)).squeeze(1)
            radial = rows(on_log, k) / (d * rows(square, k)) - 2 / d * rows(on_square, k)
            at_y, at_latents = at_y + self.reference * radial * rows(y, k), rows(latents, k)
        slope = self._whitened(at_y) + self.reference * at_latents
        return self.reference * reference + learned, slope

    def _whitened(self, points: Latents) -> Latents:
        """C_t^(-1/2) times each point, where C_t is the covariance of q_t."""
        if self.whitening is not None:
            return points @ self.whitening
        return ((points @ self.basis) * _each(self.root, points)) @ self.basis.T

    def _learned(
        self, y: Latents, square: Tensor, length: Tensor, k: int
    ) -> tuple[Values, Float[Tensor, "k d"]]:
        """a(h) + <b(h), y>, and its gradient at the first k y."""
        d = y.shape[1]
        phases = self.omega * y[:, None]
        sines, cosines = phases.sin(), phases.cos()
        features = torch.stack([sines, cosines], dim=2).flatten(1)
        hidden, pullbacks = self.stem(torch.cat([y, length, features], dim=1)), []
        for block, weight, bias in self.blocks:
            update, from_update = norm_silu(hidden, weight, bias, k)
            inner, from_inner = silu(block.linear1(update), k)
            pullbacks.append((block, from_update, from_inner))
            hidden = hidden + block.linear2(inner)
        last, from_last = norm_silu(hidden, self.norm.weight[None], self.norm.bias[None], k)
        head, on_y = self.head(last), self.head.weight
        learned = head[:, 0] + (head[:, 1:] * y).sum(dim=1)

        y, square, sines, cosines = (rows(one, k) for one in (y, square, sines, cosines))
        slope = from_last(torch.addmm(on_y[0], y, on_y[1:]))
        for block, from_update, from_inner in reversed(pullbacks):
            at_linear1 = from_inner(slope @ block.linear2.weight)
            slope = slope + from_update(at_linear1 @ block.linear1.weight)
        slope = (slope @ self.stem.weight).to(y)
        turned = slope[:, d + 1 :].unflatten(1, (-1, 2, d))
        at_y = (
            slope[:, :d]
            + slope[:, d : d + 1] * y / (d * square)
            + (self.omega * (turned[:, :, 0] * cosines - turned[:, :, 1] * sines)).sum(dim=1)
            + rows(head, k)[:, 1:]
        )
        return learned, at_y


def _each(values: Tensor, codes: Tensor) -> Tensor:
    """Values (m, k) for codes (n, ...): row i mod m for code i."""
    n, m = codes.shape[0], values.shape[0]
    return values if m in (1, n) else values.repeat(n // m, 1)


def _log_length(y: Latents) -> Tensor:
    """log |y| / √d, shape (n, 1), also at 0."""
    return 0.5 * (y.square().mean(dim=1, keepdim=True) + SHORTEST).log()


class HasSlope(Protocol):
    """A discriminator that gives its gradients."""

    def at(self, angle: Angles) -> Callable[[Latents], tuple[Values, Latents]]:
        """As `LatentDiscriminator.at`."""
        ...


class Ensemble(nn.Module):
    """Discriminators trained independently on the same codes; their mean logit is used."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        """Arguments: one or more discriminators of the same shape."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def logits(self, latents: Latents, angles: Angles | None = None) -> Tensor:
        """Each member's logits, shape (members, n)."""
        return torch.stack([member(latents, angles) for member in self.members])

    def forward(self, latents: Latents, angles: Angles | None = None) -> Values:
        """The mean logit, shape (n,), of codes (n, d) at noise angles (n,) or (1,) in radians."""
        return self.logits(latents, angles).mean(dim=0)

    def at(self, angle: Angles) -> Callable[[Latents], tuple[Values, Latents]]:
        """The mean logits (n,) of codes (n, d) at one noise angle (1,), and their gradients."""
        members = [cast("HasSlope", one).at(angle) for one in self.members]

        def mean(latents: Latents) -> tuple[Values, Latents]:
            logits, slopes = zip(*(member(latents) for member in members), strict=True)
            return torch.stack(logits).mean(dim=0), torch.stack(slopes).mean(dim=0)

        return mean


@torch.no_grad()
def batched_logits(network: nn.Module, latents: Latents, size: int = 4_096) -> Values:
    """Logits of many codes, shape (n,), in batches that fit in memory."""
    return batched(network, latents, size)
