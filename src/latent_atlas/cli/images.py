"""Images, or codes, that a command looks at beside those of its run."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.console import Console
from latent_atlas.errors import require

if TYPE_CHECKING:
    from torch import Tensor

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.data.decode import Square
    from latent_atlas.data.imageset import ImageSet, Reject

__all__ = ["Given", "Shown", "read_given", "say_if_seen"]

Shown = Callable[[list[int]], "Tensor"]
"""Pictures of images by their row numbers, (n, c, h, w) in [0, 1]."""

PRINTED = 5  # rejects that are printed


@dataclass(frozen=True)
class Given:
    """Images that were given, or codes.

    Attributes:
        places: What `Atlas` takes: images (n, c, h, w) as bytes, or codes (n, d).
        names: Of each.
        pictures: The images at the size of those that the atlas shows; None of a file of codes.
        rejects: The images that could not be decoded.
    """

    places: "Tensor"
    names: tuple[str, ...]
    pictures: "Tensor | None" = None
    rejects: "tuple[Reject, ...]" = ()

    @property
    def shown(self) -> "Shown | None":
        """The pictures of some rows, in [0, 1]."""
        from latent_atlas.shapes import to_float

        pictures = self.pictures
        return None if pictures is None else lambda rows: to_float(pictures[rows])


def read_given(given: Namespace, places: list[str], atlas: "Atlas", console: Console) -> Given:
    """Images as a run takes them: as the squares of its model, as codes by its embedder, or codes.

    Arguments:
        given: The parsed arguments; `folder` and `device` are read.
        places: Image files and sources; of a run without images, one file of codes.
        atlas: The atlas of the run.
        console: Where progress, notes and rejects are printed.

    Raises:
        UserError: they cannot be read, or the embedder of the run has changed.
    """
    from latent_atlas.atlas.collection import thumbnails
    from latent_atlas.data.load import square_of

    if atlas.shown_shape is None:
        return _codes(places, console)
    if atlas.collection is None:
        channels, side, _ = atlas.image_shape
        images = _read(places, square_of(atlas.config.data, side, channels), console)
        squares = images.images[:]
        return Given(squares, tuple(images.names), squares, images.rejects)
    embedder, square = atlas.collection.embedder
    images = _read(places, square, console)
    codes = embedder(images.images[:])
    pictures = thumbnails(images.images[:], atlas.collection.image_shape[-1])
    return Given(codes, tuple(images.names), pictures, images.rejects)


def _codes(places: list[str], console: Console) -> Given:
    """The codes of a file."""
    from latent_atlas.codes.files import read_collection

    require(
        len(places) == 1,
        f"this run has codes and no model; give one file of codes, not {len(places)}",
    )
    codes = read_collection(Path(places[0]))
    for note in codes.warnings:
        console.say(note)
    return Given(codes.arrays()[0], tuple(f"row:{row}" for row in codes.rows.tolist()))


def _read(places: list[str], square: "Square", console: Console) -> "ImageSet":
    """Images from files, as squares; what is left out is said."""
    from latent_atlas.data.adhoc import read_images

    with console.progress() as advance:
        images = read_images(
            places,
            square,
            progress=lambda done, total, bad: advance(
                "images", done, total, f"{bad} unreadable" if bad else ""
            ),
        )
    for note in images.notes:
        console.say(note)
    for reject in images.rejects[:PRINTED]:
        console.say(f"{reject.path} is left out: {reject.reason}")
    if len(images.rejects) > PRINTED:
        console.say(f"and {len(images.rejects) - PRINTED} more are left out; --json names all")
    return images


def say_if_seen(folder: str, places: list[str], console: Console) -> None:
    """Say it where a run was trained on images that it is to judge."""
    from latent_atlas.distributed.jobs import is_first
    from latent_atlas.runs import Run

    made_of = Run(Path(folder)).read_json("manifest.json") or {}
    if "image_size" not in made_of or not is_first():
        return
    own = {place for name in ("source", "path") for place in _places(made_of.get(name, ""))}
    asked = {place for image in places for place in _places(image)}
    if any(own & {place, *place.parents} for place in asked):
        console.say(
            "these images belong to those that the run was made from, of which it was trained on "
            f"{made_of['n_train']:,} of {made_of['n']:,}: an image that it has seen looks more "
            "usual than a new one, so p-values hold for the others alone"
        )


def _places(source: str) -> set[Path]:
    """All names of a source; of a pack, also those of what was packed."""
    from latent_atlas.data.packed import Pack

    packed = str(Pack.open(source).about["source"]) if source and Pack.is_at(source) else ""
    return {Path(name).expanduser().absolute() for name in (source, packed) if name}
