"""Training steps with one change that the library does not have, for `model_variants.py`."""

import math
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.codes.posterior import kl_standard_normal
from latent_atlas.config import Config
from latent_atlas.device import Engine
from latent_atlas.evaluation.features.base import as_rgb
from latent_atlas.nn.blocks import ChannelNorm, Down, Up
from latent_atlas.nn.efficientnet import EfficientNetFeatures
from latent_atlas.shapes import Images, Values
from latent_atlas.training.step import Batch, Forward, TrainStep

__all__ = ["TRIALS"]

SPEED = 0.01  # of the logarithm of a controlled KL weight, per step and per relative difference
EARLY = 3  # blocks of EfficientNet-Lite0 whose outputs are compared: up to an eighth of the side
ATTENDED = (7, 8)  # sides in places of the maps that attend

Terms = tuple[Tensor, dict[str, Tensor]]


class Augmented(TrainStep):
    """D_x sees all images moved, brightened and with a square cut out, a fake like its original.

    References:
        Differentiable Augmentation for Data-Efficient GAN Training, Zhao et al. 2020.
    """

    number: int

    def forward(self, batch: Batch) -> Forward:
        """As `TrainStep.forward`; the step decides the changes."""
        self.number = batch.step
        return super().forward(batch)

    def judge(self, images: Images) -> tuple[Values, list[Tensor]]:
        """D_x of the changed images."""
        generator = torch.Generator().manual_seed(self.number)
        return super().judge(augmented(images, generator))


def augmented(images: Images, generator: torch.Generator) -> Images:
    """Brightness by up to 1/4, contrast by up to 1/2, shifts of 1/8, and a hole of 1/2 the side."""
    n, side = len(images), images.shape[-1]
    light, contrast = torch.rand(2, n, 1, 1, 1, generator=generator) - 0.5
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (1 + contrast) + 0.5 * light
    reach, hole = side // 8, side // 2
    padded = F.pad(images, (reach,) * 4)
    places = torch.randint(2 * reach + 1, (n, 2), generator=generator).tolist()
    moved = [p[:, i : i + side, j : j + side] for p, (i, j) in zip(padded, places, strict=True)]
    top, left = torch.randint(side - hole + 1, (2, n, 1, 1, 1), generator=generator)
    line = torch.arange(side)
    rows, columns = ((line - at).div(hole, rounding_mode="floor") == 0 for at in (top, left))
    return torch.stack(moved) * ~(rows.mT & columns)


class Perceptual(TrainStep):
    """E and G also match early features of EfficientNet-Lite0, each place's of unit length.

    References:
        The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, Zhang et al. 2018.
    """

    weight = 0.01  # of the term

    def __init__(self, config: Config, engine: Engine) -> None:
        super().__init__(config, engine)
        network = EfficientNetFeatures().network
        stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.early = [stem, *network._blocks[:EARLY]]

    def autoencoder_loss(self, batch: Batch, made: Forward) -> Terms:
        """Also the squared difference of features."""
        loss, terms = super().autoencoder_loss(batch, made)
        seen, differences = torch.cat([made.decoded, batch.images]), []
        with self.engine.autocast():
            hidden = (as_rgb(seen) - 0.5) / 0.5
            for layer in self.early:
                hidden = layer(hidden)
                decoded, real = F.normalize(hidden.float(), dim=1).chunk(2)
                differences.append((decoded - real).square().sum(dim=1).mean())
        terms["perceptual"] = torch.stack(differences).mean()
        return loss + self.weight * terms["perceptual"], terms


class WeighedKL(TrainStep):
    """The weight of the KL term is set anew at each step."""

    def autoencoder_loss(self, batch: Batch, made: Forward) -> Terms:
        """As `TrainStep.autoencoder_loss`, with `kl_weight` of this step's numbers."""
        with torch.no_grad():
            kl = kl_standard_normal(made.means, made.log_variances).mean().item()
            error = F.mse_loss(made.decoded, batch.images).item()
        weight = self.kl_weight(kl, error, batch.images[0].numel())
        self.config = replace(self.config, kl_weight=weight)
        return super().autoencoder_loss(batch, made)

    def kl_weight(self, kl: float, error: float, pixels: int) -> float:
        """The weight by the KL term in nats, the squared error and the number of pixel values."""
        raise NotImplementedError


