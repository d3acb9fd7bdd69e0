"""The study as a page that reads like a short paper: question, method, table, figure, answer, what would change it."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from latent_atlas.report.frame import figure, framed, section
from latent_atlas.report.plots.dots import Dots, contests_picture
from latent_atlas.report.plots.style import png
from latent_atlas.report.plots.trends import Trend, Trends, trends_picture
from latent_atlas.report.tables import table
from latent_atlas.study.comparison import Comparison
from latent_atlas.study.decay_profile import DecayProfile
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.hypotheses import Question, Results
from latent_atlas.study.latent_vs_image_question import TARGET, curves
from latent_atlas.study.statistics import spread

__all__ = ["page"]

DOTS = (
    "A dot for each repetition, the same one joined by a thin line; bars are means. Look for lines that all lean the "
    "same way: that is what a paired test sees."
)
CURVES = (
    "<strong>AUROC against the number of real images.</strong> Mean over seeds, and one standard deviation. The dashed "
    f"line is {TARGET:g}."
)
PROFILES = (
    "<strong>D_z on codes that move away from real ones.</strong> Mean realness over held-out codes, each moved in "
    "its own random direction, and its standard deviation over runs: measured, and predicted as q / (q + r) from the "
    "fresh probe's density and the boundary's. The dashed line is 1/2, where q = r. Where r is 0, as outside a box, D* "
    "is 1, and D_z has never been there."
)


def page(
    design: Design,
    asked: Sequence[Question],
    decay: DecayProfile | None,
    results: Results,
    failures: Mapping[Cell, str],
) -> str:
    """The whole page.

    Arguments:
        design: Of the study.
        asked: The questions with their answers.
        shape: What D* looks like, if any map was measured.
        results: Of the finished cells.
        failures: Sentences of those that failed.
    """
    done, cells = len(results), len(design.cells())
    seconds = sum(float(numbers.get("seconds", 0.0)) for numbers in results.values())
    features = next((str(n["features"]) for n in results.values() if "features" in n), "")
    places = ", ".join(
        dict.fromkeys(str(numbers["device"]) for numbers in results.values() if "device" in numbers)
    )
    lead = (
        f"{design.images:,} images to learn from, {design.grid.seeds} seeds; {done} of {cells} cells, "
        f"{seconds / 60:,.0f} minutes of work on {escape(places)}. Features: {escape(features)}."
    )
    parts = [_summary(asked), *(_question(one, design, results) for one in asked)]
    parts += [_decay(decay) if decay else "", _failures(failures), _terms(), _design(design)]
    heading = f"{design.config.data.source}: where to judge, against what, jointly or apart"
    return framed("Latent Atlas, a study", heading, lead, "".join(parts))


def _summary(asked: Sequence[Question]) -> str:
    lines = "".join(
        f"<dt>{escape(one.title)}</dt><dd>{escape(one.answer[0])}</dd>" for one in asked
    )
    return section("Answers", f'<dl class="terms">{lines}</dl>\n' if lines else "")


def _question(one: Question, design: Design, results: Results) -> str:
    tables = pictures = ""
    if one.key == "spaces" and (drawn := _curves(design, results)):
        pictures += figure(
            drawn, "Curves of AUROC against the number of real images, for D_z and D_x.", CURVES
        )
    for group, comparisons in one.comparisons.items():
        if any(each.values for each in comparisons):
            tables += _table(group, comparisons)
            drawn = png(contests_picture([_dots(each) for each in comparisons if each.values]))
            caption = f"<strong>{escape(group[:1].upper() + group[1:])}.</strong> {DOTS}"
            pictures += figure(
                drawn, f"Dots, {group}: every measure by contestant and repetition.", caption
            )
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in one.answer[1:])
    return section(
        one.title,
        f"<p><strong>Question.</strong> {escape(one.asked)}</p>\n"
        f"<p><strong>Method.</strong> {escape(one.method)}</p>\n"
        f"{tables}{pictures}"
        f"<p><strong>Answer.</strong> {escape(one.answer[0])}</p>\n<ul>{said}</ul>\n"
        f"<p><strong>What would change it.</strong> {escape(one.would_change)} {escape(one.open)}</p>\n",
    )


def _table(group: str, comparisons: Sequence[Comparison]) -> str:
    """Means and deviations, a row for each measure."""
    rows = {}
    for each in comparisons:
        c = each.criterion
        notes = ", ".join(
            word for word in (c.unit, f"{c.better} is better" if c.better else "") if word
        )
        row = {name: each.shown(name) if name in each.values else "–" for name in each.order}
        rows[f"{c.words} [{notes}]" if notes else c.words] = row
    return table(f"{group}: mean ± standard deviation over repetitions", rows)


def _dots(each: Comparison) -> Dots:
    c = each.criterion
    about = ", ".join(
        word for word in (f"{c.better} is better" if c.better else "", c.unit) if word
    )
    factor = 100 if c.unit == "%" else 1
    values = {name: factor * each.values.get(name, np.array([])) for name in each.order}
    return Dots(c.short or c.words, about, values)


def _curves(design: Design, results: Results) -> bytes | None:
    found = curves(design, results)
    panels = [
        Trends(test, "AUROC", {name: _trend(rows) for name, rows in lines.items()})
        for test, lines in found.items()
    ]
    if not panels:
        return None
    return png(trends_picture(panels, "real images", logarithmic=True, level=TARGET))


def _trend(rows: Mapping[int, Sequence[float]] | Mapping[float, Sequence[float]]) -> Trend:
    places = [(float(at), spread(values)) for at, values in sorted(rows.items())]
    return Trend(
        *(
            np.array(column)
            for column in zip(*((at, s.mean, s.deviation) for at, s in places), strict=True)
        )
    )


def _decay(decay: DecayProfile) -> str:
    panels = [
        Trends(boundary, "realness", {name: _trend(rows) for name, rows in series.items() if rows})
        for boundary, series in decay.curves.items()
    ]
    drawn = png(
        trends_picture(
            panels, "moved by, in radii of the population", limits=(-0.03, 1.03), level=0.5
        )
    )
    alt = "Curves of realness against the distance codes are moved, measured and predicted, for each boundary."
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in decay.sentences)
    return section(
        "What D* looks like",
        "<p><strong>Question.</strong> What does D_z say of real codes, and how does that fall as one moves away from "
        f"them?</p>\n{figure(drawn, alt, PROFILES)}<p><strong>Answer.</strong></p>\n<ul>{said}</ul>\n",
    )


def _failures(failures: Mapping[Cell, str]) -> str:
    lines = "".join(
        f"<li><code>{escape(cell.name)}</code>: {escape(words)}</li>"
        for cell, words in failures.items()
    )
    intro = "<p>They are left out above, and tried again when the same command is repeated.</p>"
    return section("Cells that failed", f"{intro}<ul>{lines}</ul>\n" if lines else "")


def _terms() -> str:
    words = {
        "Repetition": "A seed, or an arm with a seed: what is trained anew. Paired tests compare contestants on the "
        "same repetitions.",
        "Settled": "The paired t-test of a difference has p < 0.05 after Holm's correction for all comparisons of one "
        "measure. Intervals are 95 % ones of the difference, without correction. With few repetitions only large "
        "differences can be settled, and the test trusts that differences are roughly normal.",
        "AUROC": "The probability that a real one is ranked above another one: 1/2 is guessing.",
        "Fréchet distance": "Between the features of decoded draws and of real images, as Gaussians: 0 is the same. "
        "Finite samples add to it, equally for all contestants.",
        "Judge of journeys": "A Gaussian mixture fitted to codes that no D_z has learned from; real codes are "
        "outside in 5 % of cases by construction.",
    }
    lines = "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(about)}</dd>" for term, about in words.items()
    )
    return section("Terms", f'<dl class="terms">{lines}</dl>\n')


def _design(design: Design) -> str:
    return section(
        "Design",
        f"<details><summary>study.json</summary><pre>{escape(design.to_json())}</pre></details>\n",
    )
