"""The experiments of the field as runs: arms x boundaries x z_real, Z against X, and what D* looks like."""

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
