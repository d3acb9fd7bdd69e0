"""The command `track`: send a run to an experiment tracker."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from latent_atlas.cli.arguments import TRACKER, add_run
from latent_atlas.cli.console import Console
from latent_atlas.errors import counted

__all__ = ["add_arguments", "track"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `track`."""
    add_run(parser)
    parser.add_argument("tracker", metavar="TRACKER", help=TRACKER)


def track(given: Namespace, console: Console) -> None:
    """Send what the tracker has not got."""
    from latent_atlas.report.trackers import track
    from latent_atlas.runs import Run

    run = Run(Path(given.folder))
    with run.hold():
        sent = track(run, given.tracker)
    numbers = {"run": str(run.path), "tracker": given.tracker, **sent._asdict()}
    files = f": {', '.join(sent.files)}" if sent.files else ""
    console.result(
        numbers,
        f"{given.tracker} got {counted(sent.records, 'record')} of {run.path} and "
        f"{counted(len(sent.files), 'file')}{files}",
    )
