"""The commands `push` and `pull`: a run to the Hugging Face hub, and one from there."""

import shutil
from argparse import ArgumentParser, Namespace
from pathlib import Path

from latent_atlas.cli.arguments import add_run
from latent_atlas.cli.console import Console

__all__ = ["add_arguments", "add_pull_arguments", "pull", "push"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `push`."""
    add_run(parser)
    parser.add_argument(
        "name", metavar="hf:OWNER/NAME", help="repository, which is made if it is not there"
    )
    parser.add_argument(
        "--own-images",
        action="store_true",
        help="publish codes although the source of the images is not public: decoded they look "
        "like these images",
    )
    parser.add_argument("--public", action="store_true", help="let all see the repository")
    parser.add_argument(
        "--licence", metavar="L", help="licence of the model by its name on the hub: cc-by-4.0"
    )


def push(given: Namespace, console: Console) -> None:
    """Publish a run."""
    from latent_atlas.atlas import hub

    with console.waiting(f"uploading to {given.name}"):
        url = hub.push(
            Path(given.folder),
            given.name,
            own_images=given.own_images,
            public=given.public,
            licence=given.licence,
        )
    console.result({"repository": given.name, "url": url}, url)


def add_pull_arguments(parser: ArgumentParser) -> None:
    """The arguments of `pull`."""
    parser.add_argument(
        "name",
        metavar="hf:OWNER/NAME",
        help="repository of the Hugging Face hub; @REVISION after it names a branch, tag or commit",
    )
    parser.add_argument("--out", metavar="RUN", required=True, help="run folder to create")


def pull(given: Namespace, console: Console) -> None:
    """Download a published run."""
    from latent_atlas.atlas import hub
    from latent_atlas.runs import Run

    out = Path(given.out)
    Run(out).claim()
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with console.waiting(f"downloading {given.name}"):
            shutil.copytree(hub.fetch(given.name), partial)
        partial.rename(out)  # complete, or not there
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    console.result({"run": given.out}, f"the run is in {given.out}")
