"""The command `completion`: a script by which a shell completes commands, options and files."""

from argparse import ArgumentParser, Namespace

from latent_atlas.cli.console import Console
from latent_atlas.config.density_ratio import BOUNDARIES
from latent_atlas.config.presets import PRESETS

__all__ = ["add_arguments", "completion"]

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
FILES = {"CODES", "FILE", "FOLDER", "IMAGES", "OTHER", "OUT", "PLACE", "RUN", "SOURCE", "STUDY"}
"""The metavars of arguments that name files or folders."""


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `completion`."""
    parser.add_argument(
        "shell",
        metavar="SHELL",
        choices=SHELLS,
        help=f"{', '.join(SHELLS)}; for bash, add to ~/.bashrc: "
        'eval "$(latent-atlas completion bash)"',
    )


def completion(given: Namespace, console: Console) -> None:
    """Print the script."""
    import shtab

    from latent_atlas.cli.parser import build_parser
    from latent_atlas.sampling.registry import SAMPLERS
    from latent_atlas.travel.planners.registry import PLANNERS

    parser = build_parser()
    names = {
        "--boundary": BOUNDARIES,
        "--planner": PLANNERS,
        "--preset": PRESETS,
        "--sampler": ("auto", *SAMPLERS),
    }
    for action in parser.arguments():
        if action.metavar in FILES:
            action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]
        for option in names.keys() & set(action.option_strings):
            action.choices = [*names[option]]
    script = shtab.complete(parser, given.shell)
    console.result({"shell": given.shell, "script": script}, script)
