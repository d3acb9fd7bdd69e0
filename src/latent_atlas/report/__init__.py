"""One self-contained HTML page per run: everything inline, no request leaves the page, no script runs."""

from latent_atlas.report.page import write_report

__all__ = ["write_report"]
