"""How odd is this image: its place on the map and its reconstruction, as a vector, beside held-out real images."""

from latent_atlas.anomaly.conformal import FALSE_ALARM, Scorer
from latent_atlas.anomaly.result import Scores
from latent_atlas.anomaly.scoring import Scoring
from latent_atlas.anomaly.statistics import Evidence, gather
