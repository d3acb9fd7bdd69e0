"""What can be said of a path with a density and no decoder."""

import torch

from latent_atlas.density.base import Density
from latent_atlas.shapes import Latents, Points, Values
from latent_atlas.travel.path import LatentPath, arc_lengths

__all__ = ["OFF_MANIFOLD_SHARE", "density_threshold", "frame_log_probs", "measure"]

OFF_MANIFOLD_SHARE = 0.05  # real codes below the floor, by construction


@torch.no_grad()
def density_threshold(
    density: Density,
    start: Latents,
    end: Latents,
    generator: torch.Generator | None,
    share: float = OFF_MANIFOLD_SHARE,
) -> float | Values:
    """The log-density in nats under which the given share of the population lies.

    It is the density's own threshold. A density without one gives, for each path, the lower of the
    log-densities of its two ends.
    """
    own = density.threshold(share, generator=generator)
    return torch.minimum(density.log_prob(start), density.log_prob(end)) if own is None else own


@torch.no_grad()
def frame_log_probs(density: Density, points: Points) -> torch.Tensor:
    """log q of every frame in nats, shape (frames, n)."""
    return density.log_prob(points.flatten(0, 1)).unflatten(0, points.shape[:2])


def measure(path: LatentPath, density: Density, threshold: float | Values) -> dict[str, Values]:
    """Numbers per journey, shape (n,) each.

    Arguments:
        path: The journeys.
        density: Who judges.
        floor: The log-density in nats below which a frame is outside the population, one or one per journey.

    Returns:
        distance_left: |z_B - last frame| / |z_B - z_A|, 0 for exact arrival;
        length_ratio: length of the path / |z_B - z_A|, 1 for the straight line there;
        outside: share of the inner frames with log q under the floor, in [0, 1];
        lowest: log q of the least likely frame, in nats;
        largest_jump: largest distance between neighbouring frames.
    """
    points = path.points
    direct = (path.end - points[0]).norm(dim=1).clamp_min(torch.finfo(points.dtype).tiny)
    log_probs = frame_log_probs(density, points)
    inner = log_probs[1:-1] if len(points) > 2 else log_probs
    return {
        "distance_left": (path.end - points[-1]).norm(dim=1) / direct,
        "length_ratio": arc_lengths(points)[-1] / direct,
        "outside": (inner < threshold).float().mean(dim=0),
        "lowest": log_probs.min(dim=0).values,
        "largest_jump": points.diff(dim=0).norm(dim=2).max(dim=0).values,
    }
