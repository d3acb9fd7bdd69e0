"""What a boundary is: a density that fake codes are drawn from, fitted to real codes."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import SamplableDensity
from latent_atlas.shapes import Latents

__all__ = ["Boundary"]


class Boundary(SamplableDensity):
    """A reference density r that fake codes are drawn from.

    `has_log_prob` is False where log r is unknown: such a boundary still trains a D_z.

    Attributes:
        name: The word that selects it.
        affine: Whether `whiten` turns r into N(0, I), which noise leaves as it is. Only then can
            the log-ratio be telescoped over noise levels.
        diagonal: Whether each coordinate of `whiten` depends on one coordinate of z.
        log_scale: log|det dz/dw| of w = `whiten`(z).
        covers: Whether r is positive wherever real codes are, so that log q = l + log r exists.
        warning: How log r is approximated, why there is none, or why this boundary suits these
            codes badly; None where log r is exact and nothing is to be said.
    """

    name: ClassVar[str]
    affine: ClassVar[bool] = False
    diagonal: ClassVar[bool] = True
    log_scale: float = 0.0
    covers: bool = True
    warning: str | None = None

    @classmethod
    @abstractmethod
    def fit(cls, real: Latents, config: MapConfig, *, generator: torch.Generator) -> "Boundary":
        """Fit the boundary to real codes, shape (n, d), that `fit_boundary` has checked."""

    @classmethod
    @abstractmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "Boundary":
        """Rebuild the boundary whose `tensors` these are."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything that `load` needs, as float tensors by name."""
