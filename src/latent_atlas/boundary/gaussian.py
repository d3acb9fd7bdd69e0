"""Affine images of N(0, I): the prior itself, and Gaussians fitted to codes far from it."""

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.affine_normal import AffineNormal
from latent_atlas.density.moments import cholesky, extent
from latent_atlas.shapes import Latents

__all__ = ["DiagonalBoundary", "GaussianBoundary", "PriorBoundary"]


class PriorBoundary(AffineNormal, Boundary):
    """r(z) = p(z) = N(0, I): D_z then compares the data distribution with the prior."""

    name = "prior"
    affine = True

    def __init__(self, dimension: int) -> None:
        """Arguments: dimension, d, is 1 or more."""
        self.dimension = dimension
        self.log_scale = 0.0

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "PriorBoundary":
        """Use the dimension of the codes and nothing else."""
        return cls(real.shape[1])

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "PriorBoundary":
        """It has no tensors."""
        return cls(dimension)

    def whiten(self, latents: Latents) -> Latents:
        """w = z."""
        return latents

    def unwhiten(self, latents: Latents) -> Latents:
        """z = w."""
        return latents

    def score(self, latents: Latents) -> Latents:
        """-z."""
        return -latents

    def tensors(self) -> dict[str, Tensor]:
        """None are needed."""
        return {}


class DiagonalBoundary(AffineNormal, Boundary):
    """r(z) = N(m, diag s²), with the codes' mean and standard deviation of each coordinate."""

    name = "gaussian-diagonal"
    affine = True

    def __init__(self, mean: Tensor, scales: Tensor) -> None:
        """Arguments: m, shape (d,); and s, shape (d,), positive."""
        self.mean = mean
        self.scales = scales
        self.dimension = len(mean)
        self.log_scale = scales.log().sum().item()

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "DiagonalBoundary":
        """Measure means and standard deviations by `density.moments.extent`."""
        mean, scales = extent(real)
        return cls(mean.to(real), scales.to(real))

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "DiagonalBoundary":
        """Rebuild from mean and scales."""
        return cls(**tensors)

    def whiten(self, latents: Latents) -> Latents:
        """w = (z - m) / s."""
        return (latents - self.mean) / self.scales

    def unwhiten(self, latents: Latents) -> Latents:
        """z = m + s w."""
        return self.mean + self.scales * latents

    def tensors(self) -> dict[str, Tensor]:
        """Mean and scales."""
        return {"mean": self.mean, "scales": self.scales}


class GaussianBoundary(AffineNormal, Boundary):
    """r(z) = N(m, L Lᵀ), with the mean and the covariance of the codes.

    Examples:
        >>> factor = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
        >>> boundary = GaussianBoundary(torch.tensor([3.0, 0.0]), factor)
        >>> boundary.whiten(torch.tensor([[5.0, 1.0]]))
        tensor([[1., 0.]])
    """

    name = "gaussian"
    affine = True
    diagonal = False

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        """Arguments: m, shape (d,); L, shape (d, d), lower-triangular, its diagonal positive."""
        self.mean = mean
        self.factor = factor
        self.dimension = len(mean)
        self.log_scale = factor.diagonal().log().sum().item()

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "GaussianBoundary":
        """Measure mean and covariance by `density.moments.cholesky`, for any number of codes."""
        mean, factor = cholesky(real)
        return cls(mean.to(real), factor.to(real))

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "GaussianBoundary":
        """Rebuild from mean and factor."""
        return cls(**tensors)

    def whiten(self, latents: Latents) -> Latents:
        """w = L⁻¹ (z - m)."""
        offsets = latents - self.mean
        return torch.linalg.solve_triangular(self.factor.to(offsets), offsets.T, upper=False).T

    def unwhiten(self, latents: Latents) -> Latents:
        """z = m + L w."""
        return self.mean + latents @ self.factor.to(latents).T

    def tensors(self) -> dict[str, Tensor]:
        """Mean and factor."""
        return {"mean": self.mean, "factor": self.factor}
