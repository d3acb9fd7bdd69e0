"""Which extractor judges a collection: the one that was named, or the best that is there."""

import torch

from latent_atlas.data.imageset import ImageSet
from latent_atlas.errors import UserError
from latent_atlas.evaluation.features.base import Extractor
from latent_atlas.evaluation.features.classifier import train_classifier
from latent_atlas.evaluation.features.pixels import Pixels
from latent_atlas.evaluation.features.pretrained import efficientnet, has_efficientnet, inception

__all__ = ["EXTRACTORS", "extractor_for"]

EXTRACTORS = ("auto", "efficientnet", "classifier", "inception", "pixels")
LEARN = 10_000  # images that a classifier learns from: more would take longer than what it judges
STEPS = 400  # about so many, however few images there are
BATCH = 128


def extractor_for(
    images: ImageSet,
    name: str = "auto",
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator,
) -> Extractor:
    """An extractor for one collection.

    Arguments:
        images: The collection; a classifier learns from the part that is not held out.
        name: One of `EXTRACTORS`; auto is efficientnet where its wheels are installed, else a classifier where every
            image has a label of two or more, else pixels.
        device: Where a pretrained network computes.
        generator: Of the classifier's training, on the CPU.

    Raises:
        UserError: there is no such extractor, or it is not installed, or the collection has no labels for it.
    """
    if name not in EXTRACTORS:
        raise UserError(f"no extractor '{name}'; choose {', '.join(EXTRACTORS)}")
    if name == "auto":
        name = (
            "efficientnet"
            if has_efficientnet()
            else "classifier"
            if _labelled(images)
            else "pixels"
        )
    if name == "efficientnet":
        return efficientnet(112 if images.images.shape[-1] <= 112 else 224, device=device)
    if name == "inception":
        return inception(device=device)
    if name == "pixels":
        return Pixels()
    return _classifier(images, generator)


def _labelled(images: ImageSet) -> bool:
    """Whether a classifier can be trained on what is not held out."""
    labels = images.labels
    return (
        labels is not None
        and bool(labels.min() >= 0)
        and len(labels[~images.held_out].unique()) > 1
    )


def _classifier(images: ImageSet, generator: torch.Generator) -> Extractor:
    """A classifier trained on the collection's own labels."""
    if not _labelled(images):
        raise UserError(
            f"extractor 'classifier' needs two or more classes and a label for every image of '{images.source}'; "
            "choose efficientnet or pixels"
        )
    learn = (~images.held_out).nonzero().flatten()
    learn = learn[torch.randperm(len(learn), generator=generator)[:LEARN]]
    test = images.test
    assert images.labels is not None
    assert test.labels is not None
    epochs = max(1, round(STEPS * min(BATCH, len(learn)) / len(learn)))
    return train_classifier(
        images.images[learn],
        images.labels[learn],
        (test.images, test.labels),
        epochs=epochs,
        generator=generator,
    )
