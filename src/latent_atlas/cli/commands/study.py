"""The command `study`: plan, time, cells over processes, and the answers."""

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import preset_of
from latent_atlas.cli.console import Console
from latent_atlas.config.run import with_settings
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from latent_atlas.study.design import Cell, Design
    from latent_atlas.study.results import StudyResults
    from latent_atlas.study.run import Conclusion
    from latent_atlas.study.timing import Estimate

__all__ = ["study"]

WORDS = {
    "run": "runs: E, G and D_x, each with a fresh probe D_z",
    "map": "maps: a D_z against each boundary",
    "sizes": "sample sizes: D_z beside a discriminator of images",
    "pullback": "discriminators of images as maps of Z",
}


def study(given: Namespace, console: Console) -> None:
    """Do whatever is left of a study, and answer its questions."""
    from latent_atlas.study.results import StudyResults
    from latent_atlas.study.run import conclude
    from latent_atlas.study.scheduler import run_cells, worker_devices

    devices = worker_devices(given.device or "auto", given.workers)
    design = _design(given)
    study_folder = StudyResults(Path(given.out))
    if not given.dry_run:
        study_folder.begin(design)
    cells = design.cells()
    left = [cell for cell in cells if not study_folder.done(cell)]
    console.say(
        f"{len(cells)} cells, {len(cells) - len(left)} of them done; {len(devices)} at a time on {devices[0]}"
    )
    plan = _estimated(design, study_folder, left, devices, console)
    console.say(_plan(plan))
    if given.dry_run:
        numbers = {"cells": [cell.name for cell in left], "seconds": plan.total}
        console.result(numbers, "nothing was done, as --dry-run asks")
        return
    with console.progress() as advance:
        ended = [len(cells) - len(left)]

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
            ("train.arm=", "train.seed=", "train.device=", "map.boundary=", "map.z_real=")
        ):
            raise UserError(
                f"'{setting}' is what a study varies itself; use --arms, --boundaries, --z-real, --device"
            )
    config = with_settings(config, settings + given.settings)
    named = {"modes": given.arms, "boundaries": given.boundaries, "z_real": given.z_real}
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
    """By cells that are done where there are some of every kind that is left, else by a rehearsal."""
    import torch

    from latent_atlas.study.timing import estimate, rehearse

    known: dict[str, list[float]] = {}
    for cell, numbers in study_folder.results(design.cells()).items():
        known.setdefault(cell.kind, []).append(numbers["seconds"])
    seconds = {kind: sum(times) / len(times) for kind, times in known.items()}
    if not {cell.kind for cell in left} <= set(known):
        console.say("rehearsal: a few steps of everything, to say how long it will take")
        threads = torch.get_num_threads()
        torch.set_num_threads(threads if len(devices) == 1 else 1)  # as the processes will compute
        seconds = rehearse(design, devices[0])
        torch.set_num_threads(threads)
    return estimate(seconds, left, len(devices))


def _plan(plan: "Estimate") -> str:
    """The plan in words."""
    if not plan.left:
        return "nothing is left to do"
    lines = [
        f"  {count:4} {WORDS[kind]}, at most {plan.seconds[kind]:.0f} s each"
        for kind, count in plan.left.items()
    ]
    return "\n".join(
        ["to do:", *lines, f"at most about {_time(plan.total)} in all, measured on this machine"]
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _tell(found: "Conclusion", given: Namespace, console: Console) -> None:
    """The answers in words, and all numbers as JSON."""
    lines = [f"{one.title}\n  {one.answer[0]}" for one in found.questions]
    if found.failures:
        lines.append(
            f"{len(found.failures)} cells failed; the page names them, and the same command tries them again"
        )
    numbers = {"study": given.out, "page": str(found.page), **found.as_json()}
    console.result(numbers, "\n".join([*lines, f"look at {found.page}"]))
