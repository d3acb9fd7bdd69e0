"""The ablation study: training modes x boundaries x kinds of real codes x seeds.

Besides, it compares D_z with a discriminator of images, and measures D_z on codes that move away
from the data. Everything is compared by paired tests over repetitions.
"""

from latent_atlas.study.design import BUDGETS, Cell, Design, Effort, Grid, with_budget
from latent_atlas.study.results import StudyResults
from latent_atlas.study.run import Conclusion, conclude, make_design
from latent_atlas.study.scheduler import run_cells, worker_devices
from latent_atlas.study.timing import Estimate, estimate, rehearse

__all__ = [
    "BUDGETS",
    "Cell",
    "Conclusion",
    "Design",
    "Effort",
    "Estimate",
    "Grid",
    "StudyResults",
    "conclude",
    "estimate",
    "make_design",
    "rehearse",
    "run_cells",
    "with_budget",
    "worker_devices",
]
