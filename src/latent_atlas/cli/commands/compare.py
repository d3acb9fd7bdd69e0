"""The command `compare`: whether other images are like those of a run, and where they differ."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import add_device, add_run, file_to_write, load_atlas
from latent_atlas.cli.console import Console
from latent_atlas.cli.images import Shown, read_given, say_if_seen
from latent_atlas.errors import printable, require

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["add_arguments", "compare"]


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `compare`."""
    add_run(parser)
    parser.add_argument(
        "other",
        metavar="OTHER",
        help="a folder, an archive, an array, a pack or a named set; another run whose codes the "
        "same model made; or, for a run of codes, a file of codes",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="PNG file to write (default: RUN/compare.png)"
    )
    add_device(parser)


def compare(given: Namespace, console: Console) -> None:
    """Print density, coverage and drift, and draw the images that are on one side alone."""
    from latent_atlas.atlas.overview import COMPARISON, compared
    from latent_atlas.report.figures.run import draw_lists
    from latent_atlas.report.plots.style import save

    given.nearest = True  # real images alone are shown
    atlas = load_atlas(given)
    out = file_to_write(given, "compare.png")
    if (Path(given.other) / "config.json").is_file():
        codes, names, shown = _of_run(given)
    else:
        say_if_seen(given.folder, [given.other], console)
        seen = read_given(given, [given.other], atlas, console)
        codes = seen.places if seen.places.ndim == 2 else atlas.encode(seen.places)
        names, shown = seen.names, seen.shown
    other = Path(given.other).name or given.other
    with console.waiting(f"comparing {len(names):,} images or codes"):
        found = atlas.compare(codes, names=names)
        section = compared(atlas, printable(other), codes.to(atlas.device), shown, found)
    section.save(Path(given.folder) / COMPARISON)
    about, lines = found.numbers(), [*section.sentences]
    picture = draw_lists(section)
    if picture is not None:
        about["picture"] = str(save(picture, out))
        lines.append(f"look at {out}")
    console.result(about, "\n".join(lines))


def _of_run(given: Namespace) -> "tuple[Tensor, tuple[str, ...], Shown]":
    """The codes of another run, and the names and the pictures of its images.

    Raises:
        UserError: another model made its codes.
    """
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.distributed.embedding import same_model

    require(
        same_model(Path(given.folder), Path(given.other)),
        f"the codes of {given.other} are not known to be of the model of {given.folder}, so they "
        "cannot be compared; give the images themselves",
    )
    other = Atlas.load(given.other, device=given.device or "auto", nearest=True)
    codes, names = other.real_images
    return codes, names, lambda rows: other.decode(codes[rows])
