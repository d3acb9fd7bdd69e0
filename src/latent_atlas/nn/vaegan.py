"""The VAE-GAN: the four networks, which encode, decode and reconstruct."""

from torch import nn

from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.model import ModelConfig
from latent_atlas.nn.autoencoder import Decoder, Encoder, FrozenEncoder
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.nn.init import initial_weights
from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.shapes import Images, Latents

__all__ = ["VAEGAN"]


class VAEGAN(nn.Module):
    """E, G, D_x and D_z.

    Attributes:
        encoder, decoder, image_discriminator, latent_discriminator: The four networks.
        dimension: d.
    """

    def __init__(
        self, config: ModelConfig, map_config: MapConfig, *, seed: int = 0, frozen: bool = False
    ) -> None:
        """Arguments: the networks' shapes, the seed of their initial weights, and whether another
        network encodes the images, so that E takes their codes.
        """
        super().__init__()
        shape = (config.image_size, config.channels)
        size = {"width": config.width, "depth": config.depth}
        with initial_weights(seed):
            self.encoder = (
                FrozenEncoder(config.latent_dim)
                if frozen
                else Encoder(*shape, config.code_shape, **size, patch_size=config.patch_of_encoder)
            )
            self.decoder = Decoder(*shape, config.code_shape, **size, patch_size=config.patch_size)
            self.image_discriminator = ImageDiscriminator(
                *shape,
                width=config.discriminator_width,
                depth=config.depth,
                spectral=config.spectral_norm,
                patch_size=config.patch_size,
            )
            self.latent_discriminator = LatentDiscriminator(
                config.latent_dim, width=map_config.width, depth=map_config.depth
            )
        self.dimension = config.latent_dim

    def encode(self, images: Images) -> Latents:
        """Means of q(z|x), shape (n, d), for images (n, c, h, w) in [0, 1]."""
        return self.encoder(images)[0]

    def decode(self, latents: Latents) -> Images:
        """G(z), images (n, c, h, w) in [0, 1], for codes (n, d)."""
        return self.decoder(latents)

    def reconstruct(self, images: Images) -> Images:
        """G(mu(x)), the decoded mean of q(z|x)."""
        return self.decode(self.encode(images))
