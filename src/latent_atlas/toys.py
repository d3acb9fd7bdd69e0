"""Exact worlds: densities with closed-form log_prob, score and sample.

A learned map is compared with these before it is believed, and journeys are tested on them with no network
in sight.
"""

import math

import torch
from torch import Tensor

from latent_atlas.density import Density
from latent_atlas.shapes import Latents, Values

__all__ = ["GaussianMixture", "arc", "two_clusters"]


class GaussianMixture(Density):
    r"""q(z) = Σ_k w_k N(z; m_k, s_k² I).

    Example:
        >>> world = two_clusters(dimension=2, distance=4.0)
        >>> world.log_prob(torch.tensor([[2.0, 0.0]])).exp()  # on a centre: half of 1 / 2π s², s = 1/2
        tensor([0.3183])
    """

    def __init__(self, weights: Tensor, means: Tensor, scales: Tensor) -> None:
        """Arguments: weights (k,) are positive and sum to 1, means are (k, d), scales (k,) are positive."""
        self.weights = weights
        self.means = means
        self.scales = scales
        self.dimension = means.shape[1]

    def _log_parts(self, latents: Latents) -> Tensor:
        """log w_k N(z; m_k, s_k² I), shape (n, k)."""
        squares = (latents[:, None] - self.means).square().sum(dim=2)
        log_volume = self.dimension * (self.scales.log() + 0.5 * math.log(2 * math.pi))
        return self.weights.log() - 0.5 * squares / self.scales.square() - log_volume

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over the parts."""
        return self._log_parts(latents).logsumexp(dim=1)

    def score(self, latents: Latents) -> Latents:
        """Σ_k P(k|z) (m_k - z) / s_k²."""
        shares = self._log_parts(latents).softmax(dim=1) / self.scales.square()
        return shares @ self.means - shares.sum(dim=1, keepdim=True) * latents

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d), on the generator's device."""
        part = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        return self.means[part] + self.scales[part, None] * noise


def two_clusters(dimension: int, distance: float, scale: float = 0.5) -> GaussianMixture:
    """Two equal clusters `distance` apart along the first axis, each N(m, scale² I)."""
    means = torch.zeros(2, dimension)
    means[0, 0], means[1, 0] = -distance / 2, distance / 2
    return GaussianMixture(torch.tensor([0.5, 0.5]), means, torch.full((2,), scale))


def arc(count: int = 9, radius: float = 2.0, scale: float = 0.35) -> GaussianMixture:
    """A half ring in the plane: `count` equal Gaussians from (radius, 0) over (0, radius) to (-radius, 0).

    The straight line between two of its places crosses the void under the arc.
    """
    angles = torch.linspace(0, math.pi, count)
    means = radius * torch.stack([angles.cos(), angles.sin()], dim=1)
    return GaussianMixture(torch.full((count,), 1 / count), means, torch.full((count,), scale))
