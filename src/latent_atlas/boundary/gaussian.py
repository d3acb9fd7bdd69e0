"""Affine images of N(0, I): the prior itself, and Gaussians fitted to codes that live far from it."""

import torch
from torch import Tensor

from latent_atlas.boundary.base import AffineBoundary, AffineNormal
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import StandardNormal
from latent_atlas.density.moments import cholesky, extent
from latent_atlas.shapes import Latents

__all__ = ["DiagonalBoundary", "GaussianBoundary", "PriorBoundary"]


class PriorBoundary(AffineBoundary):
    """r(z) = p(z) = N(0, I): D_z then compares the population with the prior."""

    name = "prior"
    diagonal = True

    def __init__(self, dimension: int) -> None:
        """Arguments: dimension, d, is 1 or more."""
        self.dimension = dimension
        self.log_scale = 0.0
        self.density = StandardNormal(dimension)

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "PriorBoundary":
        """The codes tell it their dimension, nothing else."""
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

    def tensors(self) -> dict[str, Tensor]:
        """None are needed."""
        return {}


class DiagonalBoundary(AffineBoundary):
    """r(z) = N(m, diag s²), with the mean and the standard deviation of each coordinate of the codes."""

    name = "gaussian-diagonal"
    diagonal = True

    def __init__(self, mean: Tensor, scales: Tensor) -> None:
        """Arguments: m, shape (d,); and s, shape (d,), positive."""
        self.mean = mean
        self.scales = scales
        self.dimension = len(mean)
        self.log_scale = scales.log().sum().item()
        self.density = AffineNormal(self)

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "DiagonalBoundary":
        """Measure mean and standard deviations, a constant coordinate's being 1e-4 of the average one."""
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


class GaussianBoundary(AffineBoundary):
    """r(z) = N(m, L Lᵀ), with the mean and the covariance of the codes.

    Examples:
        >>> boundary = GaussianBoundary(torch.tensor([3.0, 0.0]), torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> boundary.whiten(torch.tensor([[5.0, 1.0]]))
        tensor([[1., 0.]])
    """

    name = "gaussian"
    diagonal = False

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        """Arguments: m, shape (d,); and L, shape (d, d), lower-triangular with a positive diagonal."""
        self.mean = mean
        self.factor = factor
        self.dimension = len(mean)
        self.log_scale = factor.diagonal().log().sum().item()
        self.density = AffineNormal(self)

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "GaussianBoundary":
        """Measure mean and covariance, the latter shrunk so that few codes or constant coordinates cannot break it."""
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
