"""The arrays of an atlas as files that a page can load: its real codes, and its anomaly scorer."""

import math
from pathlib import Path

import torch
from torch import Tensor

from latent_atlas.anomaly.conformal import ConformalScorer
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.runs import write_tensors
from latent_atlas.shapes import batched

__all__ = ["kept", "save_codes", "save_scorer", "scorer_of"]

MOST_CODES, FEW_CODES = 20_000, 2_000  # of a part; of one in a light folder
MOST_NUMBERS = 2**22  # of one file: 16 MiB
MOST_COMPARED = 2**23  # numbers that the scorer compares with
MOST_BYTES = 2**25  # of the images in one file
PIECE = 4_096  # codes evaluated at a time


def kept(atlas: Atlas, part: str, *, light: bool = False) -> Tensor:
    """Numbers of the codes that are written, chosen evenly where a page cannot load all."""
    codes = atlas.codes[part]
    most = FEW_CODES if light else MOST_CODES
    count = min(len(codes), most, max(MOST_NUMBERS // codes.means.shape[1], 1))
    if atlas.collection is not None:
        count = min(count, MOST_BYTES // math.prod(atlas.collection.image_shape))
    return torch.arange(count, device=codes.means.device) * len(codes) // count


@torch.no_grad()
def save_codes(atlas: Atlas, part: str, path: Path, *, light: bool = False) -> None:
    """Write the codes of one part; of a light folder, fewer.

    The file has means (n, d); labels (n,), -1 where there is none; where the map is a density,
    log_prob and typicality (n,); and of a collection images (n, h, w, c), in bytes.
    """
    rows = kept(atlas, part, light=light)
    means = atlas.codes[part].means[rows]
    labels = atlas.labels[part][rows] if part in atlas.labels else torch.full((len(rows),), -1)
    arrays = {"means": means.float(), "labels": labels.int()}
    if atlas.map.has_log_prob:
        for name, read in (("log_prob", atlas.map.log_prob), ("typicality", atlas.map.typicality)):
            arrays[name] = batched(read, means, PIECE).float()
    if atlas.collection is not None:
        side, numbers = atlas.collection.image_shape[-1], atlas.collection.rows[part][rows]
        arrays["images"] = atlas.collection.pixels(numbers, side)[:].permute(0, 2, 3, 1)
    write_tensors(path, arrays)


def scorer_of(atlas: Atlas) -> ConformalScorer | str:
    """The anomaly scorer of the atlas; or, in a sentence, why a page cannot have it."""
    if atlas.unscored:
        return atlas.unscored
    numbers = sum(array.size for array in atlas.scorer.known().values())
    if numbers > MOST_COMPARED:
        return f"an anomaly score ranks among {numbers:,} numbers, too many for a page to load"
    return atlas.scorer


def save_scorer(scorer: ConformalScorer, path: Path) -> None:
    """Write `ConformalScorer.known` in single precision."""
    arrays = {name: torch.from_numpy(array).float() for name, array in scorer.known().items()}
    write_tensors(path, arrays)
