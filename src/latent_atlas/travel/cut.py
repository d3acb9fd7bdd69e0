"""Frames unlike real codes: which they are, and paths that jump over them."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.membership import Membership
from latent_atlas.errors import counted
from latent_atlas.shapes import FrameMask
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE, density_threshold, measure
from latent_atlas.travel.path import LatentPath

__all__ = ["cut", "with_membership"]

HARDLY = 0.65  # AUROC of membership below which it says little


def with_membership(path: LatentPath, membership: Membership | None) -> LatentPath:
    """The path with the membership of its frames; as it is where there is none.

    Its `warnings` say so where real codes can hardly be told from points between them.
    """
    if membership is None:
        return path
    shape = path.points.shape[:2]
    p_values = membership.p_value(path.points.flatten(0, 1)).unflatten(0, shape)
    path = _with_p_values(path, p_values)
    if membership.auroc >= HARDLY:
        return path
    hardly = (
        "real codes can hardly be told from points between them here (AUROC "
        f"{membership.auroc:.2f}, 0.5 is chance): which frames are unlike real codes says little"
    )
    return replace(path, warnings=(*path.warnings, hardly))


def _with_p_values(path: LatentPath, p_values: Float[Tensor, "frames n"]) -> LatentPath:
    metrics = path.metrics
    if len(inner := p_values[1:-1]):
        outside = (inner < OFF_MANIFOLD_SHARE).float().mean(dim=0)
        metrics = replace(metrics, non_members=outside)
    return replace(path, p_values=p_values, metrics=metrics)


def cut(
    path: LatentPath, density: Density, real: FrameMask, *, generator: torch.Generator | None
) -> LatentPath:
    """Replace each frame that is unlike real codes by the nearest one of its path that is not.

    Where a path leaves the real codes and comes back, it stays where it was for half of the frames
    between, and then jumps. The first and the last frame and waypoints are as they are. Its
    `warnings` say how many frames are others.

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
    if path.p_values is not None:
        path = _with_p_values(path, path.p_values.gather(0, nearest))
    metrics = replace(
        path.metrics,
        off_manifold=measured.off_manifold,
        lowest_log_prob=measured.lowest_log_prob,
        largest_jump=measured.largest_jump,
    )
    replaced = int((points != path.points).any(dim=2).sum())
    if not replaced:
        return replace(path, metrics=metrics)
    before, after = (float(one.largest_jump.max()) for one in (path.metrics, metrics))
    told = (
        f"{replaced} of {counted(real.numel(), 'frame')} were unlike real codes, and became the "
        f"nearest frame like them: the largest step grows from {before:.2g} to {after:.2g}"
    )
    return replace(path, points=points, metrics=metrics, warnings=(*path.warnings, told))
