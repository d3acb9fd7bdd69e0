"""Metrics compared with baselines: reconstruction, distances between sets of images, paths."""

from latent_atlas.evaluation.evaluate import evaluate
from latent_atlas.evaluation.frechet_kernel import (
    collection_numbers,
    frechet_distance,
    kernel_distance,
)
from latent_atlas.evaluation.paths import (
    COMPARED,
    EvaluationModel,
    drift,
    frame_numbers,
    plan_rows,
    travel_numbers,
    travel_table,
)
from latent_atlas.evaluation.reconstruction import feature_distance, reconstruction_numbers
from latent_atlas.evaluation.result import Evaluation, Section
from latent_atlas.evaluation.uncertainty import Number, half_sampled, mean_of

__all__ = [
    "COMPARED",
    "Evaluation",
    "EvaluationModel",
    "Number",
    "Section",
    "collection_numbers",
    "drift",
    "evaluate",
    "feature_distance",
    "frame_numbers",
    "frechet_distance",
    "half_sampled",
    "kernel_distance",
    "mean_of",
    "plan_rows",
    "reconstruction_numbers",
    "travel_numbers",
    "travel_table",
]
