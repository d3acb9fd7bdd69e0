"""How long the networks will train, from a few steps of them."""

import time
from dataclasses import replace

import torch

from latent_atlas.config.run import Config
from latent_atlas.device import Engine
from latent_atlas.shapes import ByteImages
from latent_atlas.training.batches import Batches
from latent_atlas.training.step import TrainStep

__all__ = ["estimated_seconds"]

TIMED_PIXELS = 2**13  # per step on a CPU, where the time grows with the batch


def estimated_seconds(images: ByteImages, config: Config) -> float:
    """Time a few steps of each kind and add them up over the run; the weights are thrown away.

    Arguments:
        images: The training images.
        config: The whole configuration.

    Returns:
        Estimated seconds for all steps of E, G and D_x on the configured device; the map is fitted
        afterwards.
    """
    t = replace(config.train, compile=False)
    engine = Engine(t.device, t.precision, compile=False)
    full = min(t.batch_size, len(images))
    few = max(2, TIMED_PIXELS // config.model.image_size**2)
    size = min(full, few) if engine.device.type == "cpu" else full
    train_step = TrainStep(replace(config, train=t), engine)
    batches = Batches(images, replace(t, batch_size=size), engine.device)

    def timed(step: int) -> float:
        start = time.perf_counter()
        losses = train_step.step(batches(step))
        float(sum(losses.values(), torch.zeros((), device=engine.device)))  # waits for the device
        return time.perf_counter() - start

    # Early steps lack the losses of D_x; of the others, one in `penalty_every` has penalties.
    early = min(t.adversarial_start, t.steps)
    late = t.steps - early
    penalised = max(1, t.steps // t.penalty_every * t.penalty_every)
    plain = max(1, t.steps - (t.steps % t.penalty_every == 0))
    kinds = (
        (1, early),
        (plain, late * (1 - 1 / t.penalty_every)),
        (penalised, late / t.penalty_every),
    )
    timed(1)  # the first step of all also prepares the device
    return sum(often * timed(step) for step, often in kinds) * full / size
