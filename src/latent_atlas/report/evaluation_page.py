"""The page of an evaluation: a question, its picture and its table, one after the other."""

from pathlib import Path
from typing import NamedTuple

from latent_atlas.evaluation.result import Evaluation, Section
from latent_atlas.files import write_text
from latent_atlas.report.html import Picture, render
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import png
from latent_atlas.report.tables import Table, tables

__all__ = ["write_evaluation"]


class Part(NamedTuple):
    """One question as the page shows it."""

    section: Section
    picture: Picture | None
    tables: list[Table]
    sample: str


def write_evaluation(evaluation: Evaluation, page: Path) -> Path:
    """Write one self-contained page.

    Arguments:
        evaluation: Its numbers and pictures go into the page.
        page: The file to write.
    """
    parts = [
        Part(section, _picture(section), tables("", section.rows), _sentence(section.sample))
        for section in evaluation.sections.values()
    ]
    content = render(
        "evaluation.html", heading=evaluation.source, evaluation=evaluation, parts=parts
    )
    write_text(page, content)
    return page


def _picture(section: Section) -> Picture | None:
    """The first images of every row, one row above the other."""
    if not section.pictures:
        return None
    rows = {row: images.numpy() for row, images in section.pictures.items()}
    alt = "Rows of images: " + ", ".join(rows) + "."
    return Picture(png(comparison_sheet(rows)), alt, "The first images of each row, not selected.")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
