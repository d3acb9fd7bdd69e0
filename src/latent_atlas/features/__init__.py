"""Feature extractors: what "looks alike" means in a number, always named beside it."""

from latent_atlas.features.choose import EXTRACTORS, extractor_for
from latent_atlas.features.classifier import Classifier, train_classifier
from latent_atlas.features.extractor import Extractor
from latent_atlas.features.pixels import Pixels
from latent_atlas.features.pretrained import Pretrained, efficientnet, inception

__all__ = [
    "EXTRACTORS",
    "Classifier",
    "Extractor",
    "Pixels",
    "Pretrained",
    "efficientnet",
    "extractor_for",
    "inception",
    "train_classifier",
]
