"""Arguments that several commands share, and what they stand for."""

import io
import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.config.presets import PRESETS, preset_for_size
from latent_atlas.config.run import Config
from latent_atlas.errors import UserError, printable, require_known
from latent_atlas.files import write_bytes

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from torch import Tensor

    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.atlas.collection import Collection
    from latent_atlas.cli.console import Console

__all__ = [
    "LARGE_SOURCE",
    "PLACE",
    "SOURCE",
    "add_device",
    "add_image_shape",
    "add_nearest",
    "add_run",
    "add_settings",
    "add_workers",
    "code_at",
    "file_to_write",
    "load_atlas",
    "photo_at",
    "picture_or_codes",
    "preset_of",
    "seed",
    "write_codes",
]

PLACE = "an image file, or test:17 for the held-out image 17"
SOURCE = (
    "a named data set (digits, faces, glyphs, mnist, fashion-mnist), hf:OWNER/NAME for one on the "
    "Hugging Face hub, a folder, a zip or tar archive, a folder made by pack, or a .npy or .npz "
    "file"
)

LARGE_SOURCE = f"{SOURCE}; or a folder of tar archives"


def add_run(parser: ArgumentParser) -> None:
    """The run folder, which is read as `given.folder`."""
    parser.add_argument("folder", metavar="RUN", help="run folder: of train, fit or embed")


def add_nearest(parser: ArgumentParser) -> None:
    """The flag --nearest."""
    parser.add_argument(
        "--nearest",
        action="store_true",
        help="show codes of embed by the nearest real images alone, although there is a decoder",
    )


def add_device(parser: ArgumentParser) -> None:
    """The flag --device."""
    parser.add_argument(
        "--device",
        metavar="D",
        help="auto (default: a GPU if there is one), cpu, cuda, cuda:1 or mps",
    )


def add_image_shape(parser: "ArgumentParser | _ArgumentGroup") -> None:
    """The flags that say what images become."""
    parser.add_argument(
        "--image-size", type=int, metavar="PX", help="side of the square images, 8 to 256 pixels"
    )
    parser.add_argument(
        "--channels", type=int, metavar="C", help="1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha"
    )
    parser.add_argument(
        "--fit", metavar="F", help="how to make images square: crop (default) or pad them"
    )


def add_workers(parser: ArgumentParser) -> None:
    """The flag --ray."""
    parser.add_argument(
        "--ray",
        type=int,
        metavar="N",
        help="do the shards by N Ray actors, on this machine or the cluster of RAY_ADDRESS "
        "(default: by this process, or by those that torchrun started)",
    )


def seed(text: str) -> int:
    """The value of a flag for a random seed."""
    if not text.isdecimal() or len(text) > 19 or int(text) >= 2**63:
        raise ArgumentTypeError(f"'{text}' is no seed; choose a whole number from 0 to below 2^63")
    return int(text)


def add_settings(parser: ArgumentParser, help: str, metavar: str = "S.N=V") -> None:
    """The flag --set, which is read as the list `given.settings`."""
    parser.add_argument(
        "--set", dest="settings", metavar=metavar, action="append", default=[], help=help
    )


def load_atlas(given: Namespace, console: "Console | None" = None) -> "Atlas":
    """The atlas of the run in `given.folder`; the console tells why its map is not calibrated."""
    from latent_atlas.atlas.atlas import Atlas

    nearest = getattr(given, "nearest", False)
    atlas = Atlas.load(given.folder, device=given.device or "auto", nearest=nearest)
    fault = atlas.map.calibration.fault()
    if console is not None and fault is not None:
        console.say(f"warning: {fault}")
    return atlas


def code_at(atlas: "Atlas", place: str) -> "Tensor":
    """The code, shape (d,), of an image file or of `test:17`.

    Arguments:
        atlas: The atlas.
        place: The image.

    Raises:
        UserError: there is no such image, or the atlas has no encoder.
    """
    from latent_atlas.data.decode import open_image
    from latent_atlas.data.load import square_of

    if place.startswith("test:") and not Path(place).exists():
        means = atlas.codes["held_out"].means
        number = place.removeprefix("test:")
        if not number.isdecimal() or int(number) >= len(means):
            raise UserError(
                f"'{place}' is not a held-out image of this run; choose test:0 to "
                f"test:{len(means) - 1}"
            )
        return means[int(number)]
    if atlas.collection is not None:
        return _in_collection(atlas, atlas.collection, place)
    channels, side, _ = atlas.image_shape
    return atlas.encode(open_image(place, square_of(atlas.config.data, side, channels)))[0]


