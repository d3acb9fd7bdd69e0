"""The calibrated anomaly scorer, as arrays that the page computes anomaly scores with."""

from pathlib import Path

import torch

from latent_atlas.anomaly.conformal import ConformalScorer
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.errors import UserError
from latent_atlas.runs import write_tensors

__all__ = ["save_scorer", "scorer_of"]

MOST_NUMBERS = 2**22  # of the calibration: 16 MiB


def scorer_of(atlas: Atlas) -> ConformalScorer | str:
    """The scorer of images, if a page can load it; or, in a sentence, why there is none."""
    try:
        atlas.anomaly(torch.zeros(1, *atlas.image_shape))
    except UserError as reason:
        return str(reason)
    numbers = sum(array.size for array in atlas.scorer.known().values())
    if numbers > MOST_NUMBERS:
        return f"the calibration has {numbers:,} numbers, more than the {MOST_NUMBERS:,} of a page"
    return atlas.scorer


def save_scorer(scorer: ConformalScorer, path: Path) -> None:
    """Write `ConformalScorer.known` in single precision."""
    write_tensors(
        path, {name: torch.from_numpy(array).float() for name, array in scorer.known().items()}
    )
