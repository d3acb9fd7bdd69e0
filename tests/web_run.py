"""A run folder as training leaves it: begun, at a checkpoint, finished."""

from dataclasses import replace
from pathlib import Path

import torch

from latent_atlas.checkpoint import Run, write_tensors
from latent_atlas.config import Config, ModelConfig
from latent_atlas.engine import Engine
from latent_atlas.learner import Learner
from web_server import tiny_atlas

__all__ = ["begun", "checkpointed", "finish"]

SMALL = replace(
    Config(), model=ModelConfig(image_size=8, channels=1, latent_dim=3, width=4, depth=1, discriminator_width=4)
)


def begun(folder: Path) -> Run:
    """A run that has begun."""
    run = Run(folder)
    run.claim()
    run.begin(SMALL)
    return run


def checkpointed(run: Run, step: int, lift: float = 0.0) -> None:
    """Write the checkpoint of a step, the averaged decoder's last bias lifted."""
    learner = Learner(SMALL, Engine("cpu", "32", compile=False))
    with torch.no_grad():
        [*learner.average["decoder"].parameters()][-1].add_(lift)
    write_tensors(run.file("state.safetensors"), learner.tensors(), {"step": str(step)})


def finish(run: Run) -> None:
    """Write what the run's end writes, of codes alone."""
    atlas = tiny_atlas()
    codes = {f"{part}.means": some.means for part, some in atlas.codes.items()}
    write_tensors(run.file("codes.safetensors"), codes)
    atlas.map.save(run.file("map.safetensors"))
