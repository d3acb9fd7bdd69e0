"""Typical paths: frames as far from the middle of the population as real codes are."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.density.base import Density, denoise
from latent_atlas.errors import checked, require
from latent_atlas.sampling.whitened import round_coordinates
from latent_atlas.shapes import Latents, Points, Trace, Values
from latent_atlas.travel.metrics import density_threshold, frame_log_probs
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.path_lbfgs import minimise
from latent_atlas.travel.planners.baselines import slerp
from latent_atlas.travel.planners.geodesic import Geodesic
from latent_atlas.travel.polyline import points_at, resample

__all__ = ["Typical", "denoised", "paced", "turn"]

AGAIN = (4, 16)  # times λ, for paths that stay below the threshold
BETWEEN = 8  # pieces of each step that are evaluated: between its frames a path may cross a gap
LOWER = 0.1  # nats by which a path may be below the geodesic and the threshold
ROUNDS = 30  # of bisection for the speed limit


@checked
@dataclass(frozen=True)
class Typical(Geodesic):
    """A turn from z_A to z_B round the middle of the population, denoised and bent.

    1. The turn keeps the distance from the mean, which a straight line does not: its middle lies
       nearer to the mean than real codes do, where the decoder shows mixtures of images.
    2. Each frame is moved towards E[code | code + w eps = frame], by the score of the density
       noised with w: all of the way between codes as far apart as independent ones are, and by the
       share of the squared distance between nearer codes.
    3. It is bent where log q is below the threshold τ, as little as needed:
       min |x|² (1 + λ ∫ softplus(τ - log q)² ds) + ∫ |z' - x'|² ds. A path that stays below is
       bent again with a larger λ.
    4. The frames are spread over time so that no step is longer than `pace` times the mean.

    Where the geodesic's least likely place is likelier than that of this path all the same, the
    geodesic is taken.

    References:
        Tweedie's formula for 2: An Empirical Bayes Approach to Statistics, Robbins 1956. White
        2016 for turns, as `Slerp`.

    Attributes:
        bend: λ, strength of the bending, 0 or more; 0 leaves it out. Paths that stay below the
            threshold are bent with 4 λ and 16 λ.
        width: w, width of the noise in the coordinates of `whiten`, 0 or more; 0 leaves denoising
            out, as a density without noise levels does.
        pace: Length of the longest step in mean steps, above 1.
        strength, share, threshold, widths, nodes, iterations, tolerance: As for `Geodesic`.
    """

    name: ClassVar[str] = "typical"

    bend: float = 0.5
    width: float = 0.4
    pace: float = 1.25
    nodes: int = 33

    def __post_init__(self) -> None:
        """Refuse settings without a path."""
        super().__post_init__()
        most = float("inf")
        require(0 <= self.bend < most, f"bend is {self.bend}; choose 0 or more, and finite")
        require(0 <= self.width < most, f"width is {self.width}; choose a width of 0 or more")
        require(1 < self.pace < most, f"pace is {self.pace}; choose more than 1: equal steps are 1")

    def plan(
        self,
        density: Density,
        start: Latents,
        end: Latents,
        *,
        frames: int,
        generator: torch.Generator | None = None,
        initial: Trace | None = None,
    ) -> tuple[Points, PlannerInfo]:
        """See `Planner.plan`; `info.chosen` names the planner of each path."""
        tau = self.threshold
        if tau is None:
            tau = density_threshold(density, start, end, generator, self.share)
        tau = torch.as_tensor(tau).to(start).expand(len(start))
        nodes = max(frames, self.nodes)
        round_ = round_coordinates(density, start.device)
        wide = density.of_rest(start) is not None
        points = (
            _white_turn(density, start, end, nodes)
            if wide
            else turn(start, end, nodes, round_.mean)
        )
        if self.width and density.noise_levels:
            apart = (end - start).square().sum(dim=1) / (2 * round_.factor.square().sum())
            cleaned = denoised(points, density, self.width)
            if wide:
                cleaned = _as_long(density, cleaned, points)
            points = points.lerp(cleaned, apart.clamp_max(1)[:, None])
        straight, _ = super().plan(
            density, start, end, frames=frames, generator=generator, initial=initial
        )
        floor = _lowest(density, straight) - LOWER
        if wide:  # the middle of many coordinates is likelier than any code, and empty
            floor = floor.minimum(tau)
        points, info = self._above(
            density, paced(points, nodes, self.pace), tau.maximum(floor), floor
        )
        points = paced(points, frames, self.pace)
        falls = _lowest(density, points) < floor
        chosen = tuple(Geodesic.name if fell else self.name for fell in falls.tolist())
        return torch.where(falls[:, None], straight, points), replace(info, chosen=chosen)

    def _above(
        self, density: Density, anchor: Points, tau: Values, floor: Values
    ) -> tuple[Points, PlannerInfo]:
        """The path near `anchor` that is bent as little as it must to stay above `floor`."""
        if not self.bend:
            return anchor, PlannerInfo()
        points, info = self._bent(density, anchor, tau, self.bend)
        for times in AGAIN:
            low = _lowest(density, points) < floor
            if not low.any():
                break
            strength = times * self.bend
            points[:, low], again = self._bent(density, anchor[:, low], tau[low], strength)
            for mine, theirs in (
                (info.converged, again.converged),
                (info.residual, again.residual),
            ):
                assert mine is not None
                assert theirs is not None
                mine[low] = theirs
        return points, info

    def _bent(
        self, density: Density, anchor: Points, tau: Values, strength: float
    ) -> tuple[Points, PlannerInfo]:
        """The path near `anchor` that is above the threshold where it can be."""
        steps = anchor.diff(dim=0)
        size = len(steps) * steps.square().sum(dim=(0, 2))

        def energy(points: Tensor, rows: Tensor) -> Tensor:
            log_probs = density.log_prob(points[1:-1].flatten(0, 1)).unflatten(0, (-1, len(rows)))
            outside = F.softplus(tau[rows] - log_probs).square().mean(dim=0)
            moved = len(steps) * (points.diff(dim=0) - steps[:, rows]).square().sum(dim=(0, 2))
            return size[rows] * (1 + strength * outside) + moved

        return minimise(energy, anchor, iterations=self.iterations, tolerance=self.tolerance)


def turn(start: Latents, end: Latents, frames: int, centre: Tensor) -> Points:
    """Turn round a centre (d,), with |z - m|² going evenly from end to end, (frames, n, d)."""
    a, b = start - centre, end - centre
    turned = slerp(a, b, frames)  # straight through the centre between opposite codes
    s = torch.linspace(0, 1, frames, device=a.device, dtype=a.dtype)[:, None]
    squares = torch.lerp(a.square().sum(dim=1), b.square().sum(dim=1), s)
    points = centre + F.normalize(turned, dim=2) * squares.sqrt()[..., None]
    points[0], points[-1] = start, end
    return points


def _white_turn(density: Density, start: Latents, end: Latents, frames: int) -> Points:
    """The turn in whitened coordinates, in which wide codes are nearly all equally long."""
    ends = density.whiten(start), density.whiten(end)
    white = turn(*ends, frames, torch.zeros_like(ends[0][0]))
    points = density.unwhiten(white.flatten(0, 1)).view_as(white)
    points[0], points[-1] = start, end
    return points


def _as_long(density: Density, points: Points, known: Points) -> Points:
    """The points at the whitened lengths of others: denoising shortens the rest of wide codes."""
    white, lengths = (density.whiten(some.flatten(0, 1)) for some in (points, known))
    white = F.normalize(white, dim=1) * lengths.norm(dim=1, keepdim=True)
    return density.unwhiten(white).view_as(points)


@torch.no_grad()
def denoised(points: Points, density: Density, width: float) -> Points:
    """Every frame as `density.base.denoise` has it; the ends stay.

    What denoising takes from an end is added again, less and less up to the middle of the path.
    """
    moves = denoise(density, points.flatten(0, 1), width).view_as(points) - points
    s = torch.linspace(0, 1, len(points), device=points.device, dtype=points.dtype)[:, None, None]
    kept = (1 - 2 * s).clamp_min(0) * moves[0] + (2 * s - 1).clamp_min(0) * moves[-1]
    return torch.cat([points[:1], (points + moves - kept)[1:-1], points[-1:]])


def paced(points: Trace, frames: int, pace: float) -> Points:
    """Frames at equal times, where the path goes at v between given points, but no faster than c.

    The time from point to point is max(v, c), with c such that these sum to `pace` times the
    length: so no step is longer than `pace` mean ones.
    """
    v = points.diff(dim=0).norm(dim=2)
    total = pace * v.sum(dim=0)
    low, high = torch.zeros_like(total), total
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        over = v.maximum(middle).sum(dim=0) > total
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    times = torch.cat([torch.zeros_like(v[:1]), v.maximum(low).cumsum(dim=0)])
    wanted = torch.linspace(0, 1, frames, device=points.device, dtype=points.dtype)[:, None]
    placed = points_at(points, times, wanted * times[-1])
    placed[0], placed[-1] = points[0], points[-1]
    return placed


def _lowest(density: Density, points: Points) -> Values:
    """log q of the least likely place between the ends, in nats, shape (n,)."""
    return frame_log_probs(density, resample(points, BETWEEN * (len(points) - 1) + 1)).amin(dim=0)
