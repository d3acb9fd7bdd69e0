"""What a world is: a normalised density that samples itself and knows how far it is from the prior."""

import math
from dataclasses import dataclass

import torch

from latent_atlas.density import Source, StandardNormal

__all__ = ["Divergence", "World"]


@dataclass(frozen=True)
class Divergence:
    """A Kullback-Leibler divergence in nats.

    Attributes:
        nats: Its value.
        error: Standard error of an estimate in nats; 0 where the value is exact.
    """

    nats: float
    error: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether the value is a closed form and not an estimate."""
        return self.error == 0


class World(Source):
    """A normalised density in closed form that can be sampled exactly."""

    def kl_to_prior(self, *, generator: torch.Generator, samples: int = 50_000) -> Divergence:
        """KL(q || p) = E_q[log q(z) - log p(z)] to the prior p = N(0, I).

        The mean over draws, in float64, unless a closed form is given.

        Arguments:
            generator: Draws the codes; unused by a closed form.
            samples: How many, 2 or more; the error falls as 1 / sqrt(samples).

        Returns:
            The divergence in nats, with its standard error.
        """
        # In float32 the rounding of two numbers near -d would hide a small divergence; mps has no float64.
        z = self.sample(samples, generator=generator).to("cpu").double()
        ratio = self.log_prob(z) - StandardNormal(self.dimension).log_prob(z)
        return Divergence(ratio.mean().item(), ratio.std().item() / math.sqrt(samples))
