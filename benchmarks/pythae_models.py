"""Models of pythae 0.1.2 on our networks, trained, saved, loaded and sampled from as its documentation says.

They start from the same weights as ours and learn with Adam at the rates that ours begins with: at 1e-4, which is
pythae's default, they have hardly begun after so few epochs. All else is as it ships. Its VAE weighs the KL term more
than twelve times as much as ours does, so there is its BetaVAE with our weight as well. The discriminator of its VAEGAN
is our D_x, compared in its deepest feature map; that of its adversarial autoencoder, on codes, its own. pythae's own
mixed precision is for CUDA alone, so in bf16 it is the networks that cast, and return float32, as ours do.

Its VAEGAN has the decoder's adversarial gradient turned round: encoder, decoder and discriminator share a graph, and
what `discriminator_loss.backward()` adds to the decoder's gradient outweighs what the decoder's loss subtracts. It is
left as it is.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from pythae.models import (
    RAE_GP,
    RAE_L2,
    VAE,
    VAEGAN,
    Adversarial_AE,
    Adversarial_AE_Config,
    AutoModel,
    BetaVAE,
    BetaVAEConfig,
    RAE_GP_Config,
    RAE_L2_Config,
    VAEConfig,
    VAEGANConfig,
)
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.samplers import GaussianMixtureSampler, NormalSampler
from pythae.trainers import (
    AdversarialTrainerConfig,
    BaseTrainerConfig,
    CoupledOptimizerAdversarialTrainerConfig,
    CoupledOptimizerTrainerConfig,
)
from torch import Tensor, nn

from cost import Meter
from latent_atlas.config import Config
from latent_atlas.data import ImageSet
from latent_atlas.nn.vaegan import VAEGAN as Networks
from trained_models import Trained

__all__ = ["train_peer"]


class InBf16(nn.Module):
    """A network that multiplies in bf16 while it learns."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return self._cast(self.network, *inputs)

    def features(self, x: Tensor) -> list[Tensor]:
        return self._cast(self.network.features, x)

    def _cast(self, function: Any, *inputs: Tensor) -> Any:
        with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=self.training):
            found = function(*inputs)
        return found.float() if isinstance(found, Tensor) else [one.float() for one in found]


class WrappedEncoder(BaseEncoder):
    """E, under pythae's names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        means, log_variances = self.network(x)
        return ModelOutput(embedding=means, log_covariance=log_variances)


class WrappedDecoder(BaseDecoder):
    """G, under pythae's names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z))


class WrappedDiscriminator(BaseDiscriminator):
    """D_x, which in pythae says probabilities, and shows its feature maps by number from 1."""

    def __init__(self, network: Any, depth: int) -> None:
        super().__init__()
        self.network = network
        self.depth = depth

    def forward(self, x: Tensor, output_layer_levels: list[int] | None = None) -> ModelOutput:
        if output_layer_levels is None:
            return ModelOutput(embedding=torch.sigmoid(self.network(x)))
        maps = self.network.features(x)
        return ModelOutput(
            **{f"embedding_layer_{level}": maps[level - 1] for level in output_layer_levels}
        )


@dataclass(frozen=True)
class Recipe:
    """A model of pythae: its class, its configuration, the trainer it asks for, and what is not as it ships."""

    model: type
    config: type
    trainer: type = BaseTrainerConfig
    discriminator: bool = False
    options: Callable[[Config], dict[str, Any]] = field(default=lambda config: {})


def our_kl_weight(config: Config) -> dict[str, float]:
    """β with which 1/2 Σ (G(z) - x)² + β KL weighs the KL term as our mean of squares + w KL does."""
    pixels = config.model.channels * config.model.image_size**2
    return {"beta": config.train.kl_weight * pixels / 2}


RECIPES = {
    "pythae VAE": Recipe(VAE, VAEConfig),
    "pythae BetaVAE, our KL weight": Recipe(BetaVAE, BetaVAEConfig, options=our_kl_weight),
    "pythae VAEGAN": Recipe(
        VAEGAN, VAEGANConfig, CoupledOptimizerAdversarialTrainerConfig, discriminator=True
    ),
    "pythae AAE": Recipe(Adversarial_AE, Adversarial_AE_Config, AdversarialTrainerConfig),
    "pythae RAE_GP": Recipe(RAE_GP, RAE_GP_Config),
    "pythae RAE_L2": Recipe(RAE_L2, RAE_L2_Config, CoupledOptimizerTrainerConfig),
}


def train_peer(name: str, images: ImageSet, config: Config, epochs: int, folder: Path) -> Trained:
    """Train one of `RECIPES` with the networks, rates, batch size and seed of `config`."""
    logging.disable(logging.INFO)  # a page for every model
    recipe, learning = RECIPES[name], images.train.as_float()
    meter = Meter()
    pipeline = TrainingPipeline(
        model=untrained(recipe, config, tuple(learning.shape[1:])),
        training_config=recipe.trainer(
            output_dir=str(folder),
            num_epochs=epochs,
            per_device_train_batch_size=config.train.batch_size,
            seed=config.train.seed,
            **learning_rates(recipe.trainer, config),
        ),
    )
    pipeline(train_data=learning)
    cost = meter.read()
    (saved,) = folder.glob("*/final_model")
    model = AutoModel.load_from_folder(str(saved)).eval()
    normal, mixture = (
        NormalSampler(model),
        GaussianMixtureSampler(model),
    )  # these take the model to the device

    @torch.no_grad()
    def reconstruct(x: Tensor) -> Tensor:
        return torch.cat([model.predict(part.to(normal.device)).recon_x for part in x.split(500)])

    def draw_mixture(n: int) -> Tensor:
        mixture.fit(learning)  # of 10, unless told otherwise
        return mixture.sample(n)

    return Trained(
        reconstruct, {"prior": normal.sample, "mixture of 10": draw_mixture}, {"model": cost}
    )


def untrained(recipe: Recipe, config: Config, image_shape: tuple[int, ...]) -> torch.nn.Module:
    """The model on our networks, whose first weights are those that ours begins with."""
    networks = Networks(config.model, config.map, seed=config.train.seed)
    cast = InBf16 if config.train.precision == "bf16" else lambda network: network
    parts: dict[str, Any] = {
        "encoder": WrappedEncoder(cast(networks.encoder)),
        "decoder": WrappedDecoder(cast(networks.decoder)),
    }
    if recipe.discriminator:
        judge = networks.image_discriminator
        parts["discriminator"] = WrappedDiscriminator(cast(judge), len(judge.stages))
    shape = {"input_dim": image_shape, "latent_dim": config.model.latent_dim}
    return recipe.model(recipe.config(**shape, **recipe.options(config)), **parts)


def learning_rates(trainer: type, config: Config) -> dict[str, float]:
    """Ours, under the names that a trainer has for its optimisers'."""
    names = [one.name for one in fields(trainer) if one.name.endswith("learning_rate")]
    t = config.train
    return {
        n: t.discriminator_learning_rate if n.startswith("discriminator") else t.learning_rate
        for n in names
    }
