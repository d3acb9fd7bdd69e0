"""Metrics of a path that need a density and no decoder."""

import torch

from latent_atlas.density.base import Density
from latent_atlas.errors import checked
from latent_atlas.shapes import Latents, Points, Values
from latent_atlas.travel.path_info import PathMetrics
from latent_atlas.travel.polyline import arc_lengths

__all__ = ["OFF_MANIFOLD_SHARE", "density_threshold", "frame_log_probs", "measure"]

OFF_MANIFOLD_SHARE = 0.05  # of real codes that are below the threshold, by its definition


@checked
@torch.no_grad()
def density_threshold(
    density: Density,
    start: Latents,
    end: Latents,
    generator: torch.Generator | None,
    share: float = OFF_MANIFOLD_SHARE,
) -> float | Values:
    """The log-density in nats below which the given share of the population lies.

    It is the density's own threshold. A density without one gives, for each path, the lower of the
    log-densities of its two ends.
    """
    own = density.threshold(share, generator=generator)
    return torch.minimum(density.log_prob(start), density.log_prob(end)) if own is None else own


@torch.no_grad()
def frame_log_probs(density: Density, points: Points) -> torch.Tensor:
    """log q of every frame in nats, shape (frames, n)."""
    return density.log_prob(points.flatten(0, 1)).unflatten(0, points.shape[:2])


def measure(
    points: Points, end: Latents, density: Density, threshold: float | Values
) -> PathMetrics:
    """The metrics that every path has.

    Arguments:
        points: The frames, shape (frames, n, d).
        end: z_B, shape (n, d).
        density: q.
        threshold: The log-density in nats below which a frame is off-manifold, one or one per path.
    """
    tiny = torch.finfo(points.dtype).tiny
    direct = (end - points[0]).norm(dim=1).clamp_min(tiny)
    farthest = (end - points).norm(dim=2).amax(dim=0).clamp_min(tiny)
    log_probs = frame_log_probs(density, points)
    inner = log_probs[1:-1] if len(points) > 2 else log_probs
    return PathMetrics(
        distance_left=(end - points[-1]).norm(dim=1) / farthest,
        length_ratio=arc_lengths(points)[-1] / direct,
        off_manifold=(inner < threshold).float().mean(dim=0),
        lowest_log_prob=log_probs.min(dim=0).values,
        largest_jump=points.diff(dim=0).norm(dim=2).max(dim=0).values,
    )
