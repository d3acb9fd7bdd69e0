"""What `embed --decoder` does: learn a decoder of a run's codes, and say how good it is."""

from argparse import Namespace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.commands.train import RESUMABLE
from latent_atlas.cli.console import Console, duration, losses_in_words
from latent_atlas.config.presets import decoder_of_codes
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import require
from latent_atlas.progress import doing

if TYPE_CHECKING:
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.runs import Run

__all__ = ["decoder_settings", "learn"]

SECTIONS = ("model.", "train.")
FIXED = ("model.channels", "model.latent_shape", "train.mode")
DRAWN, AVERAGED, MOST = 32, 10, 1_000


def decoder_settings(given: Namespace) -> list[str]:
    """The settings of the decoder among those of --set, which are left with the others.

    Raises:
        UserError: a decoder has no such setting, or its value is out of range.
    """
    asked = [one for one in given.settings if one.startswith(SECTIONS)] if given.decoder else []
    given.settings = [one for one in given.settings if one not in asked]
    for one in asked:
        require(
            not one.startswith(FIXED),
            f"--set {one}: a decoder of embeddings has the channels of the images and trains by "
            "itself; leave it out",
        )
    with_settings(decoder_of_codes(64, 3, 1), asked)  # fails before the images are embedded
    for name in ("seed", "device"):
        if (value := getattr(given, name)) is not None:
            asked.append(f"train.{name}={value}")
    return asked


def learn(
    atlas: "Atlas", run: "Run", settings: list[str], console: Console
) -> tuple[dict[str, Any], list[str]]:
    """Learn the decoder of a collection, or go on with it, with progress.

    Arguments:
        atlas: The run's, without a decoder.
        run: Its folder.
        settings: As `decoder_settings` returned them.
        console: Where progress is printed.

    Returns:
        Numbers for programs, and lines for people.

    Raises:
        UserError: the settings are not those of a decoder of these images, or not those that it
            began with.
    """
    import torch

    from latent_atlas.training.decoder import Pairs, learn_decoder
    from latent_atlas.training.estimate import estimated_seconds

    assert atlas.collection is not None
    config = _config(atlas, run, settings)
    side = config.model.image_size
    train, held_out = (
        Pairs(atlas.collection.pixels(rows, side), atlas.codes[part].means[: len(rows)])
        for part, rows in (
            ("train", atlas.collection.rows["train"]),
            ("held_out", atlas.collection.rows["held_out"][:MOST]),
        )
    )
    done = max((record["step"] for record in run.decoder.records()), default=0)
    codes = torch.zeros(len(train.codes), config.model.latent_dim)
    doing("measuring how long the decoder learns")
    seconds = estimated_seconds(train.images, config, done=done, codes=codes)
    end = datetime.now().astimezone() + timedelta(seconds=seconds)
    console.say(
        f"measured here, the decoder of {side} pixels learns for at most {duration(seconds)}, "
        f"until {end:%a %H:%M}; held-out images may end it earlier"
    )
    with console.progress() as advance:
        step = learn_decoder(
            train,
            held_out,
            config,
            run.decoder,
            log=lambda one: advance("networks", one["step"], one["steps"], losses_in_words(one)),
        )
    return _compared(run, step, config.train.device)


def _config(atlas: "Atlas", run: "Run", settings: list[str]) -> Config:
    """The settings of a decoder that is begun, or of the one that has begun.

    Raises:
        UserError: there is one already, it began with others, or the images are too small for it.
    """
    assert atlas.collection is not None
    anew = f"or remove {run.decoder.path} to learn another"
    channels, side, _ = atlas.collection.image_shape
    most = min(atlas.map.dimension, len(atlas.codes["train"]) - 1)
    usual = decoder_of_codes(side, channels, most)
    begun = run.decoder.file("config.json").is_file()
    if begun:  # in a precision that was measured then
        usual = run.decoder.config()
        settings = [one for one in settings if not one.startswith("train.precision")]
    require(
        not run.decoder.file("model.safetensors").is_file(),
        f"{run.path} has a decoder of {usual.model.image_size} pixels already; use it, {anew}",
    )
    config = with_settings(usual, settings)
    for section in ("model", "train"):
        before, asked = (vars(getattr(one, section)) for one in (usual, config))
        for name, value in asked.items() if begun else ():
            require(
                value == before[name] or name in ("device", *RESUMABLE["train"]),
                f"the decoder of {run.path} was begun with {section}.{name} {before[name]}, and "
                f"now {value} is asked for; leave that out, {anew}",
            )
    require(
        config.model.image_size <= side,
        f"model.image_size is {config.model.image_size}, and the thumbnails that a decoder learns "
        f"from have {side} pixels; choose at most that",
    )
    require(
        config.model.latent_dim <= most,
        f"model.latent_dim is {config.model.latent_dim}, and {len(atlas.codes['train']):,} codes "
        f"of {atlas.map.dimension} coordinates have {most} principal ones; choose at most that",
    )
    return config


def _compared(run: "Run", step: int, device: str) -> tuple[dict[str, Any], list[str]]:
    """The errors of held-out images, decoded and by the nearest real images, and a picture."""
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.evaluation.reconstruction import reconstruction_numbers
    from latent_atlas.report.plots.image_grid import comparison_sheet
    from latent_atlas.report.plots.style import save

    atlas = Atlas.load(run.path, device=device)
    assert atlas.collection is not None
    codes = atlas.codes["held_out"].means[:MOST]
    images = atlas.pictures(codes)
    near = atlas.neighbours(codes, AVERAGED).rows.cpu()
    numbers = atlas.collection.rows["train"][near].flatten()
    real = atlas.collection.thumbnails(numbers).unflatten(0, near.shape).to(images)
    found = {
        "decoded": atlas.decode(codes),
        "nearest real": real[:, 0],
        f"mean of {near.shape[1]} nearest": real.mean(dim=1),
    }
    errors = {name: reconstruction_numbers(images, some)["mse"] for name, some in found.items()}
    rows = {"held out": images, **found}
    drawn = {name: some[:DRAWN].cpu().numpy() for name, some in rows.items()}
    picture = save(comparison_sheet(drawn), run.file("reconstructions.png"))
    said = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
    lines = [
        f"decoder of step {step:,}: mean squared error per pixel of {len(codes):,} held-out "
        f"images: {said}",
        f"look at {picture}",
    ]
    if min(errors, key=lambda name: errors[name]) != "decoded":
        lines.insert(1, "it is no better than the real images: --nearest shows these alone")
    return {"step": step, "mse": errors, "picture": str(picture)}, lines
