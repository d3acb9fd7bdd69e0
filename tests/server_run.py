"""A run folder as training leaves it: begun, at a checkpoint, finished."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latent_atlas.config import Config, ModelConfig
from latent_atlas.device import Engine
from latent_atlas.runs import Run, write_tensors
from latent_atlas.training.step import TrainStep
from server_client import tiny_atlas

__all__ = ["begun", "checkpointed", "finish", "mapping"]

SMALL = replace(
    Config(),
    model=ModelConfig(
        image_size=8, channels=1, latent_dim=3, width=4, depth=1, discriminator_width=4
    ),
)


def begun(folder: Path, **training: Any) -> Run:
    """A run that has begun, of settings of training, with 20 examples of two classes."""
    run = Run(folder)
    run.claim()
    run.begin(replace(SMALL, train=replace(SMALL.train, **training)))
    images = torch.randint(
        256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    write_tensors(
        run.file("examples.safetensors"), {"images": images, "labels": torch.arange(20) % 2}
    )
    run.write_json("manifest.json", {"label_names": ["even", "odd"]})
    return run


def checkpointed(run: Run, step: int, lift: float = 0.0) -> TrainStep:
    """Write a checkpoint: E and D_z perturbed, the averaged decoder's last bias lifted."""
    learner = TrainStep(run.config(), Engine("cpu", "32", compile=False))
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        [*learner.average["decoder"].parameters()][-1].add_(lift)
        for network in (learner.average["encoder"], learner.model.latent_discriminator):
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    write_tensors(run.file("state.safetensors"), learner.tensors(), {"step": str(step)})
    return learner


def mapping(run: Run) -> None:
    """Write what there is while D_z learns: the codes, and the map so far."""
    atlas = tiny_atlas()
    codes = {f"{part}.means": some.means for part, some in atlas.codes.items()}
    write_tensors(run.file("codes.safetensors"), codes)
    atlas.map.save(run.file("growing.safetensors"))


def finish(run: Run) -> None:
    """Write what the run's end writes, of codes alone."""
    mapping(run)
    run.file("growing.safetensors").rename(run.file("map.safetensors"))
