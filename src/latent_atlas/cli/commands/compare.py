"""The command `compare`: whether other images are like those of a run, and where they differ."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import add_device, add_run, file_to_write, load_atlas
from latent_atlas.cli.console import Console
from latent_atlas.cli.images import Shown, read_given, say_if_seen
from latent_atlas.errors import counted, printable, require

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = ["add_arguments", "compare"]

PRINTED, DRAWN = 5, 16  # images at either end


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
    given.nearest = True  # real images alone are shown
    atlas = load_atlas(given)
    out = file_to_write(given, "compare.png")
    if (Path(given.other) / "config.json").is_file():
        codes, names, shown = _of_run(given)
    else:
        say_if_seen(given.folder, [given.other], console)
        seen = read_given(given, [given.other], atlas, console)
        codes, names, shown = seen.places, seen.names, seen.shown
    found = atlas.compare(codes, names=names)
    real, real_names = atlas.real_images
    shown_real = None if atlas.shown_shape is None else lambda rows: atlas.decode(real[rows])
    lines, pictures = found.sentences(), {}
    for title, count, rows, called, draw in (
        ("of OTHER unlike those of RUN", len(found.unlike), found.unlike[:DRAWN], names, shown),
        ("of RUN that OTHER lacks", len(found.missing), found.examples, real_names, shown_real),
    ):
        told = [printable(called[row]) for row in rows[:PRINTED]]
        instance = f", for instance {', '.join(told)}" if told else ""
        lines.append(f"{counted(count, 'image')} {title}{instance}")
        if rows and draw is not None:
            pictures[title] = draw(rows).cpu().numpy()
    about = found.numbers()
    if pictures:
        about["picture"] = str(_drawn(pictures, out))
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


def _drawn(rows: "dict[str, np.ndarray]", out: Path) -> Path:
    """A picture of rows of images, of which the longest decides the width."""
    from latent_atlas.report.plots.image_grid import comparison_sheet, padded
    from latent_atlas.report.plots.style import save

    across = max(map(len, rows.values()))
    return save(comparison_sheet({name: padded(row, across) for name, row in rows.items()}), out)
