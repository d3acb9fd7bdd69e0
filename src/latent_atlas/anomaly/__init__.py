"""How anomalous an image is: its place on the map and its reconstruction error, calibrated on held-out real images."""

from latent_atlas.anomaly.conformal import FALSE_ALARM, Scorer
from latent_atlas.anomaly.result import Scores
from latent_atlas.anomaly.scoring import Scoring
from latent_atlas.anomaly.statistics import Evidence, gather

__all__ = ["FALSE_ALARM", "Evidence", "Scorer", "Scores", "Scoring", "gather"]
