"""The command `duplicates`: copies and near-duplicates in a collection."""

from argparse import ArgumentParser, Namespace

from latent_atlas.cli.arguments import add_device, file_to_write, load_atlas
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError, printable

__all__ = ["add_arguments", "duplicates"]

PRINTED = 20  # groups


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
    from latent_atlas.atlas.overview import duplicated
    from latent_atlas.report.figures.run import draw_lists
    from latent_atlas.report.plots.style import save

    atlas = load_atlas(given)
    if atlas.collection is None:
        raise UserError(
            f"{given.folder} keeps no images of its collection; `latent-atlas embed SOURCE --out "
            "RUN` makes a run that does"
        )
    out = file_to_write(given, "duplicates.png")
    with console.waiting(f"searching {len(atlas.collection.names):,} images"):
        found = find_duplicates(atlas.collection, given.within)
    section = duplicated(atlas.collection, found)
    figure = draw_lists(section)
    picture = None if figure is None else save(figure, out)
    lines = [*section.sentences]
    for group in found.groups[:PRINTED]:
        names = ", ".join(printable(atlas.collection.names[row]) for row in group.rows)
        lines.append(f"{'copies' if group.exact else f'{group.distance:.3g}':8} {names}")
    if len(found.groups) > PRINTED:
        lines.append(f"and {len(found.groups) - PRINTED} more; --json names all")
    numbers = found.numbers(atlas.collection.names) | {"file": picture and str(picture)}
    console.result(numbers, "\n".join([*lines, *([f"look at {picture}"] if picture else [])]))
