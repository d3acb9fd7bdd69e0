"""What is drawn from: a density, and what is wished of its draws."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.density.base import Density, DensityRatioModel, ExactRatio, StandardNormal
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values

__all__ = ["Samples", "Target", "Whitened", "round_coordinates"]

LogWeight = Callable[[Tensor], Tensor]
PIECE = 65_536  # codes asked about at a time


@dataclass(frozen=True)
class Samples:
    """Codes drawn from a density.

    Attributes:
        points: Shape (n, d).
        info: What the sampler says of its work, by name.
        notes: What should be known before the draws are believed, in sentences.
    """

    points: Latents
    info: dict[str, float]
    notes: tuple[str, ...] = ()


class Target(Density):
    r"""q(z)^(1/T) · N(z; c, w² I) · g(z), up to a constant: colder or warmer, near a code, and with what is asked for.

    Attributes:
        density: q.
        temperature: T; draws keep to the peaks below 1, and spread above it. A Gaussian's covariance becomes T times.
    """

    def __init__(
        self,
        density: Density,
        temperature: float = 1.0,
        near: Tensor | None = None,
        width: float = 0.5,
        where: LogWeight | None = None,
    ) -> None:
        """Arguments: q; T, positive; c, shape (d,), or None; w, positive; log g from codes (n, d) to (n,), or None.

        Raises:
            UserError: any of them is not.
        """
        for name, value in (("temperature", temperature), ("width", width)):
            if not (value > 0 and math.isfinite(value)):
                raise UserError(f"the {name} is {value}; choose a number above 0")
        if near is not None and (near.shape != (density.dimension,) or not near.isfinite().all()):
            raise UserError(
                f"near is a code of shape ({density.dimension},) with finite coordinates; this has {tuple(near.shape)}"
            )
        self.density = density
        self.dimension = density.dimension
        self.has_log_prob = density.has_log_prob
        self.temperature = temperature
        self.near = None if near is None else _around(near, width)
        self.where = where
        self._ratio = density if isinstance(density, DensityRatioModel) else _against_prior(density)

    @property
    def plain(self) -> bool:
        """Whether nothing is wished: the target is q."""
        return self.temperature == 1 and self.near is None and self.where is None

    def log_prob(self, latents: Latents) -> Values:
        """log q / T + log N + log g in nats, shape (n,), up to a constant."""
        return self.density.log_prob(latents) / self.temperature + self._asked(latents)

    def log_weight(self, latents: Latents) -> Values:
        """How much more likely than under q, in nats, shape (n,), up to a constant; 0 where nothing is wished.

        log q is asked only at another temperature: a boundary without a density closes it.
        """
        asked = self._asked(latents)
        if self.temperature == 1:
            return asked
        return asked + (1 / self.temperature - 1) * self.density.log_prob(latents)

    def score(self, latents: Latents) -> Latents:
        """The density's own where nothing is wished, else by autograd."""
        return self.density.score(latents) if self.plain else super().score(latents)

    def propose(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw from what is known and covers the target, shape (n, d), on the generator's device.

        That is the Gaussian around the code that draws are wished near to, else the boundary r of the density, or the
        prior N(0, I) where it has none.
        """
        if self.near is not None:
            return self.near.sample(n, generator=generator)
        return self._ratio.sample_boundary(n, generator=generator)

    def log_ratio(self, latents: Latents) -> Values:
        """log target - log proposal of each code in nats, shape (n,), up to a constant; -inf for want of an answer."""
        parts = latents.split(PIECE)
        if self.near is not None:
            ratios = [self.log_prob(part) - self.near.log_prob(part) for part in parts]
        else:
            ratios = [self._ratio.logit(part) + self.log_weight(part) for part in parts]
        return torch.cat(ratios).nan_to_num(-math.inf, None, -math.inf)

    def _asked(self, latents: Latents) -> Values:
        """log N + log g in nats, shape (n,)."""
        total = (
            latents.new_zeros(len(latents)) if self.near is None else self.near.log_prob(latents)
        )
        if self.where is None:
            return total
        weights = self.where(latents)
        if weights.shape != total.shape:
            raise UserError(
                f"where must give (n,) log-weights for codes (n, d); for {tuple(latents.shape)} it gave "
                f"{tuple(weights.shape)}"
            )
        return total + weights


class Whitened(Density):
    """log q(m + L w) of the coordinates w, up to a constant: there a population with moments m and L Lᵀ is round."""

    def __init__(self, density: Density, mean: Tensor, factor: Tensor) -> None:
        """Arguments: q; m, shape (d,); and L, shape (d, d), invertible."""
        self.density = density
        self.mean = mean
        self.factor = factor
        self.dimension = density.dimension
        self.has_log_prob = density.has_log_prob
        self.noise_levels = density.noise_levels

    def back(self, w: Latents) -> Latents:
        """z = m + L w, shape (n, d)."""
        return self.mean + w @ self.factor.T

    def there(self, latents: Latents) -> Latents:
        """w = L⁻¹ (z - m), shape (n, d)."""
        return torch.linalg.solve(self.factor, (latents - self.mean).T).T

    def log_prob(self, latents: Latents) -> Values:
        """log q(m + L w)."""
        return self.density.log_prob(self.back(latents))

    def score(self, latents: Latents) -> Latents:
        """Lᵀ grad log q(m + L w)."""
        return self.density.score(self.back(latents)) @ self.factor

    def noised(self, width: float) -> "Whitened":
        """The blurred density in the same coordinates."""
        return Whitened(self.density.noised(width), self.mean, self.factor)


def round_coordinates(density: Density, device: torch.device) -> Whitened:
    """The density in the coordinates of its `whiten`, in which its noise levels add N(0, I)."""
    origin = density.unwhiten(torch.zeros(1, density.dimension, device=device))
    axes = density.unwhiten(torch.eye(density.dimension, device=device)) - origin
    return Whitened(density, origin[0], axes.T)


def _against_prior(density: Density) -> DensityRatioModel:
    """The density judged against N(0, I)."""
    return ExactRatio(density, StandardNormal(density.dimension))


def _around(code: Tensor, width: float) -> GaussianMixture:
    """N(c, w² I)."""
    code = code.detach().float()
    return GaussianMixture(
        code.new_ones(1), code[None], width * torch.eye(len(code), device=code.device)[None]
    )
