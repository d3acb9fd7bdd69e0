"""A synthetic atlas, made in seconds: an exact density, a decoder that draws, a trained map.

Its colours are saturated and its shapes are stars, circles or squares. Between two hues, and
between two kinds, the straight line leads through what does not occur: grey shapes and shapes of no
kind.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.codes.codec import reconstruction_errors
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.explorer.demo.decoder import DIMENSION, SIDE, draw, recognise
from latent_atlas.shapes import Latents

__all__ = ["KINDS", "demo_atlas", "population"]

KINDS = ("star", "circle", "square")
HUES = 12
SATURATION = 2.2  # distance from the middle of the colour circle
TRAIN, HELD_OUT = 5_000, 400
NOISE = 0.02  # of the pixels of the held-out images
SETTINGS = MapConfig(width=64, depth=2, steps=300, batch_size=256, patience=4, boundary="gaussian")


def population() -> GaussianMixture:
    """The exact density of the codes: a ring of colours times three kinds of shapes."""
    hues = torch.arange(HUES) * (2 * math.pi / HUES)
    means, scales = [], []
    for kind in (-1.7, 0.0, 1.7):
        for hue in hues.tolist():
            # Squares are large and low, stars small and high, so that coordinates correlate.
            means.append(
                [
                    SATURATION * math.cos(hue),
                    SATURATION * math.sin(hue),
                    kind,
                    0.5 * kind,
                    0.0,
                    -0.4 * kind,
                ]
            )
            scales.append([0.3, 0.3, 0.22, 0.6, 0.9, 0.7])
    return GaussianMixture(
        torch.full((len(means),), 1 / len(means)), torch.tensor(means), torch.tensor(scales)
    )


def demo_atlas(*, device: torch.device | str = "cpu", steps: int = SETTINGS.steps) -> Atlas:
    """The synthetic atlas, the same every time.

    Arguments:
        device: Of the map and the codes.
        steps: Most training steps of the map.
    """
    generator = torch.Generator(device).manual_seed(0)
    train, held_out = (
        population().sample(count, generator=generator) for count in (TRAIN, HELD_OUT)
    )
    settings = replace(SETTINGS, steps=steps)
    latent_map = LatentMap.fit(
        train, config=settings, held_out=Codes(held_out), generator=generator, warn=False
    )
    model = Autoencoder(recognise, draw, (3, SIDE, SIDE), (DIMENSION,), device=latent_map.device)
    noise = NOISE * torch.randn(
        HELD_OUT, 3, SIDE, SIDE, generator=generator, device=generator.device
    )
    images = (draw(held_out) + noise).clamp(0, 1)
    return Atlas(
        model,
        latent_map,
        {"train": Codes(train), "held_out": Codes(held_out)},
        Config(map=settings),
        labels={"train": _kinds(train), "held_out": _kinds(held_out)},
        label_names=KINDS,
        errors=reconstruction_errors(draw, images, held_out),
    )


def _kinds(latents: Latents) -> Tensor:
    """The class of each code: the kind that its shape is nearest to."""
    return (
        (latents[:, 2:3] - torch.tensor([-1.7, 0.0, 1.7], device=latents.device))
        .abs()
        .argmin(dim=1)
    )
