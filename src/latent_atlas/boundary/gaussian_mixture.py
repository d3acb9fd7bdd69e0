"""A mixture of Gaussians fitted to the codes."""

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.gaussian_mixture import GaussianMixture, fit_gaussian_mixture
from latent_atlas.shapes import Latents

__all__ = ["GaussianMixtureBoundary"]


class GaussianMixtureBoundary(GaussianMixture, Boundary):
    """r is a mixture of Gaussians of full covariance, fitted by `fit_gaussian_mixture`."""

    name = "gaussian-mixture"

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "GaussianMixtureBoundary":
        """Fit as many Gaussians as lower the BIC; no setting of the map matters."""
        fitted = fit_gaussian_mixture(real, generator=generator)
        return cls(fitted.weights, fitted.means, fitted.scales)

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "GaussianMixtureBoundary":
        """Rebuild from weights, means and scales."""
        return cls(**tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, means and scales."""
        return {"weights": self.weights, "means": self.means, "scales": self.scales}
