"""The box that holds the codes, evenly filled."""

import math

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import Density
from latent_atlas.density.moments import cholesky, extent
from latent_atlas.shapes import Latents, Values

__all__ = ["BoxBoundary", "Uniform"]

HOPELESS = 20.0  # nats of KL(q || r) above which a single classifier's loss is near 0 and its gradient arbitrary


class Uniform(Density):
    """r(z) = 1 / V inside the box low <= z <= high of volume V, 0 outside.

    Examples:
        >>> Uniform(torch.zeros(2), torch.full((2,), 4.0)).log_prob(torch.tensor([[1.0, 1.0], [5.0, 1.0]]))
        tensor([-2.7726,    -inf])
    """

    def __init__(self, low: Tensor, high: Tensor) -> None:
        """Arguments: the box's corners, both (d,), low below high."""
        self.low = low
        self.high = high
        self.dimension = len(low)

    def log_prob(self, latents: Latents) -> Values:
        """-log V inside, -inf outside."""
        inside = ((latents >= self.low) & (latents <= self.high)).all(dim=1)
        # Without the zero, autograd would refuse the constant where it has to answer with a gradient of 0.
        flat = 0 * latents.sum(dim=1) - (self.high - self.low).log().sum()
        return torch.where(inside, flat, -math.inf)

    def score(self, latents: Latents) -> Latents:
        """0: inside r is flat, and outside nothing points to it."""
        return torch.zeros_like(latents)


class BoxBoundary(Boundary):
    """r is uniform over the axis-aligned box that holds the codes, and a margin around them."""

    name = "box"

    def __init__(self, low: Tensor, high: Tensor, excess: Tensor) -> None:
        """Build the box between two corners.

        Arguments:
            low: Lower end of each side, shape (d,).
            high: Upper end, shape (d,).
            excess: log V less the entropy of the Gaussian fitted to the codes, in nats: a lower estimate of KL(q || r).
        """
        self.low = low
        self.high = high
        self.excess = excess
        self.dimension = len(low)
        self.density = Uniform(low, high)
        if excess > HOPELESS:
            self.note = (
                f"in {len(low)} dimensions the box is e^{excess.item():.0f} times as large as the population, so fake "
                f"codes hardly ever come near it and one D_z saturates (KL(q || r) above {HOPELESS:.0f} nats); choose "
                "another boundary"
            )

    @classmethod
    def fit(cls, real: Latents, config: MapConfig, *, generator: torch.Generator) -> "BoxBoundary":
        """Measure the box: each side from the least to the greatest coordinate, widened at both ends.

        The margin is `config.box_margin` of the side. A constant coordinate's side is the floor of `extent`.
        """
        low, high = real.amin(dim=0), real.amax(dim=0)
        side = torch.maximum(high - low, extent(real)[1].to(real))
        widened = 0.5 * side * (1 + 2 * config.box_margin)
        middle = 0.5 * (low + high)
        low, high = torch.minimum(low, middle - widened), torch.maximum(high, middle + widened)
        entropy = cholesky(real)[1].diagonal().log().sum().item() + 0.5 * len(low) * math.log(
            2 * math.pi * math.e
        )
        return cls(low, high, (high - low).log().sum() - entropy)

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "BoxBoundary":
        """Rebuild from corners and excess."""
        return cls(**tensors)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """z_fake = low + u (high - low), u uniform on the unit cube."""
        share = torch.rand(n, self.dimension, generator=generator, device=generator.device)
        # Rounding may carry the sum past the upper end, where the density is 0.
        return torch.minimum(self.low + share * (self.high - self.low), self.high)

    def tensors(self) -> dict[str, Tensor]:
        """Corners and excess."""
        return {"low": self.low, "high": self.high, "excess": self.excess}
