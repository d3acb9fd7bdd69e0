"""The real codes of an atlas as files: as many as a page should load."""

from pathlib import Path

import torch
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.codes.posterior import Codes
from latent_atlas.runs import write_tensors

__all__ = ["kept", "save_codes"]

MOST = 20_000  # codes of a part
MOST_NUMBERS = 2**22  # coordinates of a part: 16 MiB
PIECE = 4_096  # codes evaluated at a time


def kept(codes: Codes) -> Tensor:
    """Numbers of the codes that are written, chosen evenly where there are more than a page should load."""
    count = min(len(codes), MOST, max(MOST_NUMBERS // codes.means.shape[1], 1))
    return torch.arange(count, device=codes.means.device) * len(codes) // count


@torch.no_grad()
def save_codes(atlas: Atlas, part: str, path: Path) -> None:
    """Write means (n, d), labels (n,), -1 where there is none, and, of a density, log_prob and typicality (n,)."""
    rows = kept(atlas.codes[part])
    means = atlas.codes[part].means[rows]
    labels = atlas.labels[part][rows] if part in atlas.labels else torch.full((len(rows),), -1)
    arrays = {"means": means.float(), "labels": labels.int()}
    if atlas.map.has_log_prob:
        for name, read in (("log_prob", atlas.map.log_prob), ("typicality", atlas.map.typicality)):
            arrays[name] = torch.cat([read(some) for some in means.split(PIECE)]).float()
    write_tensors(path, arrays)
