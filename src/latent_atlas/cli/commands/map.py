"""The command `map`: pictures of the density on the plane through three images."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import (
    PLACE,
    add_device,
    add_nearest,
    add_run,
    code_at,
    file_to_write,
    load_atlas,
)
from latent_atlas.cli.console import Console
from latent_atlas.config.density_ratio import BOUNDARIES, MapConfig
from latent_atlas.errors import UserError, require_known

if TYPE_CHECKING:
    from torch import Tensor

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.density_ratio.latent_map import LatentMap

__all__ = ["add_arguments", "map"]

COMPARISON_STEPS = 1000


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `map`."""
    add_run(parser)
    parser.add_argument(
        "places",
        metavar="PLACE",
        nargs="*",
        help=f"three images, each {PLACE} (default: an example of three)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--boundaries",
        metavar="B,B",
        nargs="?",
        const="all",
        help="fit a map against each of these boundaries and draw the maps side by side: all "
        f"(default), or some of {', '.join(BOUNDARIES)}",
    )
    instead.add_argument(
        "--levels",
        action="store_true",
        help="draw the map at each noise level, with the gradient of its log-density as arrows",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="with --boundaries: at most this many training steps for each (default: 1000)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="PNG file to write (default: map.png, boundaries.png or levels.png in RUN)",
    )
    add_nearest(parser)
    add_device(parser)


def map(given: Namespace, console: Console) -> None:
    """Draw the map, the map at each noise level, or the map under several boundaries."""
    from latent_atlas.report.figures.levels import draw_levels
    from latent_atlas.report.figures.map import draw_map
    from latent_atlas.report.plots.style import save
    from latent_atlas.travel.plan import plan

    if given.steps is not None and given.boundaries is None:
        raise UserError(
            f"--steps {given.steps} is the number of training steps for each boundary; add "
            "--boundaries"
        )
    names = _boundaries(given.boundaries)
    atlas = load_atlas(given)
    anchors = _anchors(given, atlas)
    if names:
        _compare(given, atlas, names, anchors, console)
        return
    a, b, c = anchors
    with console.waiting("drawing the map"):
        if given.levels:
            out = save(draw_levels(atlas.map, (a, b, c)), file_to_write(given, "levels.png"))
        else:
            paths = {name: plan(atlas.map, a, b, name) for name in ("linear", "typical")}
            out = save(draw_map(atlas, (a, b, c), paths), file_to_write(given, "map.png"))
    calibration = atlas.map.calibration
    console.result(
        {"file": str(out), "map": calibration.numbers()}, f"{out}\n{calibration.verdict()}"
    )


def _anchors(given: Namespace, atlas: "Atlas") -> "list[Tensor]":
    """Codes of the three images that span the plane: those named, or an example."""
    import torch

    from latent_atlas.report.examples import example_triple

    if not given.places:
        return [*example_triple(atlas, torch.Generator(atlas.device).manual_seed(0))]
    if len(given.places) != 3:
        raise UserError(
            f"three images span a plane, and the command names {len(given.places)}; name three, "
            "or none for an example"
        )
    return [code_at(atlas, place) for place in given.places]


def _boundaries(text: str | None) -> list[str]:
    """The boundaries to compare: none, all, or those named between commas."""
    if text is None:
        return []
    if text == "all":
        return [*BOUNDARIES]
    names = [*dict.fromkeys(name.strip() for name in text.split(","))]
    for name in names:
        require_known("boundary", name, ["all", *BOUNDARIES])
    return names


def _compare(
    given: Namespace, atlas: "Atlas", names: list[str], anchors: "list[Tensor]", console: Console
) -> None:
    """Fit a map against each boundary, draw the maps side by side, and print their calibration."""
    import torch

    from latent_atlas.report.figures.boundaries import draw_boundaries
    from latent_atlas.report.plots.style import save

    out = file_to_write(given, "boundaries.png")  # fails early if the folder does not exist
    maps = _fit_each(given, atlas, names, console)
    generator = torch.Generator(atlas.device).manual_seed(0)
    save(draw_boundaries(maps, atlas.codes["train"], anchors, generator=generator), out)
    numbers = {name: one.calibration.numbers() for name, one in maps.items()}
    lines = [f"{name:18} {one.calibration.verdict()}" for name, one in maps.items()]
    console.result({"file": str(out), "boundaries": numbers}, "\n".join([str(out), *lines]))


def _fit_each(
    given: Namespace, atlas: "Atlas", names: list[str], console: Console
) -> "dict[str, LatentMap]":
    """Maps by boundary; with `--boundaries all`, a boundary that cannot be fitted is left out."""
    from latent_atlas.report.figures.boundaries import fit_against

    codes = atlas.codes
    steps = COMPARISON_STEPS if given.steps is None else given.steps
    config: MapConfig = replace(atlas.config.map, steps=steps)
    maps = {}
    with console.progress() as advance:
        for done, name in enumerate(names):
            advance("boundaries", done, len(names), name)
            try:
                maps[name] = fit_against(name, codes["train"], codes["held_out"], config)
            except UserError as error:
                if given.boundaries != "all":
                    raise
                console.say(f"boundary {name} is left out: {error}")
        advance("boundaries", len(names), len(names), "")
    return maps
