"""The command `demo`: train on handwritten digits, and write a report."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from latent_atlas.cli.arguments import add_device
from latent_atlas.cli.commands.train import train_and_report
from latent_atlas.cli.console import Console
from latent_atlas.config.presets import PRESETS
from latent_atlas.config.run import with_settings

__all__ = ["add_arguments", "demo"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `demo`."""
    parser.add_argument(
        "--out",
        metavar="RUN",
        default="runs/demo",
        help="run folder to create, or to finish (default: %(default)s)",
    )
    add_device(parser)


def demo(given: Namespace, console: Console) -> None:
    """Train on digits, or finish the run that is already in --out, and report on it."""
    out = Path(given.out)
    settings = [] if given.device is None else [f"train.device={given.device}"]
    config = with_settings(PRESETS["digits"], settings)
    train_and_report(config, out, console, resume=(out / "config.json").is_file())
