"""What `pack`, `encode` and `anomalies` share: run a job on shards, show progress, report."""

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from latent_atlas.cli.console import Console
from latent_atlas.errors import counted, require

if TYPE_CHECKING:
    from latent_atlas.data.shards import Shards
    from latent_atlas.distributed.jobs import Job, Summary

__all__ = ["Report", "report_job", "run_job"]

Report = tuple[dict[str, Any], list[str]]
"""Numbers for machines, lines for people."""

SHOWN = 5  # rejects and failed shards that are printed; the files name all


def report_job(
    job: "Job",
    shards: "Shards",
    given: Namespace,
    console: Console,
    next_step: str,
    found: Callable[[dict[str, Any]], Report] = lambda manifest: ({}, []),
) -> None:
    """Do a job and print what it made; exit with 1 if a shard could not be read.

    Arguments:
        job, shards: As for `jobs.run`.
        given: The parsed arguments; `ray` is read.
        console: Where progress and the result are printed.
        next_step: What to do with the result, for people.
        found: What else manifest.json tells machines and people.
    """
    summary = run_job(job, shards, given, console)
    if summary is None:
        return  # the first process of torchrun speaks for all
    for mark in summary.failed[:SHOWN]:
        console.say(f"{mark['place']} ({mark['shard']}) could not be read: {mark['reason']}")
    lines = [
        f"{summary.rows:,} images in {counted(summary.shards, 'shard')}, {summary.rejects:,} "
        "rejected" + (f"; {job.out / 'rejects.jsonl'} names them" if summary.rejects else ""),
    ]
    if summary.failed:
        lines.append(
            f"{counted(len(summary.failed), 'shard')} could not be read and "
            f"{'is' if len(summary.failed) == 1 else 'are'} named in {job.out / 'manifest.json'}; "
            "repair their files and run the same command again"
        )
    numbers: dict[str, Any] = {
        "out": str(job.out),
        "images": summary.rows,
        "rejects": summary.rejects,
        "shards": summary.shards,
        "failed": summary.manifest["failed"],
        "notes": list(shards.notes),
    }
    more, rest = found(summary.manifest)
    console.result(numbers | more, "\n".join([*lines, *rest, next_step]))
    if summary.failed:
        sys.exit(1)


def run_job(job: "Job", shards: "Shards", given: Namespace, console: Console) -> "Summary | None":
    """Run a job with progress; None in a process of torchrun that is not the first."""
    from latent_atlas.distributed.jobs import alone, here, is_first, run
    from latent_atlas.distributed.ray_jobs import actors

    actors_wanted = getattr(given, "ray", None)
    require(
        actors_wanted is None or alone(),
        "--ray starts its own processes; leave it out under torchrun, or leave out torchrun",
    )
    gpu = getattr(given, "device", "cpu") != "cpu"
    executor = here if actors_wanted is None else actors(actors_wanted, gpu=gpu)
    if not is_first():
        return run(job, shards, executor=executor)
    for note in shards.notes:
        console.say(note)
    began = time.monotonic()
    with console.progress() as advance:

        def report(done: int, total: int, rows: int, rejects: int) -> None:
            speed = rows / max(time.monotonic() - began, 1e-3)
            remark = f"{rows:,} images, {rejects:,} rejected, {speed:,.0f} images/s"
            advance("shards", done, total, remark)

        return run(job, shards, executor=executor, advance=report)
