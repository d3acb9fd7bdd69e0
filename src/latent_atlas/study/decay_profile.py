"""Realness along random directions away from real codes, measured and predicted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from latent_atlas.density.base import Density
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.shapes import Latents, Values
from latent_atlas.study.comparison import number_at
from latent_atlas.study.design import Design
from latent_atlas.study.hypotheses import Results
from latent_atlas.study.statistics import spread

__all__ = ["STEPS", "DecayProfile", "crossing", "decay_profile", "displaced", "realness_decay"]

STEPS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
"""Distances that codes are moved by, in root mean square distances of q(z) from its mean."""

CODES = 1_000
MEASURED, PREDICTED = "measured", "predicted"


def displaced(codes: Latents, step: float, *, generator: torch.Generator) -> Latents:
    """Codes moved by `step` radii of q(z), each in its own random direction, shape (n, d)."""
    radius = (codes - codes.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    directions = F.normalize(torch.randn(codes.shape, generator=generator, device=codes.device))
    return codes + step * radius * directions


@torch.no_grad()
def realness_decay(
    latent_map: LatentMap, population: Density, codes: Latents, *, generator: torch.Generator
) -> dict:
    """Mean realness at each step, by D_z and by the optimal D* = q / (q + r).

    Arguments:
        latent_map: D_z against its boundary r.
        population: A better estimate of q than this map, such as the normalised fresh probe.
        codes: Held-out real codes, shape (n, d).
        generator: Draws the directions.

    Returns:
        measured, predicted: mean realness at each of `STEPS`; None if r has no density.
        half and tenth of both: where the mean falls through 1/2 and 1/10, in steps; None if it does
        not. error: mean of |measured - predicted| over codes and steps.
    """
    codes = codes[:CODES]
    r = latent_map.boundary
    measured, predicted, errors = [], [], []
    for step in STEPS:
        z = displaced(codes, step, generator=generator)
        realness = torch.sigmoid(latent_map.logit(z))
        measured.append(realness.mean().item())
        if r.has_log_prob:
            optimum = optimal(population.log_prob(z), r.log_prob(z))
            predicted.append(optimum.mean().item())
            errors.append((realness - optimum).abs().mean().item())
    found = {"steps": list(STEPS), "measured": measured, "predicted": predicted or None}
    for name, curve in (("measured", measured), ("predicted", predicted)):
        for level, word in ((0.5, "half"), (0.1, "tenth")):
            found[f"{word}_{name}"] = crossing(STEPS, curve, level) if curve else None
    return found | {"error": float(np.mean(errors)) if errors else None}


def optimal(log_q: Values, log_r: Values) -> Values:
    """D* = q / (q + r), also if one of them is 0; 1/2 if both are."""
    logit = log_q - log_r
    return torch.sigmoid(logit.nan_to_num(0.0, math.inf, -math.inf))


def crossing(steps: tuple[float, ...], curve: list[float], level: float) -> float | None:
    """Where a curve first falls through a level, by linear interpolation; None if it does not.

    Examples:
        >>> crossing((0.0, 1.0, 2.0), [0.9, 0.6, 0.4], 0.5)
        1.5
    """
    for k in range(1, len(curve)):
        before, after = curve[k - 1], curve[k]
        if before >= level > after:
            share = (before - level) / (before - after)
            return round(steps[k - 1] + share * (steps[k] - steps[k - 1]), 6)
    return None


@dataclass(frozen=True)
class DecayProfile:
    """Realness of codes that move away from real ones, over all runs.

    Attributes:
        curves: By boundary, "measured" or "predicted", and step: the mean realness of each run.
        sentences: A summary of each boundary.
    """

    curves: dict[str, dict[str, dict[float, list[float]]]]
    sentences: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Curves and sentences."""
        return {"curves": self.curves, "sentences": list(self.sentences)}


def decay_profile(design: Design, results: Results) -> DecayProfile | None:
    """The profile of each boundary's D_z on the first kind of real codes; None without any map."""
    curves: dict[str, dict[str, dict[float, list[float]]]] = {}
    sentences = []
    for boundary in design.grid.boundaries:
        profiles = [
            numbers["decay"]
            for cell, numbers in results.items()
            if (cell.kind, cell.boundary, cell.z_real) == ("map", boundary, design.grid.z_real[0])
            and "decay" in numbers
        ]
        if not profiles:
            continue
        series: dict[str, dict[float, list[float]]] = {MEASURED: {}, PREDICTED: {}}
        for one in profiles:
            for name in (MEASURED, PREDICTED):
                for step, value in zip(one["steps"], one[name] or (), strict=False):
                    series[name].setdefault(step, []).append(value)
        curves[boundary] = series
        sentences.append(_sentence(boundary, profiles))
    return DecayProfile(curves, tuple(sentences)) if curves else None


def _sentence(boundary: str, profiles: Sequence[dict[str, Any]]) -> str:
    near = spread([one["measured"][0] for one in profiles])
    away = spread([one["measured"][-1] for one in profiles])
    sentence = (
        f"{boundary}: mean realness is {near.mean:.2f} ± {near.deviation:.2f} on real codes "
        f"and {away.mean:.2f} ± {away.deviation:.2f} at {profiles[0]['steps'][-1]:g} radii from "
        f"them; {_falls('half', '1/2', profiles)}; {_falls('tenth', '1/10', profiles)}"
    )
    errors = [value for one in profiles if (value := number_at(one, ("error",))) is not None]
    if errors:
        sentence += f"; its mean distance from the prediction is {spread(errors).mean:.2f}"
    return f"{sentence}."


def _falls(key: str, words: str, profiles: Sequence[dict[str, Any]]) -> str:
    """Where the mean falls through a level, measured and predicted."""
    places = []
    for name in (MEASURED, PREDICTED):
        there = [
            value for one in profiles if (value := number_at(one, (f"{key}_{name}",))) is not None
        ]
        if not there:
            places.append(
                f"never as {name}" if name == PREDICTED else f"it never falls through {words}"
            )
            continue
        middle = spread(there)
        part = "" if len(there) == len(profiles) else f" in {len(there)} of {len(profiles)} runs"
        place = f"at {middle.mean:.2f} ± {middle.deviation:.2f} radii{part}"
        places.append(
            f"predicted {place}" if name == PREDICTED else f"it falls through {words} {place}"
        )
    known = any(one[PREDICTED] for one in profiles)
    return f"{places[0]} ({places[1]})" if known else places[0]
