"""How odd is this image: its place on the map and its reconstruction, as a vector, beside held-out real images."""

from latent_atlas.scoring.evidence import Evidence, gather
from latent_atlas.scoring.memorisation import Memorisation, memorisation
from latent_atlas.scoring.scorer import FALSE_ALARM, Scorer
from latent_atlas.scoring.scoring import Scoring
from latent_atlas.scoring.table import Scores

__all__ = ["FALSE_ALARM", "Evidence", "Memorisation", "Scorer", "Scores", "Scoring", "gather", "memorisation"]
