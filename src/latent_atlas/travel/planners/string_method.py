"""The string method: nodes follow the score across the path, or the mean of codes around them."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import Latents, Points, Trace, Values
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.planners.base import Planner, check_widths
from latent_atlas.travel.polyline import arc_lengths, resample

__all__ = ["StringMethod"]

# Per step, how long a string remembers the largest change of the score that it has met.
FORGETTING = 0.95
TOWARDS_MEAN = 0.1  # share of the way to the mean of its cell that a node moves at each step


@checked
@dataclass(frozen=True)
class StringMethod(Planner):
    """A string of nodes that moves until it lies along a ridge of the density, or along its mean.

    References:
        String Method for the Study of Rare Events, E, Ren and Vanden-Eijnden 2002; Simplified and
        Improved String Method for Computing the Minimum Energy Paths in Barrier-Crossing Events,
        the same 2007. Finite Temperature String Method for the Study of Rare Events, the same 2005;
        Revisiting the Finite Temperature String Method, Vanden-Eijnden and Venturoli 2009.

    Attributes:
        temperature: T, 0 or more. 0 follows the score to a ridge of log q. T > 0 follows the mean
            of q^(1/T) around each node, and needs a generator; at T = 1 that is q itself.
        widths: Noise widths from coarse to fine, in units of the codes: each starts from the string
            of the one before. None is (0,).
        nodes: Minimal number of points of a string; 3 or more. More frames than that are moved
            themselves.
        step: Step of dz/dt = score, in squared units of the codes per nat; positive. At T = 0 it is
            the first step only: a string then finds its own.
        iterations: Maximal number of steps at each width; 2 or more. At T > 0 all are taken.
        tolerance: Residual at which a string has converged; positive. At T = 0 it is the most that
            log q would grow, in nats, if a node followed the score sideways by the distance to its
            neighbour. At T > 0 it is the furthest that a node has moved sideways in the second half
            of the steps, as a share of that distance.
        replicas: T > 0 only: number of codes that move around each node; 1 or more.
        smoothing: T > 0 only: share of the way to the middle of its neighbours that a node moves at
            each step, in [0, 1).

    Examples:
        >>> from latent_atlas.density.toys import arc
        >>> bent = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[-2.0, 0.0]]])
        >>> points, _ = StringMethod().plan(arc(), bent[0], bent[-1], frames=17, initial=bent)
        >>> points[8, 0, 1].round(decimals=1)  # the ridge passes (0, 2)
        tensor(2.)
    """

    name: ClassVar[str] = "string"

    temperature: float = 0.0
    widths: tuple[float, ...] | None = None
    nodes: int = 17
    step: float = 0.02
    iterations: int = 500
    tolerance: float = 0.1
    replicas: int = 16
    smoothing: float = 0.3

    def __post_init__(self) -> None:
        """Refuse strings that cannot move."""
        if self.temperature < 0:
            raise UserError(f"temperature is {self.temperature}; choose 0 or more")
        for name in ("step", "tolerance"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} is {getattr(self, name)}; choose a positive one")
        for name, least in (("nodes", 3), ("iterations", 2), ("replicas", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; choose {least} or more")
        if not 0 <= self.smoothing < 1:
            raise UserError(f"smoothing is {self.smoothing}; choose a share from 0 to below 1")
        check_widths(self.widths)

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
        """See `Planner.plan`.

        Arguments:
            density, start, end, frames: As for `Planner.plan`.
            generator: Moves the replicas; only for T > 0.
            initial: The path to start from, shape (steps, n, d); None is the straight line.

        Raises:
            UserError: T > 0, and there is no generator.
        """
        if self.temperature > 0 and generator is None:
            raise UserError(
                f"a string at temperature {self.temperature:g} moves at random; give a generator"
            )
        points = (torch.stack([start, end]) if initial is None else initial).detach()
        iterations, info = 0, PlannerInfo()
        for width in self.widths or (0.0,):
            level, points = density.noised(width), resample(points, max(frames, self.nodes))
            if generator is None or self.temperature == 0:
                points, info = _to_the_ridge(level, points, self)
            else:
                points, info = _to_the_mean(level, points, self, generator)
            iterations += info.iterations
        return resample(points, frames), replace(info, iterations=iterations)


def _to_the_ridge(density: Density, points: Trace, how: StringMethod) -> tuple[Trace, PlannerInfo]:
    """z' = z + h (s - (s · t) t), s the score and t the tangent, then equal distances.

    1 / h is the largest change of the score's sideways part per length that a node has met, with
    exponential forgetting.
    """
    z = points.clone()
    residual, stiffness = z.new_full(z.shape[1:2], math.inf), z.new_full(z.shape[1:2], 1 / how.step)
    pull, place, history = torch.zeros_like(z[1:-1]), z[1:-1].clone(), []
    going = torch.arange(z.shape[1], device=z.device)
    for k in range(how.iterations + 1):
        here = z[:, going]
        slope = density.score(here[1:-1].flatten(0, 1)).unflatten(0, here[1:-1].shape[:2])
        sideways = _sideways(slope, here)
        residual[going] = _longest(sideways) * _gap(here)
        history.append(residual.clone())
        if k > 0:
            changes = (sideways - pull[:, going]).norm(dim=2)
            lengths = (here[1:-1] - place[:, going]).norm(dim=2).clamp_min(1e-6 * _gap(here))
            stiffness[going] = (
                (changes / lengths).amax(dim=0).maximum(FORGETTING * stiffness[going])
            )
        pull[:, going], place[:, going] = sideways, here[1:-1]
        going = (residual > how.tolerance).nonzero().flatten()  # false where the residual is nan
        if k == how.iterations or not len(going):
            break
        moved = z[:, going]
        moved[1:-1] += _at_most(pull[:, going] / stiffness[going, None], _gap(moved) / 2)
        z[:, going] = resample(moved, len(z))
    return z, PlannerInfo(
        residual <= how.tolerance, len(history) - 1, residual, torch.stack(history)
    )


def _to_the_mean(
    density: Density, points: Trace, how: StringMethod, generator: torch.Generator
) -> tuple[Trace, PlannerInfo]:
    """z' = z + a (m - z) + b ((z_{k-1} + z_{k+1}) / 2 - z), then equal distances.

    m is the mean of a node's replicas so far. The replicas x of a node follow
    x' = x + h s(x) + sqrt(2 h T) ε, ε ~ N(0, I), and stay if x' is nearer to another node: each
    samples q^(1/T) within the Voronoi cell of its node.
    """
    z = points.clone()
    replicas, mean = z.expand(how.replicas, *z.shape).clone(), z.clone()
    halfway, history = z, [z.new_zeros(z.shape[1])]
    for k in range(1, how.iterations + 1):
        noise = torch.randn(replicas.shape, generator=generator, device=z.device, dtype=z.dtype)
        drift = how.step * density.score(replicas.flatten(0, 2)).view_as(replicas)
        moved = (
            replicas + _at_most(drift, _gap(z)) + math.sqrt(2 * how.step * how.temperature) * noise
        )
        replicas = torch.where(_at_home(moved, z), moved, replicas)
        mean = mean + (replicas.mean(dim=0) - mean) / (k + 1)
        middle = (z[:-2] + z[2:]) / 2
        inner = z[1:-1] + TOWARDS_MEAN * (mean - z)[1:-1] + how.smoothing * (middle - z[1:-1])
        z = resample(torch.cat([z[:1], inner, z[-1:]]), len(z))
        replicas = torch.where(_at_home(replicas, z), replicas, z)
        halfway = z if k == how.iterations // 2 else halfway
        history.append(_longest(_sideways((z - halfway)[1:-1], z)) / _gap(z))
    residual = history[-1]
    return z, PlannerInfo(residual <= how.tolerance, how.iterations, residual, torch.stack(history))


def _sideways(moves: Tensor, points: Trace) -> Tensor:
    """v - (v · t) t for moves (nodes - 2, n, d) of inner nodes, t along their neighbours' chord."""
    chords = points[2:] - points[:-2]
    tangents = chords / chords.norm(dim=2, keepdim=True).clamp_min(torch.finfo(points.dtype).tiny)
    return moves - (moves * tangents).sum(dim=2, keepdim=True) * tangents


def _longest(moves: Tensor) -> Values:
    """The length of each path's longest move, shape (n,)."""
    return moves.norm(dim=2).amax(dim=0)


def _gap(points: Trace) -> Values:
    """Mean distance of neighbouring nodes, shape (n,)."""
    return arc_lengths(points)[-1] / (len(points) - 1)


def _at_most(moves: Tensor, limit: Values) -> Tensor:
    """Moves (..., n, d), shortened to the limit (n,) where they are longer."""
    lengths = moves.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(moves.dtype).tiny)
    return moves * (limit[:, None] / lengths).clamp_max(1)


def _at_home(codes: Tensor, points: Trace) -> Tensor:
    """Whether codes (replicas, nodes, n, d) are in the Voronoi cell of their node, (..., n, 1)."""
    distances = torch.cdist(
        codes.permute(2, 0, 1, 3).flatten(1, 2), points.transpose(0, 1)
    )  # (n, replicas · nodes, nodes)
    nearest = distances.argmin(dim=2).unflatten(1, codes.shape[:2])
    home = nearest == torch.arange(len(points), device=points.device)
    return home.permute(1, 2, 0)[..., None]
