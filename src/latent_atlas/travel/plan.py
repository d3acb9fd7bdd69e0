"""From two codes to a path: `plan` checks its arguments, runs a planner, and measures the path."""

import math

import torch

from latent_atlas.density.base import Density, gradient, on_sphere
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import ArrayLike, Latents, Values, as_floats
from latent_atlas.travel.metrics import density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.planners.base import Planner
from latent_atlas.travel.planners.registry import planner_of

__all__ = ["checked_ends", "plan", "which_paths"]


@checked
def plan(
    density: Density,
    start: ArrayLike,
    end: ArrayLike,
    planner: str | Planner = "typical",
    *,
    frames: int = 17,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
) -> LatentPath:
    """Plan paths from `start` towards `end` that stay where the density is high.

    Arguments:
        density: The map, or any density.
        start, end: Codes, shape (n, d) or (d,).
        planner: A planner such as `Geodesic(strength=3.0)`, or a name in `PLANNERS` for its default
            settings. `Graph` needs `codes` and `Pullback` needs `decode`.
        frames: Points of each path, both ends included; 2 or more.
        threshold: Log-density in nats below which a frame counts as off-manifold; None is the 5 %
            quantile, see `density_threshold`. The cost of a geodesic has a threshold of its own.
        generator: Source of randomness for thresholds that are estimated from draws, for strings at
            a temperature, and for graphs that leave codes out.

    Returns:
        The paths with their metrics. The warnings say which have not converged and which have an
        off-manifold end.

    Raises:
        UserError: the codes do not match or are not finite, there is no such planner, it lacks
            something, frames < 2, or the planner follows a score that the density does not have.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> a, b = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 0.0])
        >>> plan(two_clusters(2, 4.0), a, b, "linear", frames=3).points[:, 0, 0]
        tensor([-2.,  0.,  2.])
    """
    start, end = checked_ends(start, end, frames, density.dimension)
    planner = planner_of(planner)
    _check_density(density, start, planner.follows_score)
    points, info = planner.plan(density, start, end, frames=frames, generator=generator)
    if density.sphere is not None:
        points = torch.cat([start[None], on_sphere(points[1:-1], density.sphere), points[-1:]])
    if threshold is not None and math.isnan(threshold):
        raise UserError("the threshold is nan; give a log-density in nats, or None")
    limit = density_threshold(density, start, end, generator) if threshold is None else threshold
    metrics = measure(points, end, density, limit)
    warnings = (*_unconverged(planner, info), *_off_manifold_ends(density, start, end, limit))
    return LatentPath(points, end, planner.name, info, metrics, warnings)


def checked_ends(
    start: ArrayLike, end: ArrayLike, frames: int, dimension: int
) -> tuple[Latents, Latents]:
    """Both ends as (n, d).

    Raises:
        UserError: there is no path between them, or not in so few frames.
    """
    if frames < 2:
        raise UserError(f"a path of {frames} frames has no two ends; choose frames of 2 or more")
    start, end = as_floats(start).detach(), as_floats(end).detach()
    if start.shape != end.shape or start.ndim not in (1, 2):
        raise UserError(
            "start and end must both have shape (n, d) or (d,); "
            f"they have {tuple(start.shape)} and {tuple(end.shape)}"
        )
    start, end = start.reshape(-1, start.shape[-1]), end.reshape(-1, end.shape[-1])
    if start.shape[1] != dimension or len(start) == 0:
        raise UserError(
            f"the density is of codes with {dimension} coordinates; "
            f"start and end have shape {tuple(start.shape)}"
        )
    start, end = start.to(end.device), end.to(start.dtype)
    same = (start == end).all(dim=1).nonzero().flatten()
    if len(same):
        raise UserError(
            f"start and end of path {int(same[0])} are the same code; choose two different codes"
        )
    for name, codes in (("start", start), ("end", end)):
        if not codes.isfinite().all():
            raise UserError(
                f"the {name} has coordinates that are not finite; "
                "encode it again from a readable image"
            )
    return start, end


def _check_density(density: Density, start: Latents, follows_score: bool) -> None:
    """Refuse a density whose log_prob is no tensor (n,), or cannot be differentiated."""
    with torch.no_grad():
        one: object = density.log_prob(start[:1])
    if not isinstance(one, torch.Tensor) or one.shape != (1,):
        shape = f" of shape {tuple(one.shape)}" if isinstance(one, torch.Tensor) else ""
        raise UserError(
            f"log_prob of this {type(density).__name__} gives a {type(one).__name__}{shape} for "
            "one code; have it give a tensor of shape (n,), one number for each code"
        )
    if not follows_score:
        return
    try:
        gradient(density.log_prob, start[:1])
    except RuntimeError as error:
        if "grad" not in str(error):
            raise
        raise UserError(
            f"log_prob of this {type(density).__name__} is not differentiable ({error}), so no "
            "path can follow its score; write it in torch operations, or choose linear or slerp"
        ) from error


def which_paths(count: int, total: int) -> str:
    """Some of the paths in words, which are "the path" where there is one.

    Examples:
        >>> which_paths(1, 1), which_paths(2, 3)
        ('the path', '2 of 3 paths')
    """
    return "the path" if total == 1 else f"{count} of {total} paths"


def _unconverged(planner: Planner, info: PlannerInfo) -> tuple[str, ...]:
    """A warning if paths that are minimised have not converged; a walk may stop anywhere."""
    if info.history is None or info.converged is None or info.residual is None:
        return ()
    if info.converged.all():
        return ()
    paths = which_paths(int((~info.converged).sum()), len(info.converged))
    advice = (
        f"give {type(planner).__name__} more iterations or a larger tolerance, on the command line "
        f"--set iterations={2 * info.iterations}"
    )
    if planner.name == "string":  # which may never converge between far clusters
        advice += ", or use geodesic where clusters are far apart"
    return (
        f"{paths} had not converged after {info.iterations} iterations (residual "
        f"{info.residual.max().item():.2g}), and the last one found is given; {advice}",
    )


@torch.no_grad()
def _off_manifold_ends(
    density: Density, start: Latents, end: Latents, threshold: float | Values
) -> tuple[str, ...]:
    """A warning if paths start or end off-manifold, with how far."""
    warnings = []
    for name, codes in (("start", start), ("end", end)):
        depth = threshold - density.log_prob(codes)
        if (depth > 0).any():
            paths = which_paths(int((depth > 0).sum()), len(codes))
            worst = f" (path {int(depth.argmax())})" if len(codes) > 1 else ""
            warnings.append(
                f"the {name} of {paths} is off-manifold, up to {depth.max().item():.1f} nats "
                f"below the threshold{worst}; travel.project moves codes onto the manifold"
            )
    return tuple(warnings)
