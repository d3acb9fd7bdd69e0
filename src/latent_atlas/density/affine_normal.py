"""Gaussians as affine images of N(0, I)."""

import math
from abc import abstractmethod

import torch

from latent_atlas.density.base import SamplableDensity, StandardNormal, noise_width
from latent_atlas.shapes import Latents, Values

__all__ = ["AffineNormal", "NoisedNormal"]


class AffineNormal(SamplableDensity):
    r"""The image of N(0, I) under an affine map z = f(w): log N(w; 0, I) - log|det dz/dw|.

    In the coordinates w = `whiten`(z) any rule made for the prior N(0, I) holds.

    Attributes:
        log_scale: log|det dz/dw|.
    """

    noise_levels = True
    log_scale: float

    @abstractmethod
    def whiten(self, latents: Latents) -> Latents:
        """w of each code z, shape (n, d): standard normal for codes of this density."""

    @abstractmethod
    def unwhiten(self, latents: Latents) -> Latents:
        """z of each w, shape (n, d); the inverse of `whiten`."""

    def log_prob(self, latents: Latents) -> Values:
        """log N(w; 0, I) - log|det dz/dw| in nats, shape (n,)."""
        return StandardNormal(self.dimension).log_prob(self.whiten(latents)) - self.log_scale

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """z = f(w), w ~ N(0, I), shape (n, d), on the generator's device."""
        return self.unwhiten(
            torch.randn(n, self.dimension, generator=generator, device=generator.device)
        )

    def noised(self, width: float) -> "AffineNormal":
        """The image of N(0, (1 + width²) I) under the same map."""
        return NoisedNormal(self, width) if noise_width(width) > 0 else self


class NoisedNormal(AffineNormal):
    """An affine normal with noise added to w: whitened by w / s, with s = sqrt(1 + width²)."""

    def __init__(self, inner: AffineNormal, width: float) -> None:
        """Arguments: the density without noise; the noise's standard deviation, 0 or more."""
        self.inner = inner
        self.factor = math.hypot(1, noise_width(width))
        self.dimension = inner.dimension
        self.log_scale = inner.log_scale + inner.dimension * math.log(self.factor)

    def whiten(self, latents: Latents) -> Latents:
        """w / s."""
        return self.inner.whiten(latents) / self.factor

    def unwhiten(self, latents: Latents) -> Latents:
        """f(s w)."""
        return self.inner.unwhiten(self.factor * latents)

    def noised(self, width: float) -> "AffineNormal":
        """The same map with both noises: the widths add in squares."""
        total = math.hypot(math.sqrt(self.factor**2 - 1), noise_width(width))
        return NoisedNormal(self.inner, total)
