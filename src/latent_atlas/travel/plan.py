"""From two codes to a path: `plan` checks what it is given, runs a planner, and says what the path is worth."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latent_atlas.density.base import Density, gradient
from latent_atlas.errors import UserError
from latent_atlas.shapes import Latents, Values
from latent_atlas.travel.metrics import OFF_MANIFOLD_SHARE, density_threshold, measure
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.planners.base import PLANNERS, Request

__all__ = ["OFF_MANIFOLD_SHARE", "PLANNERS", "checked_ends", "density_threshold", "plan"]


def plan(
    density: Density,
    start: Tensor,
    end: Tensor,
    planner: str = "geodesic",
    *,
    frames: int = 17,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> LatentPath:
    """Plan journeys from `start` towards `end` without leaving the population.

    Arguments:
        density: The map, or any density. The walking rules follow D(z); a density without a discriminator of its own
            is judged against N(0, I), D = q / (q + p).
        start, end: Codes, shape (n, d) or (d,).
        planner: linear or slerp, which look at no map; walk, by its two rules; geodesic or string; graph, a route over
            real codes that is shortened to a geodesic; auto, the best for each journey of linear, geodesic and graph;
            or pullback, a geodesic of the decoder.
        frames: Points of the path, both ends included; 2 or more.
        floor: Log-density in nats below which a place is outside: frames there are counted, and a geodesic's cost
            grows from there. See `density_threshold` for the default, of 5 % for the frames and of
            `Geodesic.share` for the cost.
        generator: Source of randomness for floors that have to be estimated, for strings at a temperature, and for
            graphs that leave codes out.
        **options: Settings of the planner, those of `Walk`, `Geodesic`, `String`, `Pullback`, or of both `Graph` and
            `Geodesic`. A graph is also given `codes` (m, d), real ones, and with `refine=False` the route over them
            is the path; auto takes `codes` too, and has no graph without them. All three take a `population` (m, d), of
            which `share` are under the floor of the cost: such codes as are travelled between, that the density has
            not learned from; by default those of the graph. A pullback is given `decode`, from codes (n, d) to images,
            differentiable.

    Returns:
        The path with its metrics, those of `travel.metrics.measure` and for whole paths `converged`, 1 or 0; of auto
        also `by_linear`, `by_geodesic` and `by_graph`, 1 for the one that it is by. Its notes say which journeys have
        not converged or have an end outside the population.

    Raises:
        UserError: the codes do not match or are not finite, the planner or an option is unknown or missing, frames < 2,
            or the planner follows a score that the density does not have.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> a, b = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 0.0])
        >>> plan(two_clusters(2, 4.0), a, b, "linear", frames=3).points[:, 0, 0]
        tensor([-2.,  0.,  2.])
    """
    start, end = checked_ends(start, end, frames, density.dimension)
    if planner not in PLANNERS:
        raise UserError(f"no planner '{planner}'; choose {', '.join(PLANNERS)}")
    _check_options(planner, options)
    if PLANNERS[planner].follows:
        _check_score(density, start)
    asked = Request(density, start, end, frames, threshold, generator)
    points, info, numbers = PLANNERS[planner].plan(asked, options)
    lowest = density_threshold(density, start, end, generator) if threshold is None else threshold
    path = LatentPath(points, end, planner, info, numbers)
    notes = (*_unconverged(path), *_outside(density, path, lowest))
    return replace(path.with_metrics(measure(path, density, lowest)), notes=notes)


def checked_ends(
    start: Tensor, end: Tensor, frames: int, dimension: int
) -> tuple[Latents, Latents]:
    """Both ends as (n, d).

    Raises:
        UserError: they cannot be travelled between, or not in so few frames.
    """
    if frames < 2:
        raise UserError(f"a path of {frames} frames has no two ends; choose frames of 2 or more")
    if start.shape != end.shape or start.ndim not in (1, 2):
        raise UserError(
            f"start and end must both have shape (n, d) or (d,); they have {tuple(start.shape)} and {tuple(end.shape)}"
        )
    start, end = start.reshape(-1, start.shape[-1]), end.reshape(-1, end.shape[-1])
    if start.shape[1] != dimension or len(start) == 0:
        raise UserError(
            f"the density is of codes with {dimension} coordinates; {tuple(start.shape)} were given"
        )
    if not (start.is_floating_point() and end.is_floating_point()):
        raise UserError(
            f"codes must be floating-point numbers; these are {start.dtype} and {end.dtype}"
        )
    same = (start == end).all(dim=1).nonzero().flatten()
    if len(same):
        raise UserError(
            f"start and end of journey {int(same[0])} are the same code, so there is nowhere to go"
        )
    for name, codes in (("start", start), ("end", end)):
        if not codes.isfinite().all():
            raise UserError(
                f"the {name} has coordinates that are not finite; encode it again from a readable image"
            )
    return start, end


def _check_options(planner: str, options: dict[str, Any]) -> None:
    """One sentence on an option that is unknown or missing."""
    known = PLANNERS[planner].options
    if options and not known:
        raise UserError(f"planner '{planner}' has no settings; it was given {', '.join(options)}")
    for name in options:
        if name not in known:
            raise UserError(
                f"planner '{planner}' has no setting '{name}'; it has {', '.join(known)}"
            )
    for name in PLANNERS[planner].needs:
        if name not in options:
            raise UserError(f"planner '{planner}' was given no {name}; call it with {name}=...")


def _check_score(density: Density, start: Latents) -> None:
    """One sentence where log_prob cannot be differentiated, as no path can be bent by it then."""
    try:
        gradient(density.log_prob, start[:1])
    except RuntimeError as error:
        if "grad" not in str(error):
            raise
        raise UserError(
            f"log_prob of this {type(density).__name__} is not differentiable ({error}), so no path can follow it; "
            "write it in torch operations, or choose linear or slerp"
        ) from error


def _unconverged(path: LatentPath) -> tuple[str, ...]:
    """A sentence where whole paths were moved and have not come to rest."""
    moving = int((path.metrics["converged"] == 0).sum()) if "converged" in path.metrics else 0
    if not moving:
        return ()
    return (
        f"{moving} of {path.points.shape[1]} journeys had not come to rest after {path.info['iterations']} iterations "
        f"(residual {path.info['residual']:.2g}); give more iterations, or a larger tolerance",
    )


@torch.no_grad()
def _outside(density: Density, path: LatentPath, threshold: float | Values) -> tuple[str, ...]:
    """A sentence where journeys start or end outside of the population, saying how far."""
    notes = []
    for name, codes in (("start", path.points[0]), ("end", path.end)):
        depth = threshold - density.log_prob(codes)
        if (depth > 0).any():
            notes.append(
                f"the {name} of {int((depth > 0).sum())} of {len(codes)} journeys is outside the population, up to "
                f"{depth.max().item():.1f} nats under its floor (journey {int(depth.argmax())}); "
                "travel.uphill moves codes inside"
            )
    return tuple(notes)
