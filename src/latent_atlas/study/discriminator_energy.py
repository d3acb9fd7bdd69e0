"""D_x as a map of Z: the energy that an image discriminator gives to decoded codes."""

from collections.abc import Callable

from torch import Tensor

from latent_atlas.density.base import DensityRatioModel, StandardNormal
from latent_atlas.shapes import Images, Latents, Values, batched

__all__ = ["DiscriminatorEnergy"]

PIECE = 2_048  # codes decoded at a time


class DiscriminatorEnergy(DensityRatioModel):
    """Discriminator-driven latent sampling: log q(z) = l_x(G(z)) + log p(z), up to a constant.

    The optimal D_x against decoded prior codes has the logit l_x(x) = log p_data(x) - log p_G(x).
    Weighting the prior by exp l_x(G(z)) then gives decoded codes the density of the data, as far as
    G can reach it. The boundary is the prior.

    References:
        Your GAN is Secretly an Energy-based Model and You Should Use Discriminator Driven Latent
        Sampling, Che et al. 2020.
    """

    def __init__(
        self,
        decode: Callable[[Latents], Images],
        discriminator: Callable[[Images], Tensor],
        dimension: int,
    ) -> None:
        """Arguments: decode, a differentiable G; discriminator, logits of images; dimension, d."""
        self.decode = decode
        self.discriminator = discriminator
        self.dimension = dimension
        self.boundary = StandardNormal(dimension)

    def logit(self, latents: Latents) -> Values:
        """l_x(G(z))."""
        return batched(lambda z: self.discriminator(self.decode(z)), latents, PIECE)

    def log_prob(self, latents: Latents) -> Values:
        """l_x(G(z)) + log p(z), unnormalised."""
        return self.logit(latents) + self.boundary.log_prob(latents)
