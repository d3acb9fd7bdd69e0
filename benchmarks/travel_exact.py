"""Paths on toy distributions whose density is known: what a planner loses to the best possible path.

The best possible path is found on a grid in a plane towards which the density never falls. `travel.py --exact` runs it.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.ndimage import label, maximum_filter

from latent_atlas import LatentMap
from latent_atlas.density.base import Density, SamplableDensity
from latent_atlas.density.toys import clusters, ring, two_moons
from latent_atlas.evaluation import EvaluationModel, plan_rows
from latent_atlas.geometry.planes import Plane, fit_window, plane_through
from latent_atlas.shapes import Latents, Values
from latent_atlas.travel import Walk
from latent_atlas.travel.planners.base import Planner, Resources
from latent_atlas.travel.polyline import resample

__all__ = ["DIMENSIONS", "on_world", "staged"]

DIMENSIONS = (2, 8, 32)
SIDE = 400  # cells along each side of the grid on which the best path is found
LEVEL = 0.01  # nats between the levels of the flood
ALPHA = 0.01  # of the walks, which diverge above twice a variance (0.045 in the narrowest one)
BETWEEN = 16  # points evaluated between neighbouring frames


def staged(dimension: int) -> dict[str, tuple[SamplableDensity, Plane]]:
    """Toy distributions, each with a plane towards which its density never falls: the best path lies in
    the plane, except for its ends.

    Along the normals of the plane all Gaussians of a world have the same centre and, each, a single width.
    """
    axes = torch.eye(dimension)[:2]
    three = clusters(dimension, 3, generator=torch.Generator().manual_seed(dimension))
    plane = Plane(torch.zeros(dimension), axes)
    return {
        "moons": (two_moons(dimension), plane),
        "ring": (ring(dimension), plane),
        "clusters": (three, plane_through(*three.means)),
    }


def on_world(
    world: SamplableDensity,
    plane: Plane,
    rows: Mapping[str, Planner],
    given: argparse.Namespace,
) -> dict[str, Any]:
    """Each planner's least likely point against the best possible, by the exact density."""
    generator = torch.Generator().manual_seed(given.seed)
    start, end = world.sample(2 * given.pairs, generator=generator).chunk(2)
    density: Density = world
    if given.steps:
        codes = world.sample(20_000, generator=generator)
        density = LatentMap.fit(codes, steps=given.steps, generator=generator, warn=False)
    best = best_possible(world, plane, start, end)
    threshold = EvaluationModel.on(world, world.sample(20_000, generator=generator)).threshold
    known, numbers = Resources(codes=world.sample(5_000, generator=generator)), {}
    completed = {
        row: (replace(how, alpha=ALPHA) if isinstance(how, Walk) else how).completed(density, known)
        for row, how in rows.items()
        if row != "pullback"  # these worlds have no decoder
    }
    planned = plan_rows(density, start, end, completed, frames=given.frames, generator=generator)
    for row, path in planned.items():
        # A path that stops short is completed by a straight line to its end.
        arrived = torch.cat([path.points, path.end[None]])
        fine = resample(arrived, BETWEEN * given.frames + 1)
        with torch.no_grad():
            log_probs = world.log_prob(fine.flatten(0, 1)).unflatten(0, fine.shape[:2])
        lost = best - log_probs.min(dim=0).values
        numbers[row] = {
            "nats under the best": lost.mean().item(),
            "nats under the best, 90 % quantile": lost.quantile(0.9).item(),
            "off_manifold": (log_probs < threshold).double().mean().item(),
            "distance_left": path.metrics.distance_left.mean().item(),
            "length_ratio": path.metrics.length_ratio.mean().item(),
            "seconds_per_path": (path.info.seconds or 0) / given.pairs,
        }
    return {"best": best.mean().item(), "rows": numbers}


@torch.no_grad()
def best_possible(world: SamplableDensity, plane: Plane, start: Latents, end: Latents) -> Values:
    """The largest minimum of the log-density, in nats, of any path from `start` to `end`, shape (n,).

    min(log q(z_A), log q(z_B), the highest level above which their projections to the plane are connected).
    """
    a, b = plane.project(start), plane.project(end)
    window = fit_window(torch.cat([a, b]), margin=0.1)
    log_probs = world.log_prob(plane.lift(window.grid(SIDE, SIDE, a.device))).reshape(SIDE, SIDE)
    cell = (window.right - window.left) / (SIDE - 1)
    corner = torch.tensor([window.left, window.bottom])
    cells = [((places - corner) / cell).round().long().flip(1).T.numpy() for places in (a, b)]
    # The best of the neighbouring cells, so that an end off the grid is not charged for the rounding.
    joined = flood(maximum_filter(log_probs.numpy(), size=3), *cells)
    return torch.minimum(
        torch.from_numpy(joined).to(start),
        torch.minimum(world.log_prob(start), world.log_prob(end)),
    )


def flood(field: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The highest level at which cells a and b of a field are in one region of what is above it, shape (n,).

    Arguments:
        field: Heights, shape (rows, columns).
        a, b: Row and column of each cell, shape (2, n).
    """
    joined, level, regions = (
        np.full(a.shape[1], -np.inf),
        field.max(),
        np.empty(field.shape, np.int32),
    )
    while np.isinf(joined).any():
        level -= LEVEL
        label(field >= level, structure=np.ones((3, 3)), output=regions)
        at_a, at_b = regions[tuple(a)], regions[tuple(b)]
        joined[np.isinf(joined) & (at_a == at_b) & (at_a > 0)] = level
    return joined
