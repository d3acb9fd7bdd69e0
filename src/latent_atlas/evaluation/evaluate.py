"""All questions of a run, asked at once."""

from collections.abc import Callable

import torch

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.data.imageset import ImageSet
from latent_atlas.evaluation.evaluation_set import material_of
from latent_atlas.evaluation.features.registry import extractor_for
from latent_atlas.evaluation.result import Evaluation
from latent_atlas.evaluation.sections import QUESTIONS

__all__ = ["evaluate"]

IMAGES = 500
LEARNED = 5_000  # images of which principal components are taken


def evaluate(
    atlas: Atlas,
    images: ImageSet,
    *,
    most: int = IMAGES,
    extractor: str = "auto",
    seed: int = 0,
    log: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Evaluation:
    """Judge a run by images that it has not learned from, beside what one would use in its place.

    Arguments:
        atlas: Model and map.
        images: The collection that the run was made of.
        most: Images of each of the two halves that are compared, at most.
        extractor: One of `features.EXTRACTORS`.
        seed: Of everything that is drawn.
        log: Called with each question's name, and how many are answered of how many.

    Raises:
        UserError: there is no model, no such extractor, or too few held-out images.
    """
    _ = atlas.image_shape  # that there is no model is better said before
    sees = extractor_for(
        images, extractor, device=atlas.device, generator=torch.Generator().manual_seed(seed)
    )
    given = material_of(atlas, images, sees, most=most, learned=LEARNED, seed=seed)
    sections = {}
    for done, (name, ask) in enumerate(QUESTIONS.items()):
        log(name, done, len(QUESTIONS))
        sections[name] = ask(given)
    log("done", len(QUESTIONS), len(QUESTIONS))
    return Evaluation(images.source or atlas.config.data.source, atlas.map.dimension, sections)