def photo_at(atlas: "Atlas", place: str) -> "Tensor | None":
    """The thumbnail (c, s, s), in [0, 1], of a file that is no image of the collection.

    None where codes are not shown by the nearest images, or the place is one of these.
    """
    from latent_atlas.atlas.collection import thumbnails
    from latent_atlas.data.decode import open_image
    from latent_atlas.shapes import to_float

    kept = atlas.collection
    test = place.startswith("test:") and not Path(place).exists()
    if kept is None or atlas.model is not None or test or _known(atlas, kept, place) is not None:
        return None
    image = (255 * open_image(Path(place).expanduser(), kept.embedder[1])).round().byte()
    return to_float(thumbnails(image, kept.image_shape[-1]))[0]


def _known(atlas: "Atlas", collection: "Collection", place: str) -> "Tensor | None":
    """The code of an image of a collection, by its name or its file; None of other files."""
    source = Path(atlas.config.data.source).expanduser().absolute()
    path = Path(place).expanduser().absolute()
    inside = path.is_relative_to(source)  # also where the files have moved since
    return collection.code(path.relative_to(source).as_posix() if inside else place)


def _in_collection(atlas: "Atlas", collection: "Collection", place: str) -> "Tensor":
    """The code of an image of a collection, by its name or its file, or that of another file.

    Raises:
        UserError: there is no such image, or the model that made the codes is not there.
    """
    from latent_atlas.data.decode import open_image

    path = Path(place).expanduser().absolute()
    code = _known(atlas, collection, place)
    if code is not None:
        return code
    if not path.is_file():
        raise UserError(
            f"'{place}' is neither a file nor an image of this collection; name one as in "
            f"'{printable(collection.names[0])}', or give test:0 to "
            f"test:{len(atlas.codes['held_out'].means) - 1}"
        )
    embedder, square = collection.embedder
    return embedder(open_image(path, square))[0].to(atlas.device)


def file_to_write(given: Namespace, name: str, suffixes: tuple[str, ...] = (".png",)) -> Path:
    """Where to write: --out, or else the file `name` in the run folder.

    Arguments:
        given: The parsed arguments; `out` and `folder` are read.
        name: Name of the file within the run folder.
        suffixes: The suffixes that the file may have.

    Raises:
        UserError: the folder does not exist, or the file has another suffix.
    """
    out = Path(given.out) if given.out else Path(given.folder) / name
    if out.suffix.lower() not in suffixes:
        raise UserError(f"{out} is not a {' or '.join(suffixes)} file; choose another --out")
    if not out.parent.is_dir():
        raise UserError(f"the folder {out.parent} does not exist; make it or choose another --out")
    return out


def picture_or_codes(
    given: Namespace,
    atlas: "Atlas",
    name: str,
    pictures: tuple[str, ...],
    codes: tuple[str, ...],
) -> Path:
    """Where to write: as `file_to_write`, with suffixes of pictures, and others that need none.

    Raises:
        UserError: as for `file_to_write`, or a run without a decoder is to draw a picture.
    """
    out = Path(given.out or name)
    if atlas.shown_shape is None and out.suffix.lower() not in codes:
        seen = f"; --out is {given.out}" if given.out else ""
        raise UserError(
            f"{given.folder} is a run of codes, without a decoder that could draw images; give "
            f"--out FILE.npy for the codes{seen}"
        )
    return file_to_write(given, name, pictures + codes)


def write_codes(codes: "Tensor", atlas: "Atlas", out: Path) -> None:
    """Write codes, shape (n, d), as a .npy array, each in the shape that the map was fitted to."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, codes.unflatten(1, atlas.map.shape).cpu().numpy())
    write_bytes(out, buffer.getbuffer())


def preset_of(source: str, name: str | None) -> Config:
    """The configuration to start from.

    Arguments:
        source: Where the images come from.
        name: A preset; None takes the one called like the source, or else the one for the size of
            its images, with their size and channels.

    Raises:
        UserError: there is no such preset, or no such source.
    """
    from latent_atlas.data.load import probe_source
    from latent_atlas.data.packed import Pack

    name = name or (source if source in PRESETS else None)
    if name is None:
        size, channels = probe_source(source)
        side = size if Pack.is_at(source) else _usual_size(size)
        config = PRESETS[preset_for_size(side)]
        return replace(config, model=replace(config.model, image_size=side, channels=channels))
    require_known("preset", name, PRESETS)
    return PRESETS[name]


def _usual_size(side: int) -> int:
    """The side to train at: `side` itself up to 64 pixels, above that the power of two below it."""
    return side if side <= 64 else 2 ** int(math.log2(side))
