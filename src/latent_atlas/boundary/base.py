"""What a boundary is: it draws fake codes, and knows their density or says why not."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.shapes import Latents, Values

__all__ = ["AffineBoundary", "AffineNormal", "Boundary"]


class Boundary(ABC):
    """A source of fake codes.

    Attributes:
        name: The word that selects it.
        dimension: d, the number of coordinates of a code.
        density: r as a normalised density, or None where none is known.
        covers: Whether r is positive wherever the population is, so that log q = l + log r has a value there.
        note: How log r is approximated, why there is none, or why this boundary serves these codes badly; None where
            log r is exact and nothing is to be said.
    """

    name: ClassVar[str]
    dimension: int
    density: Density | None
    covers: bool = True
    note: str | None = None

    @classmethod
    @abstractmethod
    def fit(cls, real: Latents, config: MapConfig, *, generator: torch.Generator) -> "Boundary":
        """Measure on real codes, shape (n, d), what the boundary needs; `fit_boundary` has looked at them before."""

    @classmethod
    @abstractmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "Boundary":
        """Rebuild the boundary whose `tensors` these are."""

    @abstractmethod
    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` fake codes, shape (n, d), on the generator's device, which is the boundary's."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything that `load` needs, as float tensors by name."""


class AffineBoundary(Boundary):
    r"""r is the image of N(0, I) under an affine map z = f(w): log r(z) = log N(w; 0, I) - log|det dz/dw|.

    In the coordinates w any rule made for the prior N(0, I) holds for r.

    Attributes:
        log_scale: log|det dz/dw|.
        diagonal: Whether each w is made of one z, so that what is independent in z stays so in w.
    """

    log_scale: float
    diagonal: ClassVar[bool]

    @abstractmethod
    def whiten(self, latents: Latents) -> Latents:
        """w of each code z, shape (n, d): standard normal for codes of the boundary."""

    @abstractmethod
    def unwhiten(self, latents: Latents) -> Latents:
        """z of each w, shape (n, d); the inverse of `whiten`."""

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """z_fake = f(w), w ~ N(0, I)."""
        return self.unwhiten(
            torch.randn(n, self.dimension, generator=generator, device=generator.device)
        )


class AffineNormal(Density):
    """The density of an affine boundary."""

    def __init__(self, boundary: AffineBoundary) -> None:
        """Arguments: the boundary whose map f is meant."""
        self.boundary = boundary
        self.dimension = boundary.dimension

    def log_prob(self, latents: Latents) -> Values:
        """log r(z) = log N(w; 0, I) - log|det dz/dw|."""
        white = self.boundary.whiten(latents)
        return StandardNormal(self.dimension).log_prob(white) - self.boundary.log_scale
