"""The networks held together: encode, decode, reconstruct. No training."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config, ModelConfig
from latent_atlas.nn.autoencoder import Decoder, Encoder
from latent_atlas.nn.image_discriminator import ImageDiscriminator
from latent_atlas.nn.init import initial_weights
from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.shapes import Images, Latents

__all__ = ["Footprint", "Model", "footprint", "reparameterise"]


def reparameterise(means: Latents, log_variances: Latents, *, generator: torch.Generator) -> Latents:
    """z = mu + eps · sigma, eps ~ N(0, I): samples of q(z|x), differentiable in both arguments, shape (n, d)."""
    noise = torch.randn(means.shape, generator=generator, device=means.device, dtype=means.dtype)
    return means + noise * (0.5 * log_variances).exp()


class Model(nn.Module):
    """E, G, D_x and D_z.

    Attributes:
        encoder, decoder, image_discriminator, latent_discriminator: The four networks.
        dimension: d.
    """

    def __init__(self, config: ModelConfig, map_config: MapConfig, *, seed: int = 0) -> None:
        """Arguments: the networks' shapes, and the seed of their initial weights."""
        super().__init__()
        shape = (config.image_size, config.channels)
        size = {"width": config.width, "depth": config.depth}
        with initial_weights(seed):
            self.encoder = Encoder(*shape, config.latent_dim, **size)
            self.decoder = Decoder(*shape, config.latent_dim, **size)
            self.image_discriminator = ImageDiscriminator(
                *shape, width=config.discriminator_width, depth=config.depth, spectral=config.spectral_norm
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
        """G(mu(x)), without the noise of q(z|x)."""
        return self.decode(self.encode(images))


@dataclass(frozen=True)
class Footprint:
    """What a configuration costs.

    Attributes:
        parameters: Number of weights by network.
        training_bytes: Estimate of the memory for training: weights, gradients, Adam's two moments, averages, and
            the activations of one step.
    """

    parameters: dict[str, int]
    training_bytes: int


def footprint(config: Config) -> Footprint:
    """Count a configuration's weights and activations without allocating them."""
    with torch.device("meta"):
        model = Model(config.model, config.map)
        image = torch.zeros(1, config.model.channels, config.model.image_size, config.model.image_size)
    counts = {name: sum(w.numel() for w in network.parameters()) for name, network in model.named_children()}
    activations = dict.fromkeys(counts, 0)

    def count(name: str, output: object) -> None:
        assert isinstance(output, Tensor)
        activations[name] += output.numel()

    for name, network in model.named_children():
        for layer in network.modules():
            if not list(layer.children()):
                layer.register_forward_hook(lambda _layer, _given, output, name=name: count(name, output))
    with torch.no_grad():
        model.reconstruct(image)
        model.image_discriminator(image)
    # D_x sees real and generated images, and its penalties keep the graph of a gradient beside that of the value.
    passes = {"encoder": 1, "decoder": 1.5, "image_discriminator": 4, "latent_discriminator": 2}
    passes["decoder"] += 7 if config.train.isometry > 0 else 0  # the graph of J_G v, as measured
    per_image = sum(passes[name] * activations[name] for name in counts)
    return Footprint(counts, 4 * int(5 * sum(counts.values()) + config.train.batch_size * per_image))
