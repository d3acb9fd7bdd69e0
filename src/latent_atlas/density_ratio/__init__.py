r"""Density-ratio estimation: D_z over noise levels, its constant, its calibration, and `LatentMap`.

| module | what it does |
|---|---|
| `noise_schedule` | noise codes to a level, and choose the number of levels |
| `kl_estimate` | estimate KL(q \|\| r) before anything is trained |
| `losses`, `train` | train D_z at one level or over several |
| `normalising_constant` | log E_r[exp l], which is 0 for a normalised density |
| `calibration` | compare the logit with held-out codes |
| `fit` | all of these in order |
| `latent_map` | the density that they give |
"""

from latent_atlas.density_ratio.calibration import Calibration, Reliability
from latent_atlas.density_ratio.latent_map import LatentMap

__all__ = ["Calibration", "LatentMap", "Reliability"]
