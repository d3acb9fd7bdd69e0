"""Feature extractors, whose distances stand for the similarity of images."""

from latent_atlas.evaluation.features.base import Extractor
from latent_atlas.evaluation.features.classifier import Classifier, train_classifier
from latent_atlas.evaluation.features.pixels import Pixels
from latent_atlas.evaluation.features.pretrained import Pretrained, efficientnet, inception
from latent_atlas.evaluation.features.registry import EXTRACTORS, extractor_for

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
