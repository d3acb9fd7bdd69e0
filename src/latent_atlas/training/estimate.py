"""How long the networks will train, from a few steps of them."""

import statistics
import time
from dataclasses import replace

import torch

from latent_atlas.config.run import Config
from latent_atlas.device import Engine
from latent_atlas.shapes import Latents, Pixels
from latent_atlas.training.batches import Batches
from latent_atlas.training.step import TrainStep

__all__ = ["estimated_seconds", "images_per_second"]

# Pixels of a step on a CPU: the time of one with more is taken to be in proportion to them.
TIMED_PIXELS = 2**16


class _Stopwatch:
    """Times single steps of networks that are thrown away.

    Attributes:
        share: Of a whole batch, what one step is timed on.
    """

    def __init__(self, images: Pixels, config: Config, codes: Latents | None = None) -> None:
        t = replace(config.train, compile=False)
        self.engine = Engine(t.device, t.precision, compile=False)
        full = min(t.batch_size, len(images))
        least = max(2, TIMED_PIXELS // config.model.image_size**2)
        self.size = min(full, least) if self.engine.device.type == "cpu" else full
        self.share = self.size / full
        frozen, few = codes is not None, replace(t, batch_size=self.size)
        self.train_step = TrainStep(replace(config, train=t), self.engine, frozen=frozen)
        self.batches = Batches(images, few, self.engine.device, codes=codes)
        self(1)  # the first step of all also prepares the device

    def __call__(self, step: int) -> float:
        start = time.perf_counter()
        losses = self.train_step.step(self.batches(step))
        float(sum(losses.values(), torch.zeros((), device=self.engine.device)))  # waits for it
        return time.perf_counter() - start


def estimated_seconds(
    images: Pixels, config: Config, *, done: int = 0, codes: Latents | None = None
) -> float:
    """Time ten steps, three of each kind, and add them up over the run.

    Arguments:
        images: The training images.
        config: The whole configuration.
        done: Steps that the run has made already.
        codes: Those of the images where they are given, as for `Batches`.

    Returns:
        Estimated seconds for the other steps of E, G and D_x on the configured device; the map is
        fitted afterwards.
    """
    t = config.train
    timed = _Stopwatch(images, config, codes)
    # Early steps lack the losses of D_x; of the others, one in `penalty_every` has penalties.
    late = t.steps - max(done, min(t.adversarial_start, t.steps))
    penalised = max(1, t.steps // t.penalty_every * t.penalty_every)
    plain = max(1, t.steps - (t.steps % t.penalty_every == 0))
    kinds = (
        (1, t.steps - done - late),
        (plain, late * (1 - 1 / t.penalty_every)),
        (penalised, late / t.penalty_every),
    )
    return sum(
        often * statistics.median(timed(step) for _ in range(3)) / timed.share
        for step, often in kinds
    )


def images_per_second(config: Config) -> float:
    """Images per second of a step with D_x and without penalties, on the configured device."""
    m = config.model
    shape = (config.train.batch_size, m.channels, m.image_size, m.image_size)
    timed = _Stopwatch(torch.full(shape, 128, dtype=torch.uint8), config)
    return timed.size / min(timed(config.train.adversarial_start + 1) for _ in range(2))
