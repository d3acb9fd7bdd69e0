"""Judges: reconstruction, distance between collections, travel. Each returns named numbers."""

from latent_atlas.evaluation.images import Manifold, frechet_distance, manifold_of, reconstruction_numbers
from latent_atlas.evaluation.journeys import JOURNEYS, Judge, drift, plan_rows, travel_numbers, travel_table

__all__ = [
    "JOURNEYS",
    "Judge",
    "Manifold",
    "drift",
    "frechet_distance",
    "manifold_of",
    "plan_rows",
    "reconstruction_numbers",
    "travel_numbers",
    "travel_table",
]
