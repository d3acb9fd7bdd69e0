"""Geodesics of the population: shortest paths where low density is costly to cross."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.errors import UserError, checked, require
from latent_atlas.shapes import Latents, Points, Trace, Values
from latent_atlas.travel.metrics import density_threshold
from latent_atlas.travel.path_info import PlannerInfo
from latent_atlas.travel.path_lbfgs import check_descent, minimise
from latent_atlas.travel.planners.base import Planner, Resources, check_widths
from latent_atlas.travel.polyline import resample

__all__ = ["Geodesic", "action", "cost"]

WIDTHS = (0.6, 0.3, 0.0)  # measured on clusters 0.2 to 0.5 wide, in 2 and 16 dimensions
COARSE_NODES = 9  # at coarser widths, whose paths have few bends
LOOSER = 10  # times the tolerance for paths that only start the next ones
MEANS_PER_DRAW = 0.5  # encoder means are likelier than draws around them: at d = 16, half as many
# of them are below a threshold, so a share of draws is half that share of means
MOST_MEANS = 2_000  # that a threshold is estimated from


def cost(log_probs: Tensor, threshold: float | Values, strength: float) -> Tensor:
    """c = 1 + λ softplus(τ - log q): 1 where log q > τ, growing by λ per nat below τ.

    It is flat where the density is high, so a path is not pulled to the modes.

    Arguments:
        log_probs: log q in nats, shape (nodes, n).
        threshold: τ in nats, one or one per path.
        strength: λ per nat, 0 or more.
    """
    return 1 + strength * F.softplus(threshold - log_probs)


def action(points: Trace, density: Density, threshold: float | Values, strength: float) -> Values:
    r"""E = (F - 1) Σ_k (c_k² + c_{k+1}²) / 2 |z_{k+1} - z_k|²: ∫ c² |dz/ds|² ds, shape (n,).

    The integral is by the trapezoidal rule. The minimum of E over parametrisations is the square of
    the path's length ∫ c |dz|.

    Arguments:
        points: Paths, shape (F, n, d).
        density, threshold, strength: q, τ and λ of `cost`.
    """
    rows = points.flatten(0, 1)
    log_probs, scores = density.log_prob_and_score(rows)
    if points.requires_grad:  # the same values, with the scores as their gradients
        log_probs = log_probs + ((rows - rows.detach()) * scores).sum(dim=1)
    log_probs = log_probs.unflatten(0, points.shape[:2])
    squares = cost(log_probs, threshold, strength).square()
    steps = points.diff(dim=0).square().sum(dim=2)
    return (len(points) - 1) * ((squares[1:] + squares[:-1]) / 2 * steps).sum(dim=0)


@checked
@dataclass(frozen=True)
class Geodesic(Planner):
    """The shortest path in the metric c(z) |dz|, with c = 1 + λ softplus(τ - log q(z)).

    Off-manifold places are costly, so the path goes round them. At each noise width w the path is
    shortened on the density of z + w · eps, starting from the path of the width before: the
    gradient of a sharp density is blind to what lies beyond an empty region. Coarser paths have
    9 points.

    References:
        Follow the Energy, Find the Path: Riemannian Metrics from Energy-Based Models, Béthune et
        al. 2025, for conformal metrics from a density; Visual Reconstruction, Blake and Zisserman
        1987, chapter 7, for the continuation from coarse to fine.

    Attributes:
        strength: λ, by how much each nat below the threshold increases the cost, per nat; 0 or
            more. 0 gives the straight line.
        share: Share of the population that lies below the threshold τ, in (0, 1); it also sets τ
            of each noised density.
        threshold: τ in nats. None computes it from `share`: see `density_threshold`. An atlas
            computes it from held-out encoder means, half the share of which lies below τ: they are
            likelier than the draws around them that the map is fitted to.
        widths: Noise widths from coarse to fine, in units of the codes. At the last one, a path
            that was never noised is shortened too, and the shorter of the two is kept. None is
            (0.6, 0.3, 0) for a density with noise levels, else (0,).
        nodes: Minimal number of points that a path is planned with at the last width; 3 or more.
            More frames than that are planned themselves.
        iterations: Maximal number of steps at each width, and at the last one after the shorter of
            two paths is chosen; 1 or more.
        tolerance: Residual at which a path has converged, without unit, as for `minimise`;
            positive. Coarser widths, and the choice between two paths, use ten times this value.

    Examples:
        >>> from latent_atlas.density.toys import arc
        >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[-2.0, 0.0]])
        >>> over = Geodesic(strength=3.0).plan(arc(), a, b, frames=17)[0][8, 0]
        >>> bool(over[1] > 1.4)  # the highest place of the arc is (0, 2)
        True
    """

    name: ClassVar[str] = "geodesic"

    strength: float = 1.0
    share: float = 0.2
    threshold: float | None = None
    widths: tuple[float, ...] | None = None
    nodes: int = 17
    iterations: int = 300
    tolerance: float = 2e-2

    def __post_init__(self) -> None:
        """Refuse settings without a shortest path."""
        if not self.strength >= 0:
            raise UserError(
                f"strength is {self.strength}; choose 0 or more, so that low density is no shortcut"
            )
        if not 0 < self.share < 1:
            raise UserError(
                f"share is {self.share}; choose a share of the population between 0 and 1"
            )
        check_descent(self.nodes, self.iterations, self.tolerance)
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
            generator: For thresholds that have to be estimated from draws.
            initial: The path to start from, shape (steps, n, d); None is the straight line.
        """
        first = torch.stack([start, end]) if initial is None else initial
        widths = self.widths or (WIDTHS if density.noise_levels else (0.0,))
        points, iterations, info, n = first, 0, PlannerInfo(), len(start)
        for width in widths:
            level, last = density.noised(width), width == widths[-1]
            tau = self.threshold if width == 0 else None
            if tau is None:
                tau = density_threshold(level, start, end, generator, self.share)
            energy = _Energy(level, torch.as_tensor(tau).to(first).expand(n), self.strength)
            nodes = max(frames, self.nodes) if last else COARSE_NODES
            # Noise can close a way that the sharp density leaves open: the first path runs beside.
            starts = [points, first] if last and points is not first else [points]
            points = torch.cat([resample(path, nodes) for path in starts], dim=1)
            # Both are only roughly shortened before the shorter one is chosen.
            rounds = [LOOSER] * (not last or len(starts) > 1) + [1] * last
            for looser in rounds:
                points, info = minimise(
                    energy, points, iterations=self.iterations, tolerance=looser * self.tolerance
                )
                points, info = _shortest(points, info, n)
                iterations += info.iterations
        return resample(points, frames), replace(info, iterations=iterations)

    def completed(self, density: Density, resources: Resources) -> "Geodesic":
        """The same planner with the threshold of held-out codes, unless it has one."""
        if self.threshold is not None or resources.held_out is None:
            return self
        share = MEANS_PER_DRAW * self.share
        return replace(
            self, share=share, threshold=threshold_of(density, resources.held_out, share)
        )


