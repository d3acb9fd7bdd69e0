"""The weights and the memory that a configuration needs, counted without allocating them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.config.run import Config
from latent_atlas.nn.vaegan import VAEGAN

__all__ = ["Footprint", "footprint"]


@dataclass(frozen=True)
class Footprint:
    """The size of a configuration.

    Attributes:
        parameters: Number of weights by network.
        training_bytes: Estimated memory for training: weights, gradients, Adam's two moments,
            averaged weights, and the activations of one step.
    """

    parameters: dict[str, int]
    training_bytes: int


def footprint(config: Config) -> Footprint:
    """Count a configuration's weights and activations without allocating them."""
    with torch.device("meta"):
        model = VAEGAN(config.model, config.map)
        image = torch.zeros(
            1, config.model.channels, config.model.image_size, config.model.image_size
        )
    counts = {
        name: sum(w.numel() for w in network.parameters())
        for name, network in model.named_children()
    }
    activations = dict.fromkeys(counts, 0)

    def count(name: str, output: object) -> None:
        assert isinstance(output, Tensor)
        activations[name] += output.numel()

    for name, network in model.named_children():
        for layer in network.modules():
            if not list(layer.children()):
                layer.register_forward_hook(
                    lambda _layer, _given, output, name=name: count(name, output)
                )
    with torch.no_grad():
        model.reconstruct(image)
        model.image_discriminator(image)
    # D_x is given real and generated images, and its penalties keep the graph of a gradient beside
    # that of the value.
    passes = {"encoder": 1, "decoder": 1.5, "image_discriminator": 4, "latent_discriminator": 2}
    passes["decoder"] += 7 if config.train.isometry > 0 else 0  # the graph of J_G v, as measured
    per_image = sum(passes[name] * activations[name] for name in counts)
    return Footprint(
        counts, 4 * int(5 * sum(counts.values()) + config.train.batch_size * per_image)
    )
