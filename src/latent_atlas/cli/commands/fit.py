"""The command `fit`: codes of any model in; a run with a map, without images or networks, out."""

import json
import math
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.arguments import add_device, add_settings
from latent_atlas.cli.console import Console, losses_in_words
from latent_atlas.config.data import DataConfig
from latent_atlas.config.density_ratio import BOUNDARIES
from latent_atlas.config.run import Config, with_settings
from latent_atlas.errors import UserError, counted

if TYPE_CHECKING:
    from latent_atlas.density_ratio.latent_map import LatentMap

__all__ = ["add_arguments", "add_map_arguments", "fit", "map_settings", "report_map"]

MAP_FLAGS = ("boundary", "levels", "steps", "ensemble_size")
TRAIN_FLAGS = ("seed", "device")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `fit`."""
    parser.add_argument(
        "codes",
        metavar="CODES",
        help="a .npy file of codes, shape (n, d) or (n, c, h, w); an .npz or .safetensors file "
        "with means and, if known, log_variances and labels; or a folder of such files, as "
        "`latent-atlas encode` writes them",
    )
    parser.add_argument("--out", metavar="RUN", required=True, help="run folder to create")
    add_map_arguments(parser)


def add_map_arguments(parser: ArgumentParser) -> None:
    """The flags of a map."""
    parser.add_argument(
        "--boundary",
        metavar="B",
        help=f"distribution of the fake codes: {', '.join(BOUNDARIES)} (default: prior, "
        "or gaussian where the codes are far from it)",
    )
    parser.add_argument(
        "--levels",
        type=int,
        metavar="N",
        help="noise levels that D_z learns at (default: as many as the distance from the boundary "
        "needs)",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="at most this many training steps (default: 2000)"
    )
    parser.add_argument(
        "--ensemble-size",
        type=int,
        metavar="N",
        help="discriminators whose mean is the map (default: 1)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="random seed of the split, weights and batches (default: 0)",
    )
    add_device(parser)
    add_settings(parser, "any other setting of the map, such as map.width=64; repeatable")


def fit(given: Namespace, console: Console) -> None:
    """Fit a map to the codes in a file or a folder, and draw it."""
    from latent_atlas.codes.files import read_collection
    from latent_atlas.codes.stream import CodeFiles
    from latent_atlas.device import pick_device
    from latent_atlas.runs import Run
    from latent_atlas.training.codes_run import fit as fit_run

    config = with_settings(Config(data=DataConfig(source=given.codes)), map_settings(given))
    pick_device(config.train.device)  # an unknown device fails before the codes are read
    codes = Path(given.codes)
    collection = CodeFiles.find(codes) or read_collection(codes)
    if isinstance(collection, CodeFiles):
        files = counted(len(collection.files), "file")
        console.say(f"reading {collection.count:,} codes of {files}")
    run = Run(Path(given.out))
    with run.hold(), console.progress() as advance:
        run.claim()
        latent_map = fit_run(
            collection,
            config,
            run,
            log=lambda entry: advance("map", entry["step"], entry["steps"], losses_in_words(entry)),
        )
    repairs = () if isinstance(collection, CodeFiles) else collection.warnings
    report_map(run.path, latent_map, repairs, config.train.device, console)


def report_map(
    run: Path,
    latent_map: "LatentMap",
    repairs: Sequence[str],
    device: str,
    console: Console,
    *,
    numbers: Mapping[str, Any] | None = None,
    lines: Sequence[str] = (),
) -> None:
    """Draw a map that was fitted to codes, and say how well it is calibrated.

    Arguments:
        run, latent_map: The run folder and its map.
        repairs: What was repaired in the codes, in sentences.
        device: Where the picture is computed.
        console: Where it is said.
        numbers, lines: What to say besides, for programs and before the rest for people.
    """
    notes = [*repairs, *latent_map.warnings]
    for note in notes:
        console.say(note)
    with console.waiting("drawing the map"):
        picture = _draw(run, device, console)
    measured = latent_map.calibration
    normalisation = math.exp(min(measured.log_normalising_constant, 700.0))
    said = [
        *lines,
        f"map  normalisation E_r[exp l] = {normalisation:.2f} (ideally 1), "
        f"KL(q || {latent_map.boundary.name}) about {measured.kl:z.1f} nats, "
        f"{counted(measured.levels, 'noise level')} of D_z",
        measured.verdict(),
        f"open {picture}" if picture else f"the run is in {run}",
    ]
    told = {
        "run": str(run),
        **(numbers or {}),
        "file": picture and str(picture),
        "map": measured.numbers(),
        "notes": notes,
    }
    console.result(told, "\n".join(said))


def map_settings(given: Namespace) -> list[str]:
    """The settings that the flags and --set ask for.

    Raises:
        UserError: one is of another section than the map's.
    """
    other = [setting for setting in given.settings if not setting.startswith("map.")]
    if other:
        raise UserError(
            f"--set {other[0]}: this trains only a map, so it takes settings of section map alone, "
            "such as map.width=64"
        )
    flags = {f"map.{flag}": getattr(given, flag) for flag in MAP_FLAGS}
    flags |= {f"train.{flag}": getattr(given, flag) for flag in TRAIN_FLAGS}
    settings = [
        f"{place}={json.dumps(value)}" for place, value in flags.items() if value is not None
    ]
    return settings + given.settings


def _draw(run: Path, device: str, console: Console) -> Path | None:
    """Draw the map into the run folder; None, with a remark, if the map cannot be drawn."""
    import torch

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.report.examples import example_triple
    from latent_atlas.report.figures.map import draw_map
    from latent_atlas.report.plots.style import save
    from latent_atlas.travel.plan import plan

    atlas = Atlas.load(run, device=device)
    try:
        a, b, c = example_triple(atlas, torch.Generator(atlas.device).manual_seed(0))
        paths = {name: plan(atlas.map, a, b, name) for name in ("linear", "typical")}
        return save(draw_map(atlas, (a, b, c), paths), run / "map.png")
    except UserError as error:
        console.say(f"the map is not drawn: {error}")
        return None
