"""A normal kernel at each of many centres."""

import math

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.shapes import Latents, Values

__all__ = ["KernelDensity"]

_BATCH = 1_024  # codes whose nearness to all centres is held in memory at once


class KernelDensity(Density):
    r"""r(z) = 1/m Σ_i N(z; c_i, s² I): a normal kernel at each of m centres."""

    def __init__(self, centres: Tensor, scale: Tensor) -> None:
        """Arguments: centres c, shape (m, d); and s, positive, shape ()."""
        self.scale = scale
        self.dimension = centres.shape[1]
        self._origin = centres.mean(dim=0)  # far from 0 the products below would cancel in float32
        self._centres = (centres - self._origin) / scale

    def _nearness(self, z: Tensor) -> Tensor:
        """z·c_i - |c_i|² / 2 in units of s, shape (n, m): (|z|² - |z - c_i|²) / 2, from one matrix product."""
        c = self._centres.to(z)
        return torch.addmm(-0.5 * c.square().sum(dim=1), z, c.T)

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over all centres."""
        scaled = (latents - self._origin) / self.scale
        sums = torch.cat([self._nearness(z).logsumexp(dim=1) for z in scaled.split(_BATCH)])
        log_volume = self.dimension * (self.scale.log() + 0.5 * math.log(2 * math.pi))
        return sums - 0.5 * scaled.square().sum(dim=1) - log_volume - math.log(len(self._centres))

    def score(self, latents: Latents) -> Latents:
        """(Σ_i P(i|z) c_i - z) / s²."""
        scaled = (latents - self._origin) / self.scale
        pulls = torch.cat(
            [self._nearness(z).softmax(dim=1) @ self._centres.to(z) for z in scaled.split(_BATCH)]
        )
        return (pulls - scaled) / self.scale
