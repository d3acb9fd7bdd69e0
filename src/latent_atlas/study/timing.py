"""How long will it take: cells that are done say, and else a rehearsal with a few steps of each kind."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latent_atlas.study.design import Cell, Design, Grid
from latent_atlas.study.image_discriminator import CHECK_EVERY
from latent_atlas.study.results import StudyResults
from latent_atlas.study.tasks import run_cell

__all__ = ["Estimate", "estimate", "rehearse"]

STEPS = 12  # of training in a rehearsal; the first ones are slower and not counted
CHECKS = 2  # of D_z and D_x
FEW = 20  # draws by a map that decodes
GEODESIC = 17 * 300  # scores that a journey takes, at most


@dataclass(frozen=True)
class Estimate:
    """What a study will take.

    Attributes:
        seconds: By kind of cell, at most: learning often stops early.
        left: Cells to do, by kind.
        total: Seconds of all that is left, over all processes.
    """

    seconds: dict[str, float]
    left: dict[str, int]
    total: float


def estimate(seconds: dict[str, float], left: Sequence[Cell], workers: int) -> Estimate:
    """What the cells left will take, if each kind takes so many seconds and `workers` share them."""
    kinds = list(dict.fromkeys(cell.kind for cell in left))
    counts = {kind: sum(cell.kind == kind for cell in left) for kind in kinds}
    total = sum(counts[kind] * seconds.get(kind, 0.0) for kind in kinds)
    return Estimate(
        {kind: seconds.get(kind, 0.0) for kind in kinds},
        counts,
        total / min(workers, max(1, len(left))),
    )


def rehearse(design: Design, device: str) -> dict[str, float]:
    """Seconds of a cell of each kind on this machine, from one of each with few steps, and the time of its steps.

    A cell takes a + b · steps: b is measured between records of its log, and a is all else. Maps that decode every code
    they are asked about are asked about few, and what more would take follows from the cost of one.
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
        return {cell.kind: _timed(study, cell, device, design) for cell in cells}


def _timed(study: StudyResults, cell: Cell, device: str, design: Design) -> float:
    """Seconds that a cell would take with all its steps and questions."""
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
    """Listens to a log, and knows how long the steps of each piece of learning take."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, list[tuple[int, float]]]] = []

    def __call__(self, entry: dict[str, Any]) -> None:
        """Hear one record; a step that is not after the last one begins another piece."""
        phase = entry.get("phase") or ("map" if "loss" in entry else "image")
        step = int(entry["step"])
        if not self.pieces or self.pieces[-1][0] != phase or self.pieces[-1][1][-1][0] >= step:
            self.pieces.append((phase, []))
        self.pieces[-1][1].append((step, time.perf_counter()))

    def longer(self, steps: dict[str, int]) -> float:
        """Seconds that so many steps of each phase take beyond those that were taken."""
        more = 0.0
        for phase, records in self.pieces:
            (first, began), (last, ended) = records[0], records[-1]
            if last > first:
                more += max(0, steps[phase] - last) * (ended - began) / (last - first)
        return more
