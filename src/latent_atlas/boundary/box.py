"""The uniform density over the box that holds the codes."""

import math

import torch
from torch import Tensor

from latent_atlas.boundary.base import Boundary
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.moments import cholesky, extent
from latent_atlas.shapes import Latents, Values

__all__ = ["BoxBoundary"]

# Nats of KL(q || r) above which a single classifier's loss is near 0 and its gradient arbitrary.
HOPELESS = 20.0


class BoxBoundary(Boundary):
    """r(z) = 1 / V inside the box low <= z <= high of volume V, 0 outside.

    Fitted, it is the axis-aligned box that holds the codes, and a margin around them.

    Examples:
        >>> low, high = torch.zeros(2), torch.full((2,), 4.0)
        >>> box = BoxBoundary(low, high, torch.tensor(0.0))
        >>> box.log_prob(torch.tensor([[1.0, 1.0], [5.0, 1.0]]))
        tensor([-2.7726,    -inf])
    """

    name = "box"

    def __init__(self, low: Tensor, high: Tensor, excess: Tensor) -> None:
        """Build the box between two corners.

        Arguments:
            low: Lower end of each side, shape (d,).
            high: Upper end, above it, shape (d,).
            excess: log V less the entropy of the Gaussian fitted to the codes, in nats, shape ():
                a lower estimate of KL(q || r).
        """
        self.low = low
        self.high = high
        self.excess = excess
        self.dimension = len(low)
        if excess > HOPELESS:
            self.warning = (
                f"in {len(low)} dimensions the box has e^{excess.item():.0f} times the volume of "
                "the data distribution, so fake codes hardly ever come near it and one D_z "
                f"saturates (KL(q || r) above {HOPELESS:.0f} nats); choose another boundary"
            )

    @classmethod
    def fit(cls, real: Latents, config: MapConfig, *, generator: torch.Generator) -> "BoxBoundary":
        """Measure each side from the least to the greatest coordinate, and widen it at both ends.

        The margin is `config.box_margin` of the side. The side of a constant coordinate is its
        least standard deviation by `density.moments.extent`.
        """
        low, high = real.amin(dim=0), real.amax(dim=0)
        side = torch.maximum(high - low, extent(real)[1].to(real))
        widened = 0.5 * side * (1 + 2 * config.box_margin)
        middle = 0.5 * (low + high)
        low, high = torch.minimum(low, middle - widened), torch.maximum(high, middle + widened)
        log_scale = cholesky(real)[1].diagonal().log().sum().item()
        entropy = log_scale + 0.5 * len(low) * math.log(2 * math.pi * math.e)
        return cls(low, high, (high - low).log().sum() - entropy)

    @classmethod
    def load(cls, dimension: int, tensors: dict[str, Tensor]) -> "BoxBoundary":
        """Rebuild from corners and excess."""
        return cls(**tensors)

    def log_prob(self, latents: Latents) -> Values:
        """-log V inside, -inf outside."""
        inside = ((latents >= self.low) & (latents <= self.high)).all(dim=1)
        # Without the zero, autograd would refuse a constant, whose gradient is 0.
        flat = 0 * latents.sum(dim=1) - (self.high - self.low).log().sum()
        return torch.where(inside, flat, -math.inf)

    def score(self, latents: Latents) -> Latents:
        """0: r is constant inside, and -inf has no gradient outside."""
        return torch.zeros_like(latents)

    def sample(self, n: int, *, generator: torch.Generator) -> Latents:
        """z_fake = low + u (high - low), u uniform on the unit cube."""
        share = torch.rand(n, self.dimension, generator=generator, device=generator.device)
        # Rounding may carry the sum past the upper end, where the density is 0.
        return torch.minimum(self.low + share * (self.high - self.low), self.high)

    def tensors(self) -> dict[str, Tensor]:
        """Corners and excess."""
        return {"low": self.low, "high": self.high, "excess": self.excess}
