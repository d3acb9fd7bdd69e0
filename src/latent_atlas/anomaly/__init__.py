"""How anomalous an image is: conformal p-values with a guaranteed false-alarm rate."""

from latent_atlas.anomaly.conformal import FALSE_ALARM_RATE, AnomalyScorer, ConformalScorer
from latent_atlas.anomaly.result import AnomalyTable
from latent_atlas.anomaly.statistics import AnomalyStatistics, gather

__all__ = [
    "FALSE_ALARM_RATE",
    "AnomalyScorer",
    "AnomalyStatistics",
    "AnomalyTable",
    "ConformalScorer",
    "gather",
]
