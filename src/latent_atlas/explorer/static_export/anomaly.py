"""The anomaly scorer of the page: what the library's scorer has learned from held-out images."""

from pathlib import Path

import torch

from latent_atlas.anomaly.conformal import ConformalScorer
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.errors import UserError
from latent_atlas.runs import write_tensors

__all__ = ["save_scorer", "scorer_of"]

MOST_NUMBERS = 2**22  # that it knows: 16 MiB


def scorer_of(atlas: Atlas) -> ConformalScorer | str:
    """The scorer of the atlas, if it is small enough for a page to load; otherwise a sentence that says why not."""
    try:
        atlas.score(torch.zeros(1, *atlas.image_shape))
    except UserError as reason:
        return str(reason)
    numbers = sum(array.size for array in atlas.scorer.known().values())
    if numbers > MOST_NUMBERS:
        return f"the anomaly score is a rank among {numbers:,} numbers, too many for a page to load"
    return atlas.scorer


def save_scorer(scorer: ConformalScorer, path: Path) -> None:
    """Write `ConformalScorer.known` in single precision."""
    write_tensors(
        path, {name: torch.from_numpy(array).float() for name, array in scorer.known().items()}
    )
