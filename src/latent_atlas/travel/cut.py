"""Paths that jump where nothing lies between, so that every frame shows something real."""

from dataclasses import replace

import torch

from latent_atlas.density.base import Density
from latent_atlas.shapes import FrameMask
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath

__all__ = ["cut"]


def cut(
    path: LatentPath, density: Density, real: FrameMask, *, generator: torch.Generator | None
) -> LatentPath:
    """Replace each frame that is unlike real codes by the nearest one of its path that is not.

    Where a path leaves the real codes and comes back, it stays where it was for half of the frames
    between, and then jumps. The first and the last frame and waypoints are as they are.

    Arguments:
        path: The paths.
        density: For the metrics, which are measured anew.
        real: Whether a frame looks like a real code, shape (frames, n).
        generator: For the threshold, as for `plan`.
    """
    real = real.clone()
    real[0] = real[-1] = True
    if path.waypoints is not None:
        real.scatter_(0, path.waypoints.to(real.device), True)
    place = torch.arange(len(real), device=real.device)
    apart = (place[:, None] - place).abs()[..., None].masked_fill(~real, len(real))
    nearest = apart.argmin(dim=1)  # of the frames (frames, n)
    points = path.points.gather(0, nearest[..., None].expand_as(path.points))
    threshold = density_threshold(density, points[0], path.end, generator)
    measured = measure(points, path.end, density, threshold)
    metrics = replace(
        path.metrics,
        off_manifold=measured.off_manifold,
        lowest_log_prob=measured.lowest_log_prob,
        largest_jump=measured.largest_jump,
    )
    return replace(path, points=points, metrics=metrics)
