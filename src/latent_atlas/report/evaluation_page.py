"""The page of an evaluation: a question, its picture, and a table, one after the other."""

from html import escape
from pathlib import Path

from latent_atlas.evaluation.result import Evaluation, Section
from latent_atlas.report.frame import figure, framed, section
from latent_atlas.report.plots.image_grid import comparison_sheet
from latent_atlas.report.plots.style import png
from latent_atlas.report.tables import table

__all__ = ["write_evaluation"]


def write_evaluation(evaluation: Evaluation, page: Path) -> Path:
    """Write one self-contained page.

    Arguments:
        evaluation: What was found; its pictures go into the page.
        page: The file to write.
    """
    lead = (
        f"latent dimension {evaluation.dimension}; judged by images that the model has not learned from, beside what "
        "one would use in its place; ± is one standard error"
    )
    notes = _list(evaluation.notes)
    content = notes + "".join(map(_asked, evaluation.sections.values()))
    page.write_text(
        framed("Latent Atlas, evaluation of a run", evaluation.source, lead, content),
        encoding="utf-8",
    )
    return page


def _asked(given: Section) -> str:
    """One question with everything that belongs to it."""
    seen_by = f" Features: {escape(given.extractor)}." if given.extractor else ""
    about = f"<p><small>{escape(given.sample[:1].upper() + given.sample[1:])}. Seed {given.seed}.{seen_by}</small></p>\n"
    content = f"<p>{escape(given.meaning)}</p>\n{_picture(given)}{table('', given.rows)}{about}{_list(given.notes)}"
    return section(given.question, content)


def _picture(given: Section) -> str:
    """The first images of every row, one above the other."""
    if not given.pictures:
        return ""
    rows = {row: images.numpy() for row, images in given.pictures.items()}
    alt = "Rows of images: " + ", ".join(rows) + "."
    return figure(png(comparison_sheet(rows)), alt, "The first images of each row, not chosen.")


def _list(notes: tuple[str, ...]) -> str:
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="missing">{lines}</ul>\n' if lines else ""
