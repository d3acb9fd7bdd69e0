"""D_x as a map of Z: what a discriminator of images says of G(z), beside D_z."""

from collections.abc import Callable

import torch
from torch import Tensor

from latent_atlas.density.base import DensityRatioModel, StandardNormal
from latent_atlas.shapes import Images, Latents, Values

__all__ = ["PulledBack"]

PIECE = 2_048  # codes decoded at a time


class PulledBack(DensityRatioModel):
    """The energy of discriminator-driven latent sampling: log q(z) = l_x(G(z)) + log p(z), up to a constant.

    At its optimum against decoded prior codes, D_x's logit is l_x(x) = log p_data(x) - log p_G(x). Weighting the prior
    by exp l_x(G(z)) then makes decoded codes as likely as data, as far as G can make them; the boundary is the prior.

    References:
        Your GAN is Secretly an Energy-based Model and You Should Use Discriminator Driven Latent Sampling, Che et al.
        2020.
    """

    def __init__(
        self,
        decode: Callable[[Latents], Images],
        discriminator: Callable[[Images], Tensor],
        dimension: int,
    ) -> None:
        """Arguments: decode is G, differentiable; discriminator gives logits of images; dimension is d."""
        self.decode = decode
        self.discriminator = discriminator
        self.dimension = dimension

    def logit(self, latents: Latents) -> Values:
        """l_x(G(z))."""
        return torch.cat([self.discriminator(self.decode(z)) for z in latents.split(PIECE)])

    def sample_boundary(self, n: int, *, generator: torch.Generator) -> Latents:
        """z ~ p."""
        return StandardNormal(self.dimension).sample(n, generator=generator)

    def log_prob(self, latents: Latents) -> Values:
        """l_x(G(z)) + log p(z), unnormalised."""
        return self.logit(latents) + StandardNormal(self.dimension).log_prob(latents)
