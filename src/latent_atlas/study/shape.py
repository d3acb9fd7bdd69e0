"""What D* looks like, over all runs: where D_z is at 1/2, how fast it falls, and whether as predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latent_atlas.study.comparison import number_at
from latent_atlas.study.design import Design
from latent_atlas.study.hypotheses import Results
from latent_atlas.study.statistics import spread

__all__ = ["Shape", "shape_of"]

SEEN, FORETOLD = "measured", "predicted"


@dataclass(frozen=True)
class Shape:
    """Realness of codes that move away from real ones.

    Attributes:
        curves: By boundary, then "measured" or "predicted", then step: one mean realness for each run.
        sentences: What follows, one for each boundary.
    """

    curves: dict[str, dict[str, dict[float, list[float]]]]
    sentences: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Both."""
        return {"curves": self.curves, "sentences": list(self.sentences)}


def shape_of(design: Design, results: Results) -> Shape | None:
    """The shape of every boundary's D_z, learned from the first kind of real codes; None where no map was measured."""
    curves: dict[str, dict[str, dict[float, list[float]]]] = {}
    sentences = []
    for boundary in design.grid.boundaries:
        profiles = [
            numbers["moving"]
            for cell, numbers in results.items()
            if (cell.kind, cell.boundary, cell.z_real) == ("map", boundary, design.grid.z_real[0])
            and "moving" in numbers
        ]
        if not profiles:
            continue
        series: dict[str, dict[float, list[float]]] = {SEEN: {}, FORETOLD: {}}
        for one in profiles:
            for name in (SEEN, FORETOLD):
                for step, value in zip(one["steps"], one[name] or (), strict=False):
                    series[name].setdefault(step, []).append(value)
        curves[boundary] = series
        sentences.append(_sentence(boundary, profiles))
    return Shape(curves, tuple(sentences)) if curves else None


def _sentence(boundary: str, profiles: Sequence[dict[str, Any]]) -> str:
    at_home = spread([one["measured"][0] for one in profiles])
    away = spread([one["measured"][-1] for one in profiles])
    said = (
        f"{boundary}: D_z is {at_home.mean:.2f} ± {at_home.deviation:.2f} on real codes and {away.mean:.2f} ± "
        f"{away.deviation:.2f} at {profiles[0]['steps'][-1]:g} radii from them; {_falls('half', '1/2', profiles)}; "
        f"{_falls('tenth', '1/10', profiles)}"
    )
    errors = [value for one in profiles if (value := number_at(one, ("error",))) is not None]
    if errors:
        said += f"; it is {spread(errors).mean:.2f} from the prediction, on average"
    return f"{said}."


def _falls(key: str, words: str, profiles: Sequence[dict[str, Any]]) -> str:
    """Where the mean falls through a level, as measured and as predicted."""
    told = []
    for name in (SEEN, FORETOLD):
        there = [
            value for one in profiles if (value := number_at(one, (f"{key}_{name}",))) is not None
        ]
        if not there:
            told.append(
                f"never as {name}" if name == FORETOLD else f"it never falls through {words}"
            )
            continue
        middle = spread(there)
        part = "" if len(there) == len(profiles) else f" in {len(there)} of {len(profiles)} runs"
        place = f"at {middle.mean:.2f} ± {middle.deviation:.2f} radii{part}"
        told.append(
            f"predicted {place}" if name == FORETOLD else f"it falls through {words} {place}"
        )
    return f"{told[0]} ({told[1]})"
