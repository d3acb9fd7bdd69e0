"""One HTML page for a run and one for an evaluation, without requests and scripts."""

from latent_atlas.report.evaluation_page import write_evaluation
from latent_atlas.report.run_page import write_report

__all__ = ["write_evaluation", "write_report"]
