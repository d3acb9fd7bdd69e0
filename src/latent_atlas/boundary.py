"""Where z_fake comes from.

The boundary r decides what D_z learns to tell apart from the population, and log r turns its logit into a
density. A boundary whose log-density is unknown still trains a D_z; only `log_prob` and `score` are then closed.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from latent_atlas.config import BOUNDARIES
from latent_atlas.density import Density, StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents

__all__ = ["Boundary", "PriorBoundary", "make_boundary"]


class Boundary(ABC):
    """A source of fake codes.

    Attributes:
        name: The word that selects it.
        density: r as a normalised density, or None where none is known.
    """

    name: ClassVar[str]
    density: Density | None

    @abstractmethod
    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """Draw `n` fake codes, shape (n, d), on the generator's device."""


class PriorBoundary(Boundary):
    """r(z) = p(z) = N(0, I): D_z then compares the population with the prior."""

    name = "prior"

    def __init__(self, dimension: int) -> None:
        """Arguments: dimension, d, is 1 or more."""
        self.normal = StandardNormal(dimension)
        self.density = self.normal

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """z_fake ~ N(0, I)."""
        return self.normal.sample(n, generator=generator)


def make_boundary(name: str, dimension: int) -> Boundary:
    """Build the boundary called `name`, one of `config.BOUNDARIES`, for codes of `dimension` coordinates.

    Raises:
        UserError: there is no boundary of that name.
    """
    if name != PriorBoundary.name:
        raise UserError(f"no boundary '{name}'; choose {', '.join(BOUNDARIES)}")
    return PriorBoundary(dimension)
