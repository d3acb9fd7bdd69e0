"""Minimise the energy of whole paths: L-BFGS on many at once, each with its own step and end."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.shapes import Points, Values
from latent_atlas.travel.path_info import PlannerInfo

__all__ = ["Energy", "check_descent", "minimise"]

Energy = Callable[[Tensor, Tensor], Tensor]
"""Energies (k,) of k paths (frames, k, d), differentiable in them.

The second argument, (k,), numbers the paths.
"""

Move = tuple[Tensor, Tensor, Tensor]
"""Differences of u and of the slope, (k, p), and 1 / their product (k,), or 0 to ignore them."""

MEMORY = 8  # moves that a path remembers
# Share of the decrease predicted by the slope that an accepted step keeps (Armijo).
SUFFICIENT = 1e-4


def minimise(
    energy: Energy, points: Points, *, iterations: int, tolerance: float
) -> tuple[Points, PlannerInfo]:
    r"""Move the inner points of n paths until their energies converge; the energies never increase.

    L-BFGS with backtracking, in coordinates u where the metric of |dz|² is Euclidean (`_Bridges`),
    which makes it a Sobolev gradient descent: a path is bent as a whole. A path that has converged
    is not evaluated again. In each iteration every other path is evaluated once: at its next step,
    or at a shorter one if its last was too long.

    A path has converged if |grad_u E| |γ| / 2E <= tolerance, with |γ|² = (F - 1) Σ |z_{k+1} -
    z_k|²: the move of a Newton step if E were a multiple of |γ|², as a share of the path. The
    criterion has no unit.

    References:
        Numerical Optimization, Nocedal and Wright 2006, algorithms 3.1 and 7.4; Sobolev Gradients
        and Differential Equations, Neuberger 1997.

    Arguments:
        energy: E of each path, 0 or more and of second order in its steps, as ∫ c² |dz|² is.
        points: The initial paths, shape (frames, n, d), 3 frames or more; both ends stay.
        iterations: Maximal number of evaluations of a path after its first.
        tolerance: In single precision 1e-3 or more; a smaller one may lie below the rounding errors
            of the energies.

    Returns:
        The paths, and their convergence, with the energies after each iteration as `history`.
    """
    # A tensor made in inference mode cannot enter autograd, so everything is made outside of it.
    with torch.inference_mode(False), torch.enable_grad():
        paths = _Bridges(points.detach().clone())
        with torch.no_grad():
            u = paths.coordinates(points.detach().clone())
        front = _Front.at(paths, energy, u)
        values, residuals = front.value.clone(), front.residuals(paths)
        history = [values.clone()]
        for _ in range(iterations):
            front = front.keep((residuals[front.rows] > tolerance) & front.can_fall())
            if not len(front.rows):
                break
            front = front.next(paths, energy)
            u[front.rows], values[front.rows] = front.u, front.value
            residuals[front.rows] = front.residuals(paths)
            history.append(values.clone())
        with torch.no_grad():
            relaxed = paths.points(u, torch.arange(len(u), device=u.device))
    return relaxed, PlannerInfo(
        residuals <= tolerance, len(history) - 1, residuals, torch.stack(history)
    )


def check_descent(nodes: int, iterations: int, tolerance: float) -> None:
    """Refuse settings with which no path can be minimised.

    Raises:
        UserError: there are fewer than 3 nodes, no iterations, or no tolerance.
    """
    if nodes < 3 or iterations < 1 or tolerance <= 0:
        raise UserError(
            f"nodes, iterations and tolerance are {nodes}, {iterations} and {tolerance}; "
            "choose 3 or more, 1 or more, and a positive one"
        )


class _Bridges:
    r"""Coordinates u (n, (F - 2) d) of paths with fixed ends; the metric of |dz|² is Euclidean.

    z_k = (1 - s_k) z_A + s_k z_B + Σ_j φ_j(s_k) u_j with s_k = k / (F - 1), j = 1..F-2,
    φ_j(s) = √2 sin(π j s) / ω_j and ω_j = 2 (F - 1) sin(π j / 2 (F - 1)), so that

        |γ|² = (F - 1) Σ_k |z_{k+1} - z_k|² = |z_B - z_A|² + |u|².
    """

    def __init__(self, points: Points) -> None:
        """Arguments: paths (frames, n, d) with the ends that are to stay."""
        self.start, self.end = points[0], points[-1]
        steps = len(points) - 1
        inner = torch.arange(1, steps, device=points.device, dtype=points.dtype)
        self.omega = 2 * steps * (math.pi * inner / (2 * steps)).sin()
        self.waves = (
            math.sqrt(2) * (math.pi * inner[:, None] * inner / steps).sin() / self.omega
        )  # φ_j(s_k), (k, j)
        self.times = (inner / steps)[:, None, None]

    def points(self, u: Tensor, rows: Tensor) -> Points:
        """The paths (F, k, d) of these numbers, at u (k, (F - 2) d)."""
        start, end = self.start[rows], self.end[rows]
        bent = torch.einsum("kj,njd->knd", self.waves, u.unflatten(1, (len(self.omega), -1)))
        return torch.cat([start[None], torch.lerp(start, end, self.times) + bent, end[None]])

    def coordinates(self, points: Points) -> Tensor:
        """u of all paths; inverse of `points`."""
        bent = points[1:-1] - torch.lerp(self.start, self.end, self.times)
        weights = self.waves * self.omega.square() / (len(self.omega) + 1)
        return torch.einsum("kj,knd->njd", weights, bent).flatten(1)

    def squares(self, u: Tensor, rows: Tensor) -> Values:
        """|γ|², shape (k,)."""
        return (self.end[rows] - self.start[rows]).square().sum(dim=1) + u.square().sum(dim=1)

    def evaluate(self, energy: Energy, u: Tensor, rows: Tensor) -> tuple[Values, Tensor]:
        """E (k,) and its gradient in u, in one pass."""
        u = u.detach().requires_grad_()
        value = energy(self.points(u, rows), rows)
        (slope,) = torch.autograd.grad(value.sum(), u)
        return value.detach(), slope


@dataclass(frozen=True)
class _Front:
    """The paths that have not converged; every tensor has a row for each."""

    rows: Tensor  # numbers of the paths, (k,)
    u: Tensor  # where they are, (k, p)
    value: Tensor  # E there, (k,)
    slope: Tensor  # its gradient, (k, p)
    direction: Tensor  # where they go next, (k, p)
    step: Tensor  # how far along it, (k,)
    memory: tuple[Move, ...]  # of the last steps, newest first, MEMORY at most
    scale: Tensor  # the inverse Hessian is this multiple of I before what is remembered, (k,)

    @classmethod
    def at(cls, paths: _Bridges, energy: Energy, u: Tensor) -> "_Front":
        """All paths, about to take their first step."""
        rows = torch.arange(len(u), device=u.device)
        value, slope = paths.evaluate(energy, u, rows)
        scale = paths.squares(u, rows) / (2 * value)  # exact where E is a multiple of |γ|²
        first = -scale[:, None] * slope
        return cls(
            rows,
            u,
            value,
            slope,
            first,
            torch.ones_like(value),
            (),
            scale,
        )

    def keep(self, rows: Tensor) -> "_Front":
        """Those paths alone."""
        if rows.all():
            return self
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        memory = tuple(tuple(part[rows] for part in one) for one in parts.pop("memory"))
        return _Front(memory=memory, **{name: part[rows] for name, part in parts.items()})

    def residuals(self, paths: _Bridges) -> Values:
        """|grad_u E| |γ| / 2E, (k,)."""
        return self.slope.norm(dim=1) * paths.squares(self.u, self.rows).sqrt() / (2 * self.value)

    def can_fall(self) -> Tensor:
        """Whether the decrease promised by the next step is more than rounding, (k,)."""
        return (
            -self.step * _dot(self.slope, self.direction)
            > torch.finfo(self.value.dtype).eps * self.value
        )

    def next(self, paths: _Bridges, energy: Energy) -> "_Front":
        """Each path at its trial step if the energy falls enough; else a shorter step next time."""
        trial = self.u + self.step[:, None] * self.direction
        value, slope = paths.evaluate(energy, trial, self.rows)
        promised = self.step * _dot(self.slope, self.direction)
        falls = value <= self.value + SUFFICIENT * promised  # false where the energy is nan
        # The parabola through E, its slope and E at the trial step has its minimum at this share.
        lowest = -promised / (2 * (value - self.value - promised))
        shorter = self.step * torch.where(value.isfinite(), lowest.clamp(0.1, 0.5), 0.1)

        move, turn = trial - self.u, slope - self.slope
        product = _dot(move, turn)
        bends = falls & (
            product > 1e-10 * turn.norm(dim=1) * move.norm(dim=1)
        )  # keeps the inverse Hessian positive
        # A step that was too long is remembered with the weight 0, which leaves it out.
        kept = torch.where(bends[:, None], turn, 0.0)
        newest = move, kept, torch.where(bends, 1 / product, 0.0)
        memory = (newest, *self.memory)[:MEMORY]
        scale = torch.where(bends, product / _dot(turn, turn), self.scale)
        chosen = falls[:, None]
        slope = torch.where(chosen, slope, self.slope)
        direction = torch.where(chosen, _two_loops(slope, memory, scale), self.direction)
        return _Front(
            self.rows,
            torch.where(chosen, trial, self.u),
            torch.where(falls, value, self.value),
            slope,
            direction,
            torch.where(falls, 1.0, shorter),
            memory,
            scale,
        )


def _two_loops(slope: Tensor, memory: tuple[Move, ...], scale: Tensor) -> Tensor:
    """-H grad E, with H the L-BFGS inverse Hessian (Nocedal and Wright, algorithm 7.4), (k, p)."""
    q, shares = slope, []
    for move, turn, weight in memory:
        shares.append(weight * _dot(move, q))
        q = torch.addcmul(q, shares[-1][:, None], turn, value=-1)
    q = scale[:, None] * q
    for (move, turn, weight), share in zip(reversed(memory), reversed(shares), strict=True):
        q = torch.addcmul(q, (share - weight * _dot(turn, q))[:, None], move)
    return -q


def _dot(a: Tensor, b: Tensor) -> Values:
    """a · b of each row."""
    return (a * b).sum(dim=1)
