"""Points between two real codes, where a dense latent space shows mixtures of images."""

from typing import NoReturn

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.membership import points_between
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents

__all__ = ["BetweenBoundary"]

CODES = 10_000  # that are kept to draw pairs from


class BetweenBoundary(Boundary):
    """z_fake lies between two random real codes, on their line or on their turn round the mean.

    See `density.membership.points_between`. Its density is an integral over all pairs, without a
    closed form: this D_z gives realness and confusion, and no log q.
    """

    name = "between"
    has_log_prob = False
    covers = False
    warning = (
        "its density is an integral over all pairs of codes, without a closed form, so there is no "
        "log-density of the codes: paths, samples and anomaly scores need another boundary"
    )

    def __init__(self, codes: Latents) -> None:
        """Arguments: real codes, shape (m, d)."""
        self.codes = codes
        self.dimension = codes.shape[1]

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "BetweenBoundary":
        """Keep 10,000 of the codes; no setting of the map matters."""
        order = torch.randperm(len(real), generator=generator, device=generator.device)
        return cls(real[order[:CODES]].clone())

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "BetweenBoundary":
        """Rebuild from the codes."""
        return cls(**tensors)

    def log_prob(self, latents: Latents) -> NoReturn:
        """None has a value.

        Raises:
            UserError: always.
        """
        raise UserError(f"boundary '{self.name}' has no log-density: {self.warning}")

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """See `points_between`."""
        return points_between(self.codes, n, self.codes.mean(dim=0), generator=generator)

    def tensors(self) -> dict[str, Tensor]:
        """The codes."""
        return {"codes": self.codes}
