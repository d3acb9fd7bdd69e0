"""The command `fit`: anyone's codes in, a run without images and without a model out."""

import json
import math
from argparse import Namespace
from pathlib import Path

from latent_atlas.cli.console import Console, losses_in_words
from latent_atlas.config.run import Config, DataConfig, with_settings
from latent_atlas.errors import UserError

__all__ = ["fit"]

MAP_FLAGS = ("boundary", "levels", "steps", "members")
TRAIN_FLAGS = ("seed", "device")


def fit(given: Namespace, console: Console) -> None:
    """Learn the map of codes from anywhere, and draw it."""
    from latent_atlas.codes.files import read_collection
    from latent_atlas.device import pick_device
    from latent_atlas.runs import Run
    from latent_atlas.training.codes_run import fit as fit_run

    config = _chosen_config(given)
    pick_device(config.train.device)
    collection = read_collection(Path(given.latents))
    run = Run(Path(given.out))
    run.claim()
    with console.progress() as advance:
        latent_map = fit_run(
            collection,
            config,
            run,
            log=lambda entry: advance("map", entry["step"], entry["steps"], losses_in_words(entry)),
        )
    notes = [*collection.notes, *latent_map.notes]
    for note in notes:
        console.say(note)
    picture = _draw(run.path, config.train.device, console)
    measured = latent_map.calibration
    lines = [
        f"map  E_r[exp l] = {math.exp(min(measured.log_normalising_constant, 700.0)):.2f}, "
        f"KL(q || {latent_map.boundary.name}) about {measured.kl:z.1f} nats, "
        f"{measured.levels} level{'s' if measured.levels > 1 else ''}",
        measured.verdict(),
        f"look at {picture}" if picture else f"the run is {run.path}",
    ]
    numbers = {
        "run": str(run.path),
        "file": picture and str(picture),
        "map": measured.numbers(),
        "notes": notes,
    }
    console.result(numbers, "\n".join(lines))


def _chosen_config(given: Namespace) -> Config:
    """The defaults, with the flags and then the settings of the command line applied."""
    other = [setting for setting in given.settings if not setting.startswith("map.")]
    if other:
        raise UserError(
            f"fit learns a map and nothing else, so --set takes such as map.width=64; it got '{other[0]}'"
        )
    flags = {f"map.{flag}": getattr(given, flag) for flag in MAP_FLAGS}
    flags |= {f"train.{flag}": getattr(given, flag) for flag in TRAIN_FLAGS}
    settings = [
        f"{place}={json.dumps(value)}" for place, value in flags.items() if value is not None
    ]
    return with_settings(Config(data=DataConfig(source=given.latents)), settings + given.settings)


def _draw(run: Path, device: str, console: Console) -> Path | None:
    """Draw the map into the run; a map that cannot be drawn is a map all the same."""
    import torch

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.report.examples import example_triple
    from latent_atlas.report.figures.map import draw_map
    from latent_atlas.report.plots.style import save
    from latent_atlas.travel.plan import plan

    atlas = Atlas.load(run, device=device)
    try:
        a, b, c = example_triple(atlas, torch.Generator(atlas.device).manual_seed(0))
        journeys = {name: plan(atlas.map, a, b, name) for name in ("linear", "geodesic")}
        return save(draw_map(atlas, (a, b, c), journeys), run / "map.png")
    except UserError as error:
        console.say(f"there is no picture of the map: {error}")
        return None