@torch.no_grad()
def threshold_of(density: Density, codes: Tensor, share: float) -> float:
    """The log-density in nats below which a share of codes (m, d) lies, of at most 2,000 or so.

    Raises:
        UserError: there are no codes.
    """
    require(len(codes) > 0, "a density threshold is a quantile of codes, and none were given")
    some = codes[:: max(len(codes) // MOST_MEANS, 1)]
    return torch.quantile(density.log_prob(some), share).item()


@dataclass(frozen=True)
class _Energy:
    """`action` of paths of which several may belong to each of n thresholds."""

    density: Density
    thresholds: Values
    strength: float

    def __call__(self, points: Trace, rows: Tensor) -> Values:
        taus = self.thresholds[rows % len(self.thresholds)]
        return action(points, self.density, taus, self.strength)


def _shortest(points: Tensor, info: PlannerInfo, n: int) -> tuple[Tensor, PlannerInfo]:
    """The path of least energy for each of n pairs of ends, of several for each pair."""
    assert info.history is not None
    assert info.converged is not None
    assert info.residual is not None
    energies = info.history[-1].unflatten(0, (-1, n)).nan_to_num(nan=torch.inf)
    rows = energies.argmin(dim=0) * n + torch.arange(n, device=energies.device)
    return points[:, rows], replace(
        info,
        converged=info.converged[rows],
        residual=info.residual[rows],
        history=info.history[:, rows],
    )
