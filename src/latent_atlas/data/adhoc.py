"""Images that a command is given to look at, and not to train on."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import torch

from latent_atlas.data.decode import IMAGE_SUFFIXES, Square, quiet, read_file
from latent_atlas.data.imageset import ImageSet
from latent_atlas.data.load import open_source
from latent_atlas.data.parallel_read import Progress, Reading, read_all
from latent_atlas.data.source import Item, Source
from latent_atlas.device import free_memory
from latent_atlas.errors import UserError, counted, require

__all__ = ["read_images"]

COPIES = 2  # times the decoded images that are in memory while they are joined


def read_images(
    places: Sequence[str], square: Square, *, progress: Progress | None = None
) -> ImageSet:
    """Read all images at some places, however few or many.

    Arguments:
        places: Image files, and sources as for `load_images`, in any order.
        square: What every image becomes.
        progress: Called now and then, for each place, with the number of its items done, of all its
            items, and of rejects.

    Returns:
        The images in the order of the places, all of them held out, named by their paths or rows;
        its rejects are the files that could not be decoded.

    Raises:
        UserError: a place does not exist, or none of the images can be decoded.
    """
    readings: list[Reading] = []
    names: list[str] = []
    for place in places:
        with quiet(), closing(_source(place)) as source:
            _check_memory(place, len(source.items), square)
            reading = read_all(source.items, square, source.in_turn, progress)
        readings.append(reading)
        # The files of several folders may have the same names.
        folder = f"{Path(place)}/" if len(places) > 1 and Path(place).is_dir() else ""
        names += [folder + source.items[i].name for i in reading.kept]
    rejects = tuple(reject for reading in readings for reject in reading.rejects)
    if not names:
        first = f", for instance {rejects[0].path}: {rejects[0].reason}" if rejects else ""
        raise UserError(
            f"none of {counted(len(rejects), 'image')} can be decoded{first}; give other images"
        )
    images = torch.cat([reading.images for reading in readings])
    held_out = torch.ones(len(images), dtype=torch.bool)
    return ImageSet(
        images,
        None,
        (),
        tuple(names),
        held_out,
        rejects=rejects,
        notes=tuple(note for reading in readings for note in reading.levels.notes),
        source=" ".join(places),
    )


def _check_memory(place: str, n: int, square: Square) -> None:
    """Refuse images that do not fit into memory."""
    decoded, free = n * square.channels * square.size**2, free_memory(torch.device("cpu"))
    require(
        free is None or COPIES * decoded <= free,
        f"{n:,} images of '{place}' take {COPIES * decoded / 2**30:.1f} GiB while they are read, "
        f"and {(free or 0) / 2**30:.1f} GiB are free; `latent-atlas anomalies RUN {place} --out "
        "FOLDER` scores them shard by shard",
    )


def _source(place: str) -> Source:
    """The source at a place: one image file, or anything that `open_source` reads."""
    path = Path(place).expanduser()
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return Source((Item(place, partial(read_file, path)),))
    return open_source(place)
