"""What the words of a command stand for: runs, presets, codes, and files to write."""

import math
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.config.presets import PRESETS, preset_for_size
from latent_atlas.config.run import Config
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from latent_atlas.atlas.atlas import Atlas

__all__ = ["code_at", "file_to_write", "load_atlas", "preset_of", "write_codes"]


def load_atlas(given: Namespace) -> "Atlas":
    """The atlas of the run that was named."""
    from latent_atlas.atlas.atlas import Atlas

    return Atlas.load(given.folder, device=given.device or "auto")


def code_at(atlas: "Atlas", place: str) -> "Tensor":
    """The code, shape (d,), of an image file or of `test:17`.

    Raises:
        UserError: there is no such image, or the atlas has no encoder.
    """
    from latent_atlas.data.decode import open_image

    if place.startswith("test:") and not Path(place).exists():
        means = atlas.codes["held_out"].means
        number = place.removeprefix("test:")
        if not number.isdecimal() or int(number) >= len(means):
            raise UserError(
                f"'{place}' is no held-out image of this run; choose test:0 to test:{len(means) - 1}"
            )
        return means[int(number)]
    channels, side, _ = atlas.image_shape
    return atlas.encode(open_image(place, side, channels, atlas.config.data.fit))[0]


def file_to_write(given: Namespace, name: str, suffixes: tuple[str, ...] = (".png",)) -> Path:
    """Where to write: --out, or the run's file of that name.

    Arguments:
        suffixes: How its name may end.

    Raises:
        UserError: the place is in no folder, or is no such file.
    """
    out = Path(given.out) if given.out else Path(given.folder) / name
    if out.suffix.lower() not in suffixes:
        raise UserError(f"{out} is not a {' or '.join(suffixes)} file; choose another --out")
    if not out.parent.is_dir():
        raise UserError(f"the folder {out.parent} does not exist; make it or choose another --out")
    return out


def write_codes(codes: "Tensor", atlas: "Atlas", out: Path) -> None:
    """Write codes, shape (n, d), as an array of the shape that the map's codes were given in."""
    import numpy as np

    with out.open("wb") as file:  # numpy would add .npy to a name in capitals
        np.save(file, codes.unflatten(1, atlas.map.shape).cpu().numpy())


def preset_of(source: str, name: str | None) -> Config:
    """The preset of that name; without one that of the source, or of the size of its images, brought to them.

    Raises:
        UserError: there is no such preset, or no such source.
    """
    from latent_atlas.data.load import probe_source

    name = name or (source if source in PRESETS else None)
    if name is None:
        size, channels = probe_source(source)
        side = _usual_size(size)
        config = PRESETS[preset_for_size(side)]
        return replace(config, model=replace(config.model, image_size=side, channels=channels))
    if name not in PRESETS:
        raise UserError(f"no preset '{name}'; choose {', '.join(PRESETS)}")
    return PRESETS[name]


def _usual_size(side: int) -> int:
    """The side to train at for images of median side `side`: itself up to 64 pixels, else the power of two below."""
    return side if side <= 64 else 2 ** int(math.log2(side))
