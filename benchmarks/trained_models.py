"""A trained model as `peers` evaluates it, and how ours is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cost import Cost, Meter
from latent_atlas import Atlas
from latent_atlas.config import Config
from latent_atlas.data import ImageSet
from latent_atlas.runs import Run
from latent_atlas.training.loop import train

__all__ = ["Trained", "train_ours"]

SAMPLERS = {"prior": "prior", "mixture of 10": "mixture", "map": "auto"}


@dataclass(frozen=True)
class Trained:
    """A model to be evaluated.

    Attributes:
        reconstruct: Images (n, c, h, w) in [0, 1] to what their mean codes decode to.
        samplers: By name, from a number n to so many new images.
        costs: What training took up to the end of "model", and of "map" if there is one.
    """

    reconstruct: Callable[[Tensor], Tensor]
    samplers: dict[str, Callable[[int], Tensor]]
    costs: dict[str, Cost]


def train_ours(images: ImageSet, config: Config, folder: Path) -> Trained:
    """Train into a run folder and load the atlas from it, as a user would."""
    run = Run(folder)
    run.begin(config)
    meter = Meter()
    costs: dict[str, Cost] = {}

    def log(entry: dict[str, Any]) -> None:
        costs[entry["phase"]] = meter.read()  # the last of a phase is written at its end

    train(images, config, run, log=log)
    costs["map"] = meter.read()
    atlas = Atlas.load(folder)
    generator = torch.Generator(atlas.device).manual_seed(config.train.seed)
    samplers = {
        name: lambda n, sampler=sampler: atlas.sample(n, sampler, generator=generator)
        for name, sampler in SAMPLERS.items()
    }
    return Trained(lambda x: atlas.decode(atlas.encode(x)), samplers, costs)
