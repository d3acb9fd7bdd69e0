"""The evaluation of a run: all sections."""

from collections.abc import Callable

import torch

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.data.imageset import ImageSet
from latent_atlas.errors import checked
from latent_atlas.evaluation.evaluation_set import evaluation_set_of
from latent_atlas.evaluation.features.registry import extractor_for
from latent_atlas.evaluation.result import Evaluation
from latent_atlas.evaluation.sections import SECTIONS

__all__ = ["evaluate"]

IMAGES = 500
LEARNED = 5_000  # training images of the principal components


@checked
def evaluate(
    atlas: Atlas,
    images: ImageSet,
    *,
    most: int = IMAGES,
    extractor: str = "auto",
    seed: int = 0,
    log: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Evaluation:
    """Evaluate a run on held-out images, compared with baselines.

    Arguments:
        atlas: Model and map.
        images: The images that the run was trained on.
        most: Images of each of the two halves that are compared, at most.
        extractor: Name of a feature extractor in `features.EXTRACTORS`.
        seed: Seed of all randomness.
        log: Called with the name of each section, its number and the number of sections.

    Raises:
        UserError: there is no model, no such extractor, or too few held-out images.
    """
    _ = atlas.image_shape  # raises at once if there is no model
    features = extractor_for(
        images, extractor, device=atlas.device, generator=torch.Generator().manual_seed(seed)
    )
    given = evaluation_set_of(atlas, images, features, most=most, learned=LEARNED, seed=seed)
    sections = {}
    for done, (name, ask) in enumerate(SECTIONS.items()):
        log(name, done, len(SECTIONS))
        sections[name] = ask(given)
    log("done", len(SECTIONS), len(SECTIONS))
    return Evaluation(images.source or atlas.config.data.source, atlas.map.dimension, sections)
