"""The command `study`: plan the ablation study, estimate its time, run it, print its answers."""

import json
from argparse import ArgumentParser, Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import SOURCE, add_device, add_settings, preset_of
from latent_atlas.cli.console import Console, duration
from latent_atlas.config.density_ratio import BOUNDARIES
from latent_atlas.config.presets import with_changes
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from latent_atlas.study.design import Cell, Design
    from latent_atlas.study.results import StudyResults
    from latent_atlas.study.run import Conclusion
    from latent_atlas.study.timing import Estimate

__all__ = ["add_arguments", "study"]

WORDS = {
    "run": "runs: E, G and D_x, each with a new D_z to evaluate its codes",
    "map": "maps: one D_z per boundary and kind of real codes",
    "sizes": "sample sizes: D_z compared with an image discriminator",
    "pullback": "image discriminators used as maps of Z",
}


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `study`."""
    parser.add_argument("source", metavar="SOURCE", help=SOURCE)
    parser.add_argument(
        "--out",
        metavar="STUDY",
        required=True,
        help="study folder to create; the same command again continues it",
    )
    _add_compared(parser)
    _add_runs(parser)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes at a time (default: one per core, or four per GPU)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan and its time, and train nothing"
    )
    add_device(parser)
    add_settings(
        parser, "any other setting of the runs and maps, such as train.steps=800; repeatable"
    )


def _add_compared(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("what is compared")
    group.add_argument(
        "--modes",
        metavar="M,M",
        help="training modes to compare, of separate, online, adversarial (default: all)",
    )
    group.add_argument(
        "--boundaries",
        metavar="B,B",
        help=f"boundaries to compare, of {', '.join(BOUNDARIES)} (default: "
        "prior,box,radius,low-density,between,mixture)",
    )
    group.add_argument(
        "--z-real",
        metavar="Z,Z",
        help="real codes to compare, of samples (of q(z|x)) and means (default: both)",
    )


def _add_runs(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("each run")
    group.add_argument(
        "--budget",
        metavar="B",
        default="small",
        help="size of each run: small (default; minutes on two cores) or full (needs a GPU)",
    )
    group.add_argument(
        "--preset",
        metavar="P",
        help="configuration of the runs, before the budget (default: as for train)",
    )
    group.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        default=3,
        help="repetitions of each run; the tests need 3 or more (default: 3)",
    )
    group.add_argument("--limit", type=int, metavar="N", help="use at most N images")
    group.add_argument(
        "--extractor",
        metavar="E",
        help="feature extractor, as for evaluate (default: a classifier if there are classes)",
    )


def study(given: Namespace, console: Console) -> None:
    """Run the cells of a study that are not done yet, and answer its questions."""
    from latent_atlas.study.results import StudyResults
    from latent_atlas.study.scheduler import worker_devices

    devices = worker_devices(given.device or "auto", given.workers)
    design = _design(given)
    study_folder = StudyResults(Path(given.out))
    with nullcontext() if given.dry_run else study_folder.hold():
        _study(given, design, study_folder, devices, console)


def _study(
    given: Namespace,
    design: "Design",
    study_folder: "StudyResults",
    devices: list[str],
    console: Console,
) -> None:
    """Run and answer the study in a folder that this process holds."""
    from latent_atlas.study.run import conclude
    from latent_atlas.study.scheduler import run_cells

    if not given.dry_run:
        study_folder.begin(design)
    cells = design.cells()
    left = [cell for cell in cells if not study_folder.done(cell)]
    console.say(
        f"{len(cells)} cells, {len(cells) - len(left)} of them done; {len(devices)} at a time on "
        f"{devices[0]}"
    )
    plan = _estimated(design, study_folder, left, devices, console)
    console.say(_plan(plan))
    if given.dry_run:
        numbers = {"cells": [cell.name for cell in left], "seconds": plan.total}
        console.result(numbers, "--dry-run: nothing was trained")
        return
    with console.progress() as advance:
        ended = [len(cells) - len(left)]
        advance("cells", ended[0], len(cells), "")

        def report(cell: "Cell", sentence: str | None, seconds: float) -> None:
            ended[0] += 1
            if sentence is not None:
                console.say(f"{cell.name} failed: {sentence}")
            advance(
                "cells",
                ended[0],
                len(cells),
                f"{cell.name} {'failed' if sentence else f'in {seconds:.0f} s'}",
            )

        run_cells(study_folder.path, cells, devices, report)
    _tell(conclude(study_folder.path), given, console)


def _design(given: Namespace) -> "Design":
    """What the command line asks for."""
    from latent_atlas.study.design import Grid, with_budget
    from latent_atlas.study.run import make_design

    config, effort = with_budget(preset_of(given.source, given.preset), given.budget)
    flags = {"data.source": given.source, "data.limit": given.limit}
    settings = [
        f"{place}={json.dumps(value)}" for place, value in flags.items() if value is not None
    ]
    for setting in given.settings:
        if setting.startswith(
            ("train.mode=", "train.seed=", "train.device=", "map.boundary=", "map.z_real=")
        ):
            raise UserError(
                f"--set {setting}: a study varies this itself; use --modes, --boundaries, "
                "--z-real, --seeds or --device"
            )
    config = with_changes(config, settings + given.settings)
    named = {"modes": given.modes, "boundaries": given.boundaries, "z_real": given.z_real}
    chosen = {
        name: tuple(dict.fromkeys(w.strip() for w in words.split(",")))
        for name, words in named.items()
        if words
    }
    return make_design(config, effort, Grid(seeds=given.seeds, **chosen), given.extractor)


def _estimated(
    design: "Design",
    study_folder: "StudyResults",
    left: "list[Cell]",
    devices: list[str],
    console: Console,
) -> "Estimate":
    """The time left: from finished cells if every kind has some, else from a rehearsal."""
    import torch

    from latent_atlas.study.timing import estimate, rehearse

    known: dict[str, list[float]] = {}
    for cell, numbers in study_folder.results(design.cells()).items():
        known.setdefault(cell.kind, []).append(numbers["seconds"])
    seconds = {kind: sum(times) / len(times) for kind, times in known.items()}
    if not {cell.kind for cell in left} <= set(known):
        console.say("running a few steps of everything to estimate the time, in a minute or so")
        threads = torch.get_num_threads()
        torch.set_num_threads(threads if len(devices) == 1 else 1)  # as the processes will compute
        seconds = rehearse(design, devices[0])
        torch.set_num_threads(threads)
    return estimate(seconds, left, len(devices))


def _plan(plan: "Estimate") -> str:
    """The plan in words: the number of cells of each kind, and the time."""
    if not plan.left:
        return "nothing is left to do"
    lines = [
        f"  {count:4} {WORDS[kind]}, at most {plan.seconds[kind]:.0f} s each"
        for kind, count in plan.left.items()
    ]
    total = f"at most about {duration(plan.total)} in total, measured on this machine"
    return "\n".join(["to do:", *lines, total])


def _tell(found: "Conclusion", given: Namespace, console: Console) -> None:
    """Print the answers; all numbers as JSON."""
    lines = [f"{one.title}\n  {one.answer[0]}" for one in found.questions]
    if found.failures:
        lines.append(
            f"{len(found.failures)} cells failed; the page names them, and the same command tries "
            "them again"
        )
    numbers = {"study": given.out, "page": str(found.page), **found.as_json()}
    console.result(numbers, "\n".join([*lines, f"open {found.page}"]))
