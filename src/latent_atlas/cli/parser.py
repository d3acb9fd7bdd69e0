"""The grammar of the command line. It imports no torch, so that `--help` answers at once."""

import sys
from argparse import Action, ArgumentError, ArgumentParser, HelpFormatter, Namespace
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any, NoReturn

from latent_atlas import __version__
from latent_atlas.cli.commands import (
    anomalies,
    compare,
    completion,
    demo,
    doctor,
    duplicates,
    embed,
    encode,
    evaluate,
    export,
    fit,
    map,
    pack,
    push,
    report,
    sample,
    serve,
    study,
    track,
    train,
    travel,
)
from latent_atlas.cli.console import Console
from latent_atlas.errors import WORDS, UserError, did_you_mean, require_known

__all__ = ["build_parser"]

Command = Callable[[Namespace, Console], None]

COMMANDS: dict[str, tuple[Command, Callable[[ArgumentParser], None], str]] = {
    "demo": (
        demo.demo,
        demo.add_arguments,
        "train on handwritten digits, or letters of fonts, in minutes, and write a report",
    ),
    "train": (
        train.train,
        train.add_arguments,
        "train the networks and the map on images, and write a report",
    ),
    "pack": (
        pack.pack,
        pack.add_arguments,
        "decode a large source once, into a folder that train reads",
    ),
    "encode": (
        encode.encode,
        encode.add_arguments,
        "write the codes of any number of images, shard by shard",
    ),
    "embed": (
        embed.embed,
        embed.add_arguments,
        "put a collection of images on a map by a pretrained network, without training one",
    ),
    "fit": (
        fit.fit,
        fit.add_arguments,
        "fit a map to latent codes of any model, without its images",
    ),
    "map": (
        map.map,
        map.add_arguments,
        "draw the density on the plane through three images",
    ),
    "travel": (
        travel.travel,
        travel.add_arguments,
        "travel from image to image through regions of high density",
    ),
    "sample": (
        sample.sample,
        sample.add_arguments,
        "draw new images from the data distribution",
    ),
    "anomalies": (
        anomalies.anomalies,
        anomalies.add_arguments,
        "anomaly scores of images, calibrated on held-out real images",
    ),
    "compare": (
        compare.compare,
        compare.add_arguments,
        "tell whether other images are like those of a run, and where they differ",
    ),
    "duplicates": (
        duplicates.duplicates,
        duplicates.add_arguments,
        "copies and near-duplicates in a collection on a map",
    ),
    "evaluate": (
        evaluate.evaluate,
        evaluate.add_arguments,
        "measure a run on held-out images, with baselines",
    ),
    "report": (
        report.report,
        report.add_arguments,
        "draw the figures of a run and write its HTML page",
    ),
    "serve": (
        serve.serve,
        serve.add_arguments,
        "open the explorer: a run's map and paths in the browser",
    ),
    "export": (
        export.export,
        export.add_arguments,
        "write the networks as ONNX or torch.export, or the images as a table",
    ),
    "push": (
        push.push,
        push.add_arguments,
        "publish a run on the Hugging Face hub, with a model card",
    ),
    "pull": (
        push.pull,
        push.add_pull_arguments,
        "download a run that was published on the Hugging Face hub",
    ),
    "study": (
        study.study,
        study.add_arguments,
        "compare training modes and boundaries on your own images",
    ),
    "track": (
        track.track,
        track.add_arguments,
        "send the losses, metrics and pictures of a run to a tracker",
    ),
    "doctor": (
        doctor.doctor,
        doctor.add_arguments,
        "verify a run; without one, print versions and devices, or measure speed",
    ),
    "completion": (
        completion.completion,
        completion.add_arguments,
        "print a script by which a shell completes",
    ),
}
"""What carries out each command, what it takes, and what it does; in the order of the help."""

START = """\
Latent Atlas learns where your images lie in a latent space, and travels there.

Try it on handwritten digits, in a minute or two:
  latent-atlas demo

Train on images of your own, in minutes:
  latent-atlas train PHOTOS --out runs/photos --quick

Explore what was trained, in the browser:
  latent-atlas serve runs/photos

All commands: latent-atlas --help"""
"""What the command says without arguments."""


class _Help(HelpFormatter):
    """Help whose first line has what must be given; the options are listed below it."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        """Leave out what may be left out."""
        needed = [a for a in actions if a.required or not a.option_strings or a.dest == "help"]
        super().add_usage(usage, needed, [], prefix)


class _Parser(ArgumentParser):
    """A parser whose errors are one line that asks for the nearest name."""

    def error(self, message: str) -> NoReturn:
        end = " See" if message.endswith("?") else "; see"
        self.exit(2, f"{self.prog}: {message}{end} {self.prog} --help\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit, once what was printed is written; raises an OSError if nobody reads it."""
        sys.stdout.flush()
        super().exit(status, message)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] - it is overloaded
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Parse, and refuse an option that there is not before one that is missing."""
        if self._subparsers is None:
            for word in takewhile(lambda word: word != "--", args):
                name = word.partition("=")[0]
                if name.startswith("--") and not any(o.startswith(name) for o in self._options()):
                    self._refuse(word)
        parsed, rest = super().parse_known_args(args, namespace)
        if rest:
            self._refuse(rest[0])
        return parsed, rest

    def _refuse(self, word: str) -> NoReturn:
        """Say that there is no such argument, and ask for the nearest option."""
        asked = did_you_mean(word.partition("=")[0], self._options())
        self.error(f"no argument '{word}'{asked}")

    def _options(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]

    def _check_value(self, action: Action, value: Any) -> None:
        """Refuse what is none of the choices."""
        if action.choices is None:
            return
        positional = not action.option_strings
        kind = str(action.metavar).lower() if positional else "value"
        try:
            require_known(kind, value, action.choices)
        except UserError as error:
            raise ArgumentError(None if positional else action, str(error)) from None

    def _get_value(self, action: Action, arg_string: str) -> Any:
        """The value of an argument; a number that is none is told in words."""
        try:
            return super()._get_value(action, arg_string)
        except ArgumentError:
            if action.type not in (int, float):
                raise
            raise ArgumentError(action, f"'{arg_string}' is not {WORDS[action.type]}") from None

    def commands(self) -> "dict[str, _Parser]":
        """The parsers of the commands, by name."""
        return next((a.choices for a in self._actions if isinstance(a.choices, dict)), {})

    def arguments(self) -> Iterator[Action]:
        """Every argument of every command."""
        for command in self.commands().values():
            yield from command._actions


def _start(given: Namespace, console: Console) -> None:
    """Show a newcomer what to do first."""
    console.result({}, START)


def build_parser() -> _Parser:
    """The parser of all commands; each sets `run_command` to the function that carries it out."""
    parser = _Parser(
        prog="latent-atlas",
        description="Learn a latent space of your images with a map of its density, and travel "
        "through it.",
        epilog="Start with: latent-atlas demo",
    )
    parser.add_argument("--version", action="version", version=f"latent-atlas {__version__}")
    parser.set_defaults(run_command=_start, json=False)
    chosen = parser.add_subparsers(title="commands", metavar="COMMAND")

    for name, (run, add_arguments, help) in COMMANDS.items():
        command = chosen.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".", formatter_class=_Help
        )
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run_command=run)
        add_arguments(command)
    return parser
