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
    from latent_atlas.study.scheduler import carry_out, crew_of

    crew = crew_of(given.device or "auto", given.workers)
    design = _design(given)
    ledger = StudyResults(Path(given.out))
    if not given.dry_run:
        ledger.begin(design)
    cells = design.cells()
    left = [cell for cell in cells if not ledger.done(cell)]
    console.say(
        f"{len(cells)} cells, {len(cells) - len(left)} of them done; {len(crew)} at a time on {crew[0]}"
    )
    plan = _estimated(design, ledger, left, crew, console)
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

        carry_out(ledger.path, cells, crew, report)
    _tell(conclude(ledger.path), given, console)


def _design(given: Namespace) -> "Design":
    """What the command line asks for."""
    from latent_atlas.study.design import Grid, budgeted
    from latent_atlas.study.run import designed

    config, effort = budgeted(preset_of(given.source, given.preset), given.budget)
    flags = {"data.source": given.source, "data.limit": given.limit}
    settings = [
        f"{place}={json.dumps(value)}" for place, value in flags.items() if value is not None
    ]
    for setting in given.settings:
        if setting.startswith(
            ("train.mode=", "train.seed=", "train.device=", "map.boundary=", "map.z_real=")
        ):
            raise UserError(
                f"'{setting}' is what a study varies itself; use --arms, --boundaries, --z-real, --device"
            )
    config = with_settings(config, settings + given.settings)
    named = {"arms": given.arms, "boundaries": given.boundaries, "z_real": given.z_real}
    chosen = {
        name: tuple(dict.fromkeys(w.strip() for w in words.split(",")))
        for name, words in named.items()
        if words
    }
    return designed(config, effort, Grid(seeds=given.seeds, **chosen), given.extractor)


def _estimated(
    design: "Design", ledger: "StudyResults", left: "list[Cell]", crew: list[str], console: Console
) -> "Estimate":
    """By cells that are done where there are some of every kind that is left, else by a rehearsal."""
    import torch

    from latent_atlas.study.timing import estimate, rehearse

    known: dict[str, list[float]] = {}
    for cell, numbers in ledger.results(design.cells()).items():
        known.setdefault(cell.kind, []).append(numbers["seconds"])
    seconds = {kind: sum(times) / len(times) for kind, times in known.items()}
    if not {cell.kind for cell in left} <= set(known):
        console.say("rehearsal: a few steps of everything, to say how long it will take")
        threads = torch.get_num_threads()
        torch.set_num_threads(threads if len(crew) == 1 else 1)  # as the processes will compute
        seconds = rehearse(design, crew[0])
        torch.set_num_threads(threads)
    return estimate(seconds, left, len(crew))


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
