"""A normal kernel at each of many centres."""

import math

import torch
from torch import Tensor

from latent_atlas.density.base import SamplableDensity
from latent_atlas.errors import UserError
from latent_atlas.shapes import ArrayLike, Latents, Values, as_floats, as_rows, batched

__all__ = ["KernelDensity"]

_BATCH = 1_024  # codes whose products with all centres are held in memory at once


class KernelDensity(SamplableDensity):
    r"""r(z) = 1/m Σ_i N(z; c_i, s² I): a normal kernel at each of m centres."""

    def __init__(self, centres: ArrayLike, scale: ArrayLike) -> None:
        """Arguments: centres c, shape (m, d); and s, positive, shape ()."""
        self.centres = centres = as_rows(centres)
        if len(centres) == 0:
            raise UserError("a kernel density has no centres; give one code or more")
        self.scale = scale = as_floats(scale)
        self.dimension = centres.shape[1]
        self._origin = centres.mean(dim=0)  # far from 0 the products below would cancel in float32
        self._centred = (centres - self._origin) / scale

    def _affinity(self, z: Tensor) -> Tensor:
        """z·c_i - |c_i|² / 2 = (|z|² - |z - c_i|²) / 2 in units of s, shape (n, m)."""
        c = self._centred.to(z)
        return torch.addmm(-0.5 * c.square().sum(dim=1), z, c.T)

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over all centres."""
        scaled = (latents - self._origin) / self.scale
        sums = batched(lambda z: self._affinity(z).logsumexp(dim=1), scaled, _BATCH)
        log_volume = self.dimension * (self.scale.log() + 0.5 * math.log(2 * math.pi))
        return sums - 0.5 * scaled.square().sum(dim=1) - log_volume - math.log(len(self.centres))

    def score(self, latents: Latents) -> Latents:
        """(Σ_i P(i|z) c_i - z) / s²."""
        scaled = (latents - self._origin) / self.scale
        centred = self._centred.to(scaled)
        pulls = batched(lambda z: self._affinity(z).softmax(dim=1) @ centred, scaled, _BATCH)
        return (pulls - scaled) / self.scale

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """A random centre plus s eps, eps ~ N(0, I)."""
        rows = torch.randint(len(self.centres), (n,), generator=generator, device=generator.device)
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        return self.centres[rows] + self.scale * noise