class LearnedVariance(WeighedKL):
    """Pixels are N(G(z), s²) with the likeliest s², the error: the KL term weighs 2 s² / pixels.

    References:
        Simple and Effective VAE Training with Calibrated Decoders, Rybkin et al. 2021.
    """

    error: float | None = None

    def kl_weight(self, kl: float, error: float, pixels: int) -> float:
        """2 s² / pixels, with a running mean of the error."""
        self.error = error if self.error is None else 0.95 * self.error + 0.05 * error
        return 2 * self.error / pixels


class ControlledRate(WeighedKL):
    """The KL weight grows while the KL term is above a target, and falls below it.

    References:
        ControlVAE: Controllable Variational Autoencoder, Shao et al. 2020, with the integral alone.
    """

    target = 20.0  # nats per image

    def kl_weight(self, kl: float, error: float, pixels: int) -> float:
        """A step of the control."""
        return self.config.kl_weight * math.exp(SPEED * max(-1.0, min(1.0, kl / self.target - 1)))


class FreeBits(TrainStep):
    """The KL term of each coordinate, a mean over the batch, counts from a quarter of a nat on.

    References:
        Improving Variational Inference with Inverse Autoregressive Flow, Kingma et al. 2016.
    """

    free = 0.25  # nats of a coordinate

    def autoencoder_loss(self, batch: Batch, made: Forward) -> Terms:
        """With what the free nats take off the KL term."""
        loss, terms = super().autoencoder_loss(batch, made)
        means, logs = made.means, made.log_variances
        nats = 0.5 * (means.square() + logs.exp() - 1 - logs).mean(dim=0)
        warmth = min(1.0, batch.step / max(1, self.config.kl_warmup))
        return loss + warmth * self.config.kl_weight * (self.free - nats).relu().sum(), terms


class SmoothUp(Up):
    """Enlarge bilinearly."""

    def forward(self, features: Tensor) -> Tensor:
        """As `Up`."""
        size = (self.side, self.side)
        return self.conv(F.interpolate(features, size=size, mode="bilinear", align_corners=False))


class EarlyUp(Up):
    """Change the channels before the enlargement, in a quarter of the time."""

    def forward(self, features: Tensor) -> Tensor:
        """As `Up`."""
        return F.interpolate(self.conv(features), size=(self.side, self.side), mode="nearest")


class Attention(nn.Module):
    """x + proj(attention(norm(x))) over the places of a map; it begins as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        for weight in self.proj.parameters():
            nn.init.zeros_(weight)

    def forward(self, features: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(features)).flatten(2).mT.unsqueeze(1).chunk(3, dim=-1)
        attended = F.scaled_dot_product_attention(q, k, v)[:, 0].mT
        return features + self.proj(attended.reshape_as(features))


class AttendingUp(Up):
    """Its maps of 8 x 8 places attend."""

    def __init__(self, channels: int, out_channels: int, side: int) -> None:
        super().__init__(channels, out_channels, side)
        self.attention = Attention(out_channels) if side in ATTENDED else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """As `Up`."""
        return self.attention(super().forward(features))


class AttendingDown(Down):
    """Its maps of 8 x 8 places attend."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels)
        self.attention = Attention(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """As `Down`."""
        smaller = super().forward(features)
        return self.attention(smaller) if smaller.shape[-1] in ATTENDED else smaller


def with_blocks(up: type[Up], down: type[Down] = Down) -> Callable[[Config, Engine], TrainStep]:
    """Steps of an E and a G that are built from other blocks."""

    def made(config: Config, engine: Engine) -> TrainStep:
        with patch.multiple("latent_atlas.nn.autoencoder", Up=up, Down=down):
            return TrainStep(config, engine)

    return made


TRIALS: dict[str, Callable[[Config, Engine], TrainStep]] = {
    "augmented D_x": Augmented,
    "perceptual .01": Perceptual,
    "learned variance": LearnedVariance,
    "20 nats": ControlledRate,
    "free bits": FreeBits,
    "bilinear": with_blocks(SmoothUp),
    "convolve, then enlarge": with_blocks(EarlyUp),
    "attention": with_blocks(AttendingUp, AttendingDown),
}
