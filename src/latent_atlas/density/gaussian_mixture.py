"""Mixtures of Gaussians, the world that most others are arranged from."""

import math

import torch
from torch import Tensor

from latent_atlas.density.base import SamplableDensity, noise_width
from latent_atlas.shapes import Latents, Values

__all__ = ["GaussianMixture"]


class GaussianMixture(SamplableDensity):
    r"""q(z) = Σ_k w_k N(z; m_k, diag s_k²).

    Examples:
        >>> means = torch.tensor([[-2.0, 0.0], [2.0, 0.0]])
        >>> world = GaussianMixture(torch.tensor([0.5, 0.5]), means, torch.tensor([0.5, 0.5]))
        >>> world.log_prob(torch.tensor([[2.0, 0.0]])).exp()  # on a centre: half of 1 / 2π s²
        tensor([0.3183])
    """

    noise_levels = True

    def __init__(self, weights: Tensor, means: Tensor, scales: Tensor) -> None:
        """Arguments: weights (k,) are positive and sum to 1, means are (k, d), scales (k,) or (k, d) are positive."""
        self.weights = weights
        self.means = means
        self.scales = scales
        self.dimension = means.shape[1]

    def _parameters(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """w (k,), m (k, d) and s (k, d), with the precision and on the device of `like`."""
        scales = self.scales.to(like).reshape(len(self.means), -1).expand_as(self.means)
        return self.weights.to(like), self.means.to(like), scales

    def _log_parts(self, latents: Latents) -> Tensor:
        """log w_k N(z; m_k, diag s_k²), shape (n, k)."""
        weights, means, scales = self._parameters(latents)
        precisions = scales.pow(-2)
        # |(z - m) / s|² is multiplied out: the differences themselves would be a tensor of (n, k, d).
        squares = latents.square() @ precisions.T - 2 * latents @ (means * precisions).T
        squares = squares + (means.square() * precisions).sum(dim=1)
        log_volumes = scales.log().sum(dim=1) + 0.5 * self.dimension * math.log(2 * math.pi)
        return weights.log() - 0.5 * squares - log_volumes

    def log_prob(self, latents: Latents) -> Values:
        """Log-density in nats, by log-sum-exp over the parts."""
        return self._log_parts(latents).logsumexp(dim=1)

    def score(self, latents: Latents) -> Latents:
        """Σ_k P(k|z) (m_k - z) / s_k²."""
        _, means, scales = self._parameters(latents)
        shares, precisions = self._log_parts(latents).softmax(dim=1), scales.pow(-2)
        return shares @ (means * precisions) - (shares @ precisions) * latents

    def noised(self, width: float) -> "GaussianMixture":
        """The same mixture with s² + width² in place of s²."""
        return GaussianMixture(
            self.weights, self.means, (self.scales.square() + noise_width(width) ** 2).sqrt()
        )

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` codes, shape (n, d), on the generator's device."""
        weights = self.weights.to(generator.device)
        part = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        _, means, scales = self._parameters(noise)
        return means[part] + scales[part] * noise
