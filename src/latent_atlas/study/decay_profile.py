"""What D* looks like: D_z on held-out real codes and on codes that move away from them, predicted and measured."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from latent_atlas.density.base import Density
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.shapes import Latents, Values

__all__ = ["STEPS", "crossing", "moved", "profile"]

STEPS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
"""How far codes are moved, in the population's root mean square distance from its centre."""

CODES = 1_000


def moved(codes: Latents, step: float, *, generator: torch.Generator) -> Latents:
    """Codes moved by `step` times the population's radius, each in its own random direction, shape (n, d)."""
    radius = (codes - codes.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    directions = F.normalize(torch.randn(codes.shape, generator=generator, device=codes.device))
    return codes + step * radius * directions


@torch.no_grad()
def profile(
    latent_map: LatentMap, population: Density, codes: Latents, *, generator: torch.Generator
) -> dict:
    """Realness along the steps, as D_z gives it and as D* = q / (q + r) would be.

    Arguments:
        latent_map: D_z against its boundary r.
        population: q, known better than by this map: the normalised fresh probe, or exactly.
        codes: Held-out real codes.
        generator: Draws the directions.

    Returns:
        measured, predicted: mean realness at each of `STEPS`; predicted is None where r has no log-density. half and
        tenth, for both: where the mean falls through 1/2 and 1/10, in steps; None where it does not. error: mean over
        codes and steps of |measured - predicted|.
    """
    codes = codes[:CODES]
    r = latent_map.boundary
    measured, predicted, errors = [], [], []
    for step in STEPS:
        z = moved(codes, step, generator=generator)
        seen = torch.sigmoid(latent_map.logit(z))
        measured.append(seen.mean().item())
        if r.has_log_prob:
            right = optimal(population.log_prob(z), r.log_prob(z))
            predicted.append(right.mean().item())
            errors.append((seen - right).abs().mean().item())
    found = {"steps": list(STEPS), "measured": measured, "predicted": predicted or None}
    for name, curve in (("measured", measured), ("predicted", predicted)):
        for level, word in ((0.5, "half"), (0.1, "tenth")):
            found[f"{word}_{name}"] = crossing(STEPS, curve, level) if curve else None
    return found | {"error": float(np.mean(errors)) if errors else None}


def optimal(log_q: Values, log_r: Values) -> Values:
    """D* = q / (q + r), also where one of them is 0; 1/2 where both are."""
    logit = log_q - log_r
    return torch.sigmoid(logit.nan_to_num(0.0, math.inf, -math.inf))


def crossing(steps: tuple[float, ...], curve: list[float], level: float) -> float | None:
    """Where a curve first falls through a level, by linear interpolation; None where it does not.

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
