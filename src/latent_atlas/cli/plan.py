"""What a run of `train` would be, and how long it takes on this machine."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from latent_atlas.cli.console import Console, duration
from latent_atlas.config.presets import quick, with_images
from latent_atlas.config.run import Config
from latent_atlas.errors import counted, require
from latent_atlas.progress import doing

if TYPE_CHECKING:
    import torch

    from latent_atlas.data.imageset import ImageSet
    from latent_atlas.runs import Run
    from latent_atlas.shapes import Pixels
    from latent_atlas.training.processes import Processes

__all__ = ["for_images", "say_end", "show_plan"]

SHOWN = 10  # rejects that are named
HOUR = 3600
PER_COORDINATE = 4  # images to train on, where a number of coordinates is advised


def show_plan(images: "ImageSet", config: Config, device: "torch.device", console: Console) -> None:
    """Print what a run of these images on this device would be, without training it."""
    from latent_atlas.data.findings import in_words
    from latent_atlas.device import free_memory
    from latent_atlas.nn.footprint import footprint
    from latent_atlas.training.estimate import estimated_seconds

    config, note = for_images(config, images)
    size = footprint(config)
    seconds = estimated_seconds(images.train.images, config)
    lines = [config.to_json().rstrip(), *in_words(images.summary), *images.notes, *note]
    lines += [f"rejected: {reject.path} ({reject.reason})" for reject in images.rejects[:SHOWN]]
    lines += [
        f"{name.replace('_', ' '):22} {count:>12,} parameters"
        for name, count in size.parameters.items()
    ]
    lines += [
        f"{'memory for training':22} about {size.training_bytes / 2**20:,.0f} MiB, and "
        f"{images.images.nbytes / 2**20:,.1f} MiB for the images",
        f"{'time on this machine':22} about {duration(seconds)} for {config.train.steps:,} "
        "steps of the networks; the map follows",
    ]
    free = free_memory(device)
    lines += _memory_in_words(size.training_bytes, free, device.type) + _shorter(seconds, config)
    numbers = {
        "config": json.loads(config.to_json()),
        "images": images.summary,
        "notes": (*images.notes, *note),
        "rejects": [{"path": reject.path, "reason": reject.reason} for reject in images.rejects],
        "parameters": size.parameters,
        "training_bytes": size.training_bytes,
        "free_bytes": free,
        "training_seconds": seconds,
    }
    console.result(numbers, "\n".join(lines))


def for_images(config: Config, images: "ImageSet") -> tuple[Config, list[str]]:
    """The settings for so many images, and a sentence if the networks take fewer steps.

    Raises:
        UserError: no map of their codes could be fitted.
    """
    n = int((~images.held_out).sum())
    _refuse_too_few(n, config)
    fitted = with_images(config, n)
    if fitted is config:
        return config, []
    before, t = config.train.steps, fitted.train
    number, taken = counted(n, "image"), f"{t.steps:,} steps, {t.passes} passes over the images,"
    return fitted, [
        f"{number} to train on: the networks take {taken} instead of {before:,}, and memorise "
        "less; --steps sets another number"
    ]


def _refuse_too_few(n: int, config: Config) -> None:
    """Refuse fewer images to train on than their codes have coordinates, before anything trains."""
    from latent_atlas.codes.posterior import WIDE

    d = config.model.latent_dim
    smaller = (
        f"add --set model.latent_dim={n // PER_COORDINATE}"
        if config.model.latent_shape is None
        else "choose a smaller model.latent_shape"
    )
    require(
        n >= d or d > WIDE or config.train.mode != "separate",
        f"{n} images to train on are too few for a map of codes of {d} coordinates; {smaller}, or "
        f"give {d} or more to train on",
    )


def _memory_in_words(needed: int, free: int | None, device: str) -> list[str]:
    """The memory that is free, and what to do where it is less than what training needs."""
    if free is None:
        return []
    lines = [f"{'memory that is free':22} {free / 2**20:,.0f} MiB ({device})"]
    if needed > free:
        lines.append(
            "training needs more memory than is free: choose a smaller --batch-size or "
            "--image-size, or close other programs"
        )
    return lines


def say_end(
    images: "Pixels", config: Config, run: "Run", console: Console, processes: "Processes"
) -> None:
    """Say how long the networks will train, and when they end, from a measurement of some steps.

    Arguments:
        images: What is trained on.
        config: The settings.
        run: The folder; steps that it has taken before are not counted.
        console: Where it is said.
        processes: Those that share each batch.
    """
    from latent_atlas.training.estimate import estimated_seconds

    size = min(config.train.batch_size, len(images))
    part = processes.share_of(size)
    if part < size:
        console.say(f"each of {processes.world_size} processes has {part} images of each batch")
    doing("measuring how long the networks train")
    done = max((r["step"] for r in run.records() if r["phase"] == "model"), default=0)
    of_one = replace(config, train=replace(config.train, batch_size=part))
    seconds = estimated_seconds(images, of_one, done=done)
    end = datetime.now().astimezone() + timedelta(seconds=seconds)
    console.say(
        f"measured here, the networks train for about {duration(seconds)}, until {end:%a %H:%M}; "
        "the map follows"
    )
    for sentence in _shorter(seconds, config):
        console.say(sentence)


def _shorter(seconds: float, config: Config) -> list[str]:
    """How to train in less time, where training is long."""
    if seconds <= HOUR or quick(config) == config:
        return []
    return ["--quick trains a smaller model in minutes"]
