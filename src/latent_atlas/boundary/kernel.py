"""A cloud around the codes: real codes, each displaced by about as much as its neighbours are away."""

import math

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.kernel import KernelDensity
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents

__all__ = ["KernelBoundary", "neighbour_distance"]

CENTRES = 2_000  # each costs one distance per evaluated code
MOST_CODES = 5_000  # whose neighbours are looked up
NEIGHBOUR = 10  # the rank of the neighbour whose distance is R, or
NEIGHBOUR_SHARE = 0.05  # of all codes, if that is more: a closer cloud would only repeat the codes


class KernelBoundary(Boundary):
    r"""z_fake = c + u, with c a random real code and u ~ N(0, R² / d I), whose root mean square length is R.

    In any dimension 95 % of the lengths or more are within 2 R, and in many dimensions all are near R. The displacement
    is normal, not cut off at R, because log r then has a gradient everywhere, which a ball's does not. At most 2,000
    codes, drawn once, serve as centres, and no others: r is that finite mixture, and its log-density exact.
    """

    name = "radius"

    def __init__(self, centres: Tensor, radius: Tensor) -> None:
        """Arguments: centres c, shape (m, d); and R, positive, shape ()."""
        self.centres = centres
        self.radius = radius
        self.dimension = centres.shape[1]
        self.scale = radius / math.sqrt(self.dimension)
        self.density = KernelDensity(centres, self.scale)

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "KernelBoundary":
        """Draw the centres, and measure R by `neighbour_distance` where `config.radius` is None."""
        codes = real[torch.randperm(len(real), generator=generator, device=generator.device)]
        radius = neighbour_distance(codes[:MOST_CODES]) if config.radius is None else config.radius
        return cls(codes[:CENTRES].clone(), torch.tensor(radius).to(real))

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "KernelBoundary":
        """Rebuild from centres and radius."""
        return cls(**tensors)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """A random centre, displaced."""
        rows = torch.randint(len(self.centres), (n,), generator=generator, device=generator.device)
        noise = torch.randn(n, self.dimension, generator=generator, device=generator.device)
        return self.centres[rows] + self.scale * noise

    def tensors(self) -> dict[str, Tensor]:
        """Centres and radius."""
        return {"centres": self.centres, "radius": self.radius}


def neighbour_distance(codes: Latents) -> float:
    """Median distance from a code to its k-th nearest other one, k being 5 % of the codes, or 10 if that is more.

    Repeated codes count once: the distance between copies is 0, and says nothing of the space between codes.

    Raises:
        UserError: no two codes are apart.
    """
    distinct = codes.unique(dim=0)
    neighbour = max(NEIGHBOUR, round(NEIGHBOUR_SHARE * len(distinct)))
    rank = min(neighbour, len(distinct) - 1) + 1  # the nearest is the code itself
    distances = [  # by differences: products would lose the distances of codes that are close and far from 0
        torch.cdist(part, distinct, compute_mode="donot_use_mm_for_euclid_dist")
        .topk(rank, largest=False)
        .values[:, -1]
        for part in distinct.split(500)
    ]
    median = torch.cat(distances).median().item()
    if median == 0:
        raise UserError(
            f"no two of {len(codes)} codes are apart, so no radius can be measured; set map.radius, or look at the "
            "encoder"
        )
    return median
