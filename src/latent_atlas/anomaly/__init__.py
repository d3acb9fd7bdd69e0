"""How anomalous an image is: its place on the map and its reconstruction error, calibrated on held-out real images."""

from latent_atlas.anomaly.conformal import FALSE_ALARM, ConformalScorer
from latent_atlas.anomaly.result import AnomalyTable
from latent_atlas.anomaly.scoring import AnomalyScorer
from latent_atlas.anomaly.statistics import AnomalyStatistics, gather

__all__ = [
    "FALSE_ALARM",
    "AnomalyScorer",
    "AnomalyStatistics",
    "AnomalyTable",
    "ConformalScorer",
    "gather",
]
