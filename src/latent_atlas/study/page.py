"""The study as a page that reads like a short paper.

Each question has its method, table, figure, answer, and what would change the answer.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latent_atlas.report.html import Picture, render
from latent_atlas.report.plots.dots import Dots, dots_picture
from latent_atlas.report.plots.lines import Trend, Trends, trends_picture
from latent_atlas.report.plots.style import png
from latent_atlas.report.tables import Table, tables
from latent_atlas.study.comparison import Comparison
from latent_atlas.study.decay_profile import DecayProfile
from latent_atlas.study.design import Cell, Design
from latent_atlas.study.hypotheses import Question, Results
from latent_atlas.study.latent_vs_image_question import TARGET, curves
from latent_atlas.study.statistics import spread

__all__ = ["page"]

DOTS = (
    "A dot for each repetition; thin lines join the same repetition; bars are means. A paired test "
    "sees whether all lines lean the same way."
)
CURVES = f"Mean over seeds, and one standard deviation. The dashed line is an AUROC of {TARGET:g}."
SHAPES = (
    "Mean realness over held-out codes, each moved in its own random direction, and its standard "
    "deviation over runs: measured, and predicted as q / (q + r) from the densities of the fresh "
    "probe and of the boundary. The dashed line is 1/2, where q = r. Where r is 0, as outside a "
    "box, D* is 1, and D_z was never trained there."
)
TERMS = {
    "Repetition": (
        "A seed, or a training mode with a seed: what is trained anew. Paired tests compare "
        "the candidates on the same repetitions."
    ),
    "Settled": (
        "The paired t-test of a difference has p < 0.05 after Holm's correction for all "
        "comparisons of one measure. Intervals are 95 % ones of the difference, without "
        "correction. With few repetitions only large differences can be settled, and the test "
        "assumes that differences are roughly normal."
    ),
    "AUROC": (
        "The probability that a random member of one class is ranked above one of the other: 1/2 "
        "is guessing."
    ),
    "Fréchet distance": (
        "Between the features of decoded samples and of real images, as Gaussians: 0 is "
        "the same distribution. Finite samples add to it, equally for all candidates."
    ),
    "Evaluation model of paths": (
        "A Gaussian mixture fitted to codes that no D_z was trained on; by "
        "construction, 5 % of real codes are off-manifold."
    ),
}


class Part(NamedTuple):
    """One question as the page shows it."""

    question: Question
    tables: list[Table]
    pictures: list[Picture]


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
        decay: The measured decay of D*, if any map was measured.
        results: Of the finished cells.
        failures: Sentences of those that failed.
    """
    return render(
        "study.html",
        heading=f"{design.config.data.source}: where to discriminate, against what, and when",
        lead=_lead(design, results),
        parts=[_part(one, design, results) for one in asked],
        decay=decay,
        decay_picture=_decay(decay) if decay else None,
        failures=failures,
        meanings=TERMS,
        design=design,
    )


def _lead(design: Design, results: Results) -> str:
    """The size of the study, the time it took, the devices and the features."""
    seconds = sum(float(numbers.get("seconds", 0.0)) for numbers in results.values())
    features = next((str(n["features"]) for n in results.values() if "features" in n), "")
    devices = dict.fromkeys(str(n["device"]) for n in results.values() if "device" in n)
    return (
        f"{design.images:,} training images, {design.grid.seeds} seeds; {len(results)} of "
        f"{len(design.cells())} cells, {seconds / 60:,.0f} minutes of work on "
        f"{', '.join(devices)}. Features: {features}."
    )


def _part(one: Question, design: Design, results: Results) -> Part:
    found, pictures = [], []
    if one.key == "spaces" and (drawn := _curves(design, results)):
        pictures.append(drawn)
    for group, comparisons in one.comparisons.items():
        measured = [each for each in comparisons if each.values]
        if measured:
            found += _tables(group, comparisons)
            alt = f"Dots, {group}: every measure by candidate and repetition."
            drawn = png(dots_picture([_dots(each) for each in measured]))
            pictures.append(Picture(drawn, alt, DOTS, group[:1].upper() + group[1:]))
    return Part(one, found, pictures)


def _tables(group: str, comparisons: Sequence[Comparison]) -> list[Table]:
    """Means and deviations, a row for each measure."""
    rows = {}
    for each in comparisons:
        c = each.criterion
        notes = ", ".join(
            word for word in (c.unit, f"{c.better} is better" if c.better else "") if word
        )
        row = {name: each.shown(name) if name in each.values else "–" for name in each.order}
        rows[f"{c.words} [{notes}]" if notes else c.words] = row
    return tables(f"{group}: mean ± standard deviation over repetitions", rows)


def _dots(each: Comparison) -> Dots:
    c = each.criterion
    about = ", ".join(
        word for word in (f"{c.better} is better" if c.better else "", c.unit) if word
    )
    factor = 100 if c.unit == "%" else 1
    values = {name: factor * each.values.get(name, np.array([])) for name in each.order}
    return Dots(c.short or c.words, about, values)


def _curves(design: Design, results: Results) -> Picture | None:
    found = curves(design, results)
    panels = [
        Trends(test, "AUROC", {name: _trend(rows) for name, rows in spaces.items()})
        for test, spaces in found.items()
    ]
    if not panels:
        return None
    drawn = png(trends_picture(panels, "real images", logarithmic=True, level=TARGET))
    alt = "Curves of AUROC against the number of real images, for D_z and D_x."
    return Picture(drawn, alt, CURVES, "AUROC against the number of real images")


def _trend(rows: Mapping[int, Sequence[float]] | Mapping[float, Sequence[float]]) -> Trend:
    places = [(float(at), spread(values)) for at, values in sorted(rows.items())]
    return Trend(
        *(
            np.array(column)
            for column in zip(*((at, s.mean, s.deviation) for at, s in places), strict=True)
        )
    )


def _decay(decay: DecayProfile) -> Picture:
    panels = [
        Trends(boundary, "realness", {name: _trend(rows) for name, rows in series.items() if rows})
        for boundary, series in decay.curves.items()
    ]
    across = "moved by, in radii of the data distribution"
    drawn = png(trends_picture(panels, across, limits=(-0.03, 1.03), level=0.5))
    alt = (
        "Curves of realness against the distance that codes are moved, measured and predicted, for "
        "each boundary."
    )
    return Picture(drawn, alt, SHAPES, "D_z on codes that move away from real ones")
