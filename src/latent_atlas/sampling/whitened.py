"""A density in other coordinates."""

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.shapes import Latents, Values

__all__ = ["PIECE", "Whitened", "round_coordinates"]

PIECE = 65_536  # codes per batch


class Whitened(Density):
    """log q(m + L w) as a density of w, up to a constant: white if q has moments m and L Lᵀ."""

    def __init__(self, density: Density, mean: Tensor, factor: Tensor) -> None:
        """Change the coordinates of a density.

        Arguments:
            density: q.
            mean: m, shape (d,).
            factor: L, shape (d, d), invertible.
        """
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

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """log q(m + L w), and Lᵀ times the gradient of log q there."""
        log_prob, score = self.density.log_prob_and_score(self.back(latents))
        return log_prob, score @ self.factor

    def noised(self, width: float) -> "Whitened":
        """The noised density in the same coordinates; the width is in the units of the codes."""
        return Whitened(self.density.noised(width), self.mean, self.factor)


def round_coordinates(density: Density, device: torch.device) -> Whitened:
    """The density in the coordinates of its `whiten`, in which its noise levels add N(0, I)."""
    origin = density.unwhiten(torch.zeros(1, density.dimension, device=device))
    axes = density.unwhiten(torch.eye(density.dimension, device=device)) - origin
    return Whitened(density, origin[0], axes.T)
