"""One self-contained HTML page per run and per evaluation: everything inline, no request leaves it, no script runs."""

from latent_atlas.report.evaluation_page import write_evaluation
from latent_atlas.report.run_page import write_report

__all__ = ["write_evaluation", "write_report"]
