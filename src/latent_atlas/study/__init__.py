"""The experiments of the field as runs: arms x boundaries x z_real, Z against X, and what D* looks like."""

from latent_atlas.study.design import BUDGETS, Cell, Design, Effort, Grid, budgeted
from latent_atlas.study.results import StudyResults
from latent_atlas.study.run import Conclusion, conclude, designed
from latent_atlas.study.scheduler import carry_out, crew_of
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
    "budgeted",
    "carry_out",
    "conclude",
    "crew_of",
    "designed",
    "estimate",
    "rehearse",
]
