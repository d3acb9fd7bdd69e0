"""The grammar of the command line. It imports no torch, so that `--help` answers at once."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import NoReturn

from latent_atlas import __version__
from latent_atlas.cli.commands import (
    anomalies,
    compare,
    demo,
    doctor,
    duplicates,
    embed,
    encode,
    evaluate,
    fit,
    map,
    pack,
    report,
    sample,
    serve,
    study,
    track,
    train,
    travel,
)
from latent_atlas.cli.console import Console

__all__ = ["build_parser"]

Command = Callable[[Namespace, Console], None]


class _Parser(ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> ArgumentParser:
    """The parser of all commands; each sets `run_command` to the function that carries it out."""
    parser = _Parser(
        prog="latent-atlas",
        description="Learn a latent space of your images with a map of its density, and travel "
        "through it.",
        epilog="Start with: latent-atlas demo",
    )
    parser.add_argument("--version", action="version", version=f"latent-atlas {__version__}")
    chosen = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Command, help: str) -> ArgumentParser:
        command = chosen.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run_command=run)
        return command

    demo.add_arguments(
        add("demo", demo.demo, "train on handwritten digits in minutes, and write a report")
    )
    train.add_arguments(
        add("train", train.train, "train the networks and the map on images, and write a report")
    )
    pack.add_arguments(
        add("pack", pack.pack, "decode a large source once, into a folder that train reads")
    )
    encode.add_arguments(
        add("encode", encode.encode, "write the codes of any number of images, shard by shard")
    )
    embed.add_arguments(
        add(
            "embed",
            embed.embed,
            "put a collection of images on a map by a pretrained network, without training one",
        )
    )
    fit.add_arguments(
        add("fit", fit.fit, "fit a map to latent codes of any model, without its images")
    )
    map.add_arguments(add("map", map.map, "draw the density on the plane through three images"))
    travel.add_arguments(
        add("travel", travel.travel, "travel from image to image through regions of high density")
    )
    sample.add_arguments(add("sample", sample.sample, "draw new images from the data distribution"))
    anomalies.add_arguments(
        add(
            "anomalies",
            anomalies.anomalies,
            "anomaly scores of images, calibrated on held-out real images",
        )
    )
    compare.add_arguments(
        add(
            "compare",
            compare.compare,
            "tell whether other images are like those of a run, and where they differ",
        )
    )
    duplicates.add_arguments(
        add(
            "duplicates",
            duplicates.duplicates,
            "copies and near-duplicates in a collection on a map",
        )
    )
    evaluate.add_arguments(
        add("evaluate", evaluate.evaluate, "measure a run on held-out images, with baselines")
    )
    report.add_arguments(
        add("report", report.report, "draw the figures of a run and write its HTML page")
    )
    serve.add_arguments(
        add("serve", serve.serve, "open the explorer: a run's map and paths in the browser")
    )
    study.add_arguments(
        add("study", study.study, "compare training modes and boundaries on your own images")
    )
    track.add_arguments(
        add("track", track.track, "send the losses, metrics and pictures of a run to a tracker")
    )
    doctor.add_arguments(
        add(
            "doctor",
            doctor.doctor,
            "verify a run; without one, print versions and devices, or measure speed",
        )
    )
    return parser
