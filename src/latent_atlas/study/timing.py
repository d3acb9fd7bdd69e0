"""Estimates the time of a study, from finished cells or from a rehearsal with a few steps each."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latent_atlas.progress import steps
from latent_atlas.study.design import Cell, Design, Grid
from latent_atlas.study.image_discriminator import CHECK_EVERY
from latent_atlas.study.results import StudyResults
from latent_atlas.study.tasks import run_cell

__all__ = ["Estimate", "estimate", "rehearse"]

STEPS = 12  # training steps of a rehearsal; the first ones are slower and not counted
CHECKS = 2  # early-stopping checks of D_z and D_x
FEW = 20  # samples of a map that decodes every code
GEODESIC = 17 * 300  # scores that a geodesic takes at most


@dataclass(frozen=True)
class Estimate:
    """The time that a study will take.

    Attributes:
        seconds: Per cell, by kind; an upper bound, since training often stops early.
        left: Number of cells to do, by kind.
        total: Seconds until all of them are done.
    """

    seconds: dict[str, float]
    left: dict[str, int]
    total: float


def estimate(seconds: dict[str, float], left: Sequence[Cell], workers: int) -> Estimate:
    """The time of the remaining cells, from the seconds of each kind and the number of workers."""
    kinds = list(dict.fromkeys(cell.kind for cell in left))
    counts = {kind: sum(cell.kind == kind for cell in left) for kind in kinds}
    total = sum(counts[kind] * seconds.get(kind, 0.0) for kind in kinds)
    return Estimate(
        {kind: seconds.get(kind, 0.0) for kind in kinds},
        counts,
        total / min(workers, max(1, len(left))),
    )


def rehearse(design: Design, device: str) -> dict[str, float]:
    """Estimate the seconds of a cell of each kind on this machine, from one short cell of each.

    A cell takes a + b · steps: b is measured between the records of its log, and a is the rest. A
    map that decodes every code is queried with few codes, and the time per query is extrapolated.

    Arguments:
        design: The study.
        device: Where the cells compute.
    """
    c = design.config
    train = replace(
        c.train,
        steps=STEPS,
        log_every=STEPS // 3,
        adversarial_start=1,
        discriminator_start=0,
        kl_warmup=1,
    )
    short_map = replace(c.map, steps=CHECKS * c.map.check_every)
    image_steps = min(design.effort.image_steps, CHECKS * CHECK_EVERY)
    effort = replace(design.effort, image_steps=image_steps, energy_draws=FEW, energy_pairs=1)
    short = replace(
        design, config=replace(c, train=train, map=short_map), effort=effort, grid=Grid(seeds=1)
    )
    mode = "separate" if "separate" in design.grid.modes else design.grid.modes[0]
    cells = [
        Cell("run", 0, mode),
        Cell("map", 0, mode, design.grid.boundaries[0], design.grid.z_real[0]),
    ]
    if mode == "separate":
        cells += [Cell("sizes", 0, size=design.sizes()[-1]), Cell("pullback", 0)]
    with tempfile.TemporaryDirectory() as place:
        study = StudyResults(Path(place))
        study.begin(short)
        seconds = {}
        for cell in steps("rehearsal", cells):
            seconds[cell.kind] = _timed(study, cell, device, design)
        return seconds


def _timed(study: StudyResults, cell: Cell, device: str, design: Design) -> float:
    """Seconds that a cell would take with all its steps and queries."""
    clock = _Clock()
    began = time.perf_counter()
    numbers = run_cell(study.path, cell, device, log=clock)
    took = time.perf_counter() - began
    study.write(cell, numbers)
    c, effort = design.config, design.effort.energy()
    longer = clock.longer(
        {"model": c.train.steps, "map": c.map.steps, "image": design.effort.image_steps}
    )
    log_probs, scores = effort.draws * effort.proposals, effort.pairs * GEODESIC
    asked = (numbers[name] for name in ("fitted", "trained") if name in numbers)
    return (
        took
        + longer
        + sum(log_probs * n["log_prob_ms"] + scores * n["score_ms"] for n in asked) / 1e6
    )


class _Clock:
    """Measures the time per step of each training phase from the records of a log."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, list[tuple[int, float]]]] = []

    def __call__(self, entry: dict[str, Any]) -> None:
        """Take one record; a step that does not follow the last one begins another phase."""
        phase = entry.get("phase") or ("map" if "loss" in entry else "image")
        step = int(entry["step"])
        if not self.pieces or self.pieces[-1][0] != phase or self.pieces[-1][1][-1][0] >= step:
            self.pieces.append((phase, []))
        self.pieces[-1][1].append((step, time.perf_counter()))

    def longer(self, steps: dict[str, int]) -> float:
        """Seconds that the remaining steps up to `steps` of each phase would take."""
        more = 0.0
        for phase, records in self.pieces:
            (first, began), (last, ended) = records[0], records[-1]
            if last > first:
                more += max(0, steps[phase] - last) * (ended - began) / (last - first)
        return more
