"""Self-contained HTML pages: everything inline, no request leaves the page, no script runs."""

from latent_atlas.report.figure import figure
from latent_atlas.report.page import write_report
from latent_atlas.report.shell import html, section
from latent_atlas.report.tables import table

__all__ = ["figure", "html", "section", "table", "write_report"]
