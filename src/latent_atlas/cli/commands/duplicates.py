"""The command `duplicates`: copies and near-duplicates in a collection."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import add_device, file_to_write, load_atlas
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError, counted, printable

if TYPE_CHECKING:
    from latent_atlas.atlas.collection import Collection
    from latent_atlas.atlas.duplicates import Duplicates

__all__ = ["add_arguments", "duplicates"]

PRINTED, DRAWN = 20, 16  # groups
ACROSS = 8  # images of a group that are drawn


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `duplicates`."""
    parser.add_argument("folder", metavar="RUN", help="run folder of embed")
    parser.add_argument(
        "--within",
        type=float,
        metavar="S",
        default=0.3,
        help="near-duplicates are closer than this share of the median distance from an image to "
        "the nearest other (default: 0.3)",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="PNG file to write (default: RUN/duplicates.png)"
    )
    add_device(parser)


def duplicates(given: Namespace, console: Console) -> None:
    """Print the groups, the copies first, and draw them."""
    from latent_atlas.atlas.duplicates import find_duplicates

    atlas = load_atlas(given)
    if atlas.collection is None:
        raise UserError(
            f"{given.folder} keeps no images of its collection; `latent-atlas embed SOURCE --out "
            "RUN` makes a run that does"
        )
    out = file_to_write(given, "duplicates.png")
    found = find_duplicates(atlas.collection, given.within)
    picture = _draw(found, atlas.collection, out) if found.groups else None
    exact = sum(group.exact for group in found.groups)
    lines = [
        f"{counted(exact, 'group')} of copies and {counted(len(found.groups) - exact, 'group')} of "
        f"near-duplicates: closer than {found.within:.3g}, where the nearest other image is "
        f"usually {found.typical:.3g} away"
    ]
    for group in found.groups[:PRINTED]:
        names = ", ".join(printable(atlas.collection.names[row]) for row in group.rows)
        lines.append(f"{'copies' if group.exact else f'{group.distance:.3g}':8} {names}")
    if len(found.groups) > PRINTED:
        lines.append(f"and {len(found.groups) - PRINTED} more; --json names all")
    numbers = found.numbers(atlas.collection.names) | {"file": picture and str(picture)}
    console.result(numbers, "\n".join([*lines, *([f"look at {picture}"] if picture else [])]))


def _draw(found: "Duplicates", collection: "Collection", out: Path) -> Path:
    """A row of thumbnails for each of the first groups."""
    import torch

    from latent_atlas.report.plots.image_grid import comparison_sheet, padded
    from latent_atlas.report.plots.style import save

    groups = found.groups[:DRAWN]
    across = min(ACROSS, max(len(group.rows) for group in groups))
    rows = {}
    for number, group in enumerate(groups, 1):
        images = collection.thumbnails(torch.tensor(group.rows[:across])).numpy()
        title = f"{number}  {'copies' if group.exact else f'{group.distance:.2g}'}"
        rows[title] = padded(images, across)
    return save(comparison_sheet(rows), out)
