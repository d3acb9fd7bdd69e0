"""The feature extractors by name, and the choice among those that are installed."""

import torch

from latent_atlas.data.imageset import ImageSet
from latent_atlas.errors import UserError, checked, require_known
from latent_atlas.evaluation.features.base import Extractor
from latent_atlas.evaluation.features.classifier import train_classifier
from latent_atlas.evaluation.features.pixels import Pixels
from latent_atlas.evaluation.features.pretrained import efficientnet, inception
from latent_atlas.nn.efficientnet import has_efficientnet

__all__ = ["EXTRACTORS", "extractor_for"]

EXTRACTORS = ("auto", "efficientnet", "classifier", "inception", "pixels")
LEARN = 10_000  # training images of a classifier, at most
STEPS = 400  # training steps of a classifier, about
BATCH = 128


@checked
def extractor_for(
    images: ImageSet,
    name: str = "auto",
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator,
) -> Extractor:
    """A feature extractor for these images.

    Arguments:
        images: The images; a classifier is trained on those that are not held out.
        name: A name in `EXTRACTORS`; auto is efficientnet if it is installed, else a classifier if
            every image has a label of two or more classes, else pixels.
        device: Where a pretrained network computes.
        generator: Source of the classifier's randomness, on the CPU.

    Raises:
        UserError: there is no such extractor, it is not installed, or the labels it needs are
            missing.
    """
    require_known("extractor", name, EXTRACTORS)
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
    """Whether the images that are not held out have two or more classes and no missing label."""
    labels = images.labels
    return (
        labels is not None
        and bool(labels.min() >= 0)
        and len(labels[~images.held_out].unique()) > 1
    )


def _classifier(images: ImageSet, generator: torch.Generator) -> Extractor:
    """A classifier trained on the labels of the images."""
    if not _labelled(images):
        raise UserError(
            "extractor 'classifier' needs two or more classes and a label for every image of "
            f"'{images.source}'; choose efficientnet or pixels"
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
        (test.images[:], test.labels),
        epochs=epochs,
        generator=generator,
    )
