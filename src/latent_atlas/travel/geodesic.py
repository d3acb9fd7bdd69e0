"""Geodesics of the population: shortest paths in a space where what lies outside of it is long to cross."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.density import Density
from latent_atlas.errors import UserError
from latent_atlas.shapes import Trace, Values
from latent_atlas.travel.coarse_to_fine import check_widths, coarse_to_fine
from latent_atlas.travel.descent import minimise
from latent_atlas.travel.metrics import population_floor
from latent_atlas.travel.path import Relaxed, resample

__all__ = ["Geodesic", "action", "cost", "geodesic"]

WIDTHS = (
    0.6,
    0.3,
    0.0,
)  # for codes of about unit variance; measured on clusters 0.2 to 0.5 wide, in 2 and 16 dimensions
LOOSER = 10  # times the tolerance at the coarser widths, whose path is only where the next one starts


def cost(log_probs: Tensor, floor: float | Values, strength: float) -> Tensor:
    """c = 1 + λ softplus(τ - log q): 1 inside the population, growing by λ with each nat under its floor τ.

    Flat inside, so a path is not dragged to the modes; steep outside.

    Arguments:
        log_probs: log q in nats, shape (nodes, n).
        floor: τ in nats, one or one per journey.
        strength: λ, 0 or more.
    """
    return 1 + strength * F.softplus(floor - log_probs)


def action(points: Trace, density: Density, floor: float | Values, strength: float) -> Values:
    r"""E = (F - 1) Σ_k (c_k² + c_{k+1}²) / 2 |z_{k+1} - z_k|², shape (n,): ∫ c² |dz/ds|² ds by the trapezoidal rule.

    At its least, E is the square of the path's length ∫ c |dz|, whichever way the path is parametrised.

    Arguments:
        points: Paths, shape (F, n, d).
        density, floor, strength: q, τ and λ of `cost`.
    """
    log_probs = density.log_prob(points.flatten(0, 1)).unflatten(0, points.shape[:2])
    squares = cost(log_probs, floor, strength).square()
    steps = points.diff(dim=0).square().sum(dim=2)
    return (len(points) - 1) * ((squares[1:] + squares[:-1]) / 2 * steps).sum(dim=0)


@dataclass(frozen=True)
class Geodesic:
    """How to look for a geodesic.

    Attributes:
        strength: λ, how much longer each nat under the floor makes a place; 0 gives the straight line.
        share: Of the population that lies under the floor τ, in (0, 1), where no floor is given.
        widths: Blurs from coarse to fine, in the units of the codes: a path planned on the density of z + width · eps
            is where the next one starts. At the last width a path that was never blurred runs beside, and the shorter
            one is kept. None is (0.6, 0.3, 0) for a density that has coarser versions, or (0,).
        nodes: The fewest points a path is planned with; more frames than that are planned themselves.
        iterations: The most steps at each width.
        tolerance: Residual at which a path has converged, as in `minimise`; ten times that at the coarser widths.
    """

    strength: float = 1.0
    share: float = 0.2
    widths: tuple[float, ...] | None = None
    nodes: int = 17
    iterations: int = 300
    tolerance: float = 2e-2

    def __post_init__(self) -> None:
        """Refuse what has no shortest path."""
        if self.strength < 0:
            raise UserError(f"strength is {self.strength}; choose 0 or more, so that places outside are not shortcuts")
        if not 0 < self.share < 1:
            raise UserError(f"share is {self.share}; choose a share of the population between 0 and 1")
        if self.nodes < 3 or self.iterations < 1 or self.tolerance <= 0:
            raise UserError(
                f"nodes, iterations and tolerance are {self.nodes}, {self.iterations} and {self.tolerance}; choose 3 "
                "or more, 1 or more, and a positive one"
            )
        check_widths(self.widths)


def geodesic(
    density: Density,
    initial: Trace,
    how: Geodesic | None = None,
    *,
    frames: int = 2,
    floor: float | Values | None = None,
    generator: torch.Generator | None = None,
) -> Relaxed:
    """Shorten paths in the metric c(z) |dz| until they are geodesics.

    References:
        Follow the Energy, Find the Path: Riemannian Metrics from Energy-Based Models, Béthune et al. 2025, for
        conformal metrics from a density.

    Arguments:
        density: q, with a differentiable log-density.
        initial: Where to start from, shape (steps, n, d); (2, n, d), only the two ends, is the straight line.
        how: Cost, widths and when to stop.
        frames: How many points are wanted.
        floor: τ of the density itself in nats, one or one per journey; see `population_floor` for the default. A
            coarser version always has its own.
        generator: Source of randomness for floors that have to be estimated.

    Returns:
        Paths of `how.nodes` or `frames` points, with the energies at the last width as their `history` and the
        iterations of all widths. Both ends are where they were, bit for bit.

    Examples:
        >>> from latent_atlas.toys import arc
        >>> ends = torch.tensor([[[2.0, 0.0]], [[-2.0, 0.0]]])
        >>> over = geodesic(arc(), ends, Geodesic(strength=3.0)).points[8, 0]  # the arc's highest place is (0, 2)
        >>> bool(over[1] > 1.4)
        True
    """
    how = how or Geodesic()
    widths, n = how.widths or (WIDTHS if density.blurs else (0.0,)), initial.shape[1]

    def shorten(points: Trace, width: float) -> Relaxed:
        seen, last = density.blurred(width), width == widths[-1]
        tau = floor if width == 0 else None
        if tau is None:
            tau = population_floor(seen, initial[0], initial[-1], generator, how.share)
        taus = torch.as_tensor(tau).to(points).expand(n)
        # A blur can close the way that the sharp density leaves open, so a path that was never blurred runs beside.
        starts = [points, initial] if last and points is not initial else [points]
        relaxed = minimise(
            lambda paths, rows: action(paths, seen, taus[rows % n], how.strength),
            torch.cat([resample(start, max(frames, how.nodes)) for start in starts], dim=1),
            iterations=how.iterations,
            tolerance=how.tolerance * (1 if last else LOOSER),
        )
        return _shortest(relaxed, n)

    return coarse_to_fine(shorten, initial, widths)


def _shortest(relaxed: Relaxed, n: int) -> Relaxed:
    """The path of least energy for each of n journeys, of those that were planned one after the other."""
    energies = relaxed.history[-1].unflatten(0, (-1, n)).nan_to_num(nan=torch.inf)
    rows = energies.argmin(dim=0) * n + torch.arange(n, device=energies.device)
    chosen = {name: getattr(relaxed, name)[rows] for name in ("converged", "residual")}
    return replace(relaxed, points=relaxed.points[:, rows], history=relaxed.history[:, rows], **chosen)
