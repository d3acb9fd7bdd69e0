"""Real codes, each displaced by about as much as its neighbours are away."""

import math

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.kernel import KernelDensity
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, batched

__all__ = ["KernelBoundary", "neighbour_distance"]

CENTRES = 2_000  # each costs one distance per evaluated code
MOST_CODES = 5_000  # whose neighbours are looked up
# The rank of the neighbour whose distance is R: 10, or 5 % of all codes if that is more, since
# smaller displacements would only repeat the codes.
NEIGHBOUR, NEIGHBOUR_SHARE = 10, 0.05


class KernelBoundary(KernelDensity, Boundary):
    r"""z_fake = c + u, with c a random real code and u ~ N(0, R² / d I).

    R is the root mean square length of u. In any dimension 95 % of the lengths or more are within
    2 R, and in many dimensions all are near R. The displacement is normal, not cut off at R,
    because log r then has a gradient everywhere, which a ball's does not. At most 2,000 codes,
    drawn once, serve as centres: r is that finite mixture, and its log-density exact.
    """

    name = "radius"

    def __init__(self, centres: Tensor, radius: Tensor) -> None:
        """Arguments: centres c, shape (m, d); and R, positive, shape ()."""
        super().__init__(centres, radius / math.sqrt(centres.shape[1]))
        self.radius = radius

    @classmethod
    def fit(
        cls, real: Latents, config: MapConfig, *, generator: torch.Generator
    ) -> "KernelBoundary":
        """Draw the centres, and measure R by `neighbour_distance` if `config.radius` is None."""
        codes = real[torch.randperm(len(real), generator=generator, device=generator.device)]
        radius = neighbour_distance(codes[:MOST_CODES]) if config.radius is None else config.radius
        return cls(codes[:CENTRES].clone(), torch.tensor(radius).to(real))

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "KernelBoundary":
        """Rebuild from centres and radius."""
        return cls(**tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Centres and radius."""
        return {"centres": self.centres, "radius": self.radius}


def neighbour_distance(codes: Latents) -> float:
    """Median distance from a code to its k-th nearest other one, k = max(10, 5 % of the codes).

    Repeated codes count once: the distance between copies is 0, and says nothing of the space
    between codes.

    Raises:
        UserError: no two codes are apart.
    """
    distinct = codes.unique(dim=0)
    neighbour = max(NEIGHBOUR, round(NEIGHBOUR_SHARE * len(distinct)))
    rank = min(neighbour, len(distinct) - 1) + 1  # the nearest is the code itself

    def distance(part: Tensor) -> Tensor:
        # By differences: products would lose the distances of codes that are close and far from 0.
        all_distances = torch.cdist(part, distinct, compute_mode="donot_use_mm_for_euclid_dist")
        return all_distances.topk(rank, largest=False).values[:, -1]

    median = batched(distance, distinct, 500).median().item()
    if median == 0:
        raise UserError(
            f"the {len(codes)} codes have no distances between them, so the radius cannot be "
            "measured; set map.radius, or look at the encoder"
        )
    return median
