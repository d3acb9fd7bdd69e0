"""Particles of any density, and its normalising constant, from a start that is fitted."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.density.base import Density, SamplableDensity
from latent_atlas.density.gaussian_mixture import GaussianMixture, fit_gaussian_mixture
from latent_atlas.density.moments import cholesky
from latent_atlas.density.student_mixture import StudentMixture
from latent_atlas.errors import UserError, checked, require
from latent_atlas.sampling.target import Target
from latent_atlas.sampling.tempering import Particles, tempered
from latent_atlas.shapes import Latents

__all__ = ["FEWEST", "NormalisingConstant", "adapted", "log_normalising_constant"]

FEWEST = 4_000  # particles by default, at least
SLOW, FAST = 0.9, 0.5  # effective share that a change of the temperature leaves: to explore; later
WIDENINGS = 20  # of the first start, at most
ROUNDS = 5  # fitted starts, at most
# Effective shares of the particles: the start is fitted no more from the first on, or from the
# second on if it has grown by less than a tenth.
GOOD, FAIR, GAIN = 0.8, 0.5, 1.1
DEFENSIVE = 0.1  # weight of the first start in a fitted one, so that nothing is left out
FREEDOMS = (3, 5, 10, 30)  # of the fitted tails
FITTED = 10_000  # particles that are fitted, at most
FEW = 10  # of a component, at least
MANY = 64  # coordinates from which on one component is fitted


Explorer = Callable[[SamplableDensity], Particles]
"""Tempers particles slowly from a start to the density."""


@torch.no_grad()
def adapted(
    target: Target,
    kept: int,
    *,
    particles: int,
    moves: int = 3,
    width: float | None = None,
    codes: Latents | None = None,
    generator: torch.Generator,
) -> Particles:
    """Particles of the target from a start that earlier ones have been fitted by.

    Arguments:
        target: An unnormalised density.
        kept: Number of particles that are wanted at the end, at least.
        particles: Number of particles on the way.
        moves, width, codes: As for the sampler `SMC`.
        generator: Source of all randomness.

    Raises:
        UserError: the target has no log-density, or no particle reaches it.
    """
    require(
        target.has_log_prob,
        "sequential Monte Carlo needs log q, which a map with this boundary does not have; choose "
        "importance",
    )
    few = min(particles, FEWEST)

    def explore(start: SamplableDensity) -> Particles:
        return tempered(start, target, few, few, moves=moves, share=SLOW, generator=generator)

    start = target.near if width is None else _normal(target, width, generator)
    if start is None and codes is not None:
        points, wide, step_size = codes, codes, 1.0
    elif (start := start or target.covering) is not None:
        found = explore(start)
        points, wide, step_size = (
            found.points,
            start.sample(few, generator=generator),
            found.step_size,
        )
    else:
        points, wide, step_size = _widened(target, explore, few, generator)
    before, rounds = 0.0, 0
    while True:
        found = tempered(
            _fitted(points, wide, generator),
            target,
            particles,
            max(kept, particles // 2),
            moves=moves,
            share=FAST,
            step_size=step_size,
            generator=generator,
        )
        share, rounds = found.effective / len(found.points), rounds + 1
        grown = share < FAIR or share >= GAIN * before
        if share >= GOOD or not grown or rounds == ROUNDS:
            return found
        points, step_size, before = found.points, found.step_size, share


def _widened(
    target: Target, explore: Explorer, n: int, generator: torch.Generator
) -> tuple[Latents, Float[Tensor, "m d"], float]:
    """Particles from a Gaussian that is widened, draws of the widest, and their step size.

    The first is that of the widths 1, 2, 4, ... whose draws, as importance samples, find most. It
    is widened until it covers what is found, and finds no more.
    """
    start = max(
        (_normal(target, 2.0**k, generator) for k in range(WIDENINGS)),
        key=lambda start: _mass(start, target, n, generator),
    )
    found = explore(start)
    for _ in range(WIDENINGS):
        before, width = found, 2 * torch.maximum(start.scales[0], _spread(found))
        start = _normal(target, width, generator)
        found = explore(start)
        grown = found.log_constant - before.log_constant
        if grown <= 3 * math.hypot(before.error, found.error) and (_spread(found) < width).all():
            both = torch.cat([before.points, found.points])
            return both, start.sample(n, generator=generator), found.step_size
    raise UserError(
        "the density has more mass, the farther one searches, up to a width of "
        f"{start.scales.max():.2g}: it may have no finite integral: check log_prob, or give a width"
    )


def _spread(found: Particles) -> Tensor:
    """Root mean square of each coordinate, shape (d,)."""
    return found.points.square().mean(dim=0).sqrt()


def _mass(start: SamplableDensity, target: Density, n: int, generator: torch.Generator) -> float:
    """log Σ q / r of draws of r, in nats."""
    z = start.sample(n, generator=generator)
    log_ratio = target.log_prob(z) - start.log_prob(z)
    return log_ratio.nan_to_num(-math.inf, None, -math.inf).logsumexp(0).item()


def _normal(target: Density, scales: Tensor | float, generator: torch.Generator) -> GaussianMixture:
    """N(0, diag s²)."""
    zero = torch.zeros(1, target.dimension, device=generator.device)
    return GaussianMixture(torch.ones(1), zero, zero + scales)


def _fitted(
    points: Latents, wide: Float[Tensor, "m d"], generator: torch.Generator
) -> StudentMixture:
    """Student's t around clusters of the points, and one as wide as the first start.

    A fitted Gaussian mixture tells which points belong together, and these give the places and
    covariances; the tails are those under which the points are likeliest.
    """
    order = torch.randperm(len(points), generator=generator, device=generator.device)
    points = points[order[:FITTED]]
    groups = [points]
    if points.shape[1] <= MANY:
        fit = fit_gaussian_mixture(points[::2], held_out=points[1::2], generator=generator)
        part = fit.responsibilities(points).argmax(dim=1)
        # Too few have no covariance; the last component covers them.
        groups = [points[part == k] for k in range(len(fit.weights)) if (part == k).sum() >= FEW]
    shares = points.new_tensor([len(group) for group in groups])
    moments = [cholesky(group) for group in (*groups, wide)]
    means, factors = (torch.stack(each).to(points) for each in zip(*moments, strict=True))
    weights = torch.cat([(1 - DEFENSIVE) * shares / shares.sum(), points.new_full((1,), DEFENSIVE)])
    mixtures = [
        StudentMixture(weights, means, math.sqrt((nu - 2) / nu) * factors, freedom=nu)
        for nu in FREEDOMS
    ]
    return max(mixtures, key=lambda mixture: mixture.log_prob(points).mean().item())


@dataclass(frozen=True)
class NormalisingConstant:
    """An estimate of log Z.

    Attributes:
        nats: log Z; 0 for a normalised density.
        error: Its standard error in nats, to first order.
        effective_share: Effective sample size of the particles divided by their number, in (0, 1];
            where few are effective, `error` underestimates.
        acceptance: Mean acceptance probability of the moves, in [0, 1].
    """

    nats: float
    error: float
    effective_share: float
    acceptance: float


@torch.no_grad()
@checked
def log_normalising_constant(
    density: Density, *, n: int = 1_000, generator: torch.Generator
) -> NormalisingConstant:
    r"""log ∫ q(z) dz of a density known up to a constant, such as exp(-E).

    By the particles of the sampler `SMC`, which start from the boundary of a map, or else from a
    Gaussian whose width is measured. Each round estimates Z without bias, but for its adaptive
    choices.

    References:
        Sequential Monte Carlo samplers, Del Moral, Doucet and Jasra 2006.

    Arguments:
        density: q, up to a constant. The boundary of a map must have a density.
        n: Number of particles, 100 or more; the error falls as 1 / sqrt(n).
        generator: Source of all randomness.

    Raises:
        UserError: n is too small, or as for `SMC.draw`.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> generator = torch.Generator().manual_seed(0)
        >>> found = log_normalising_constant(two_clusters(2, 3.0), generator=generator)
        >>> abs(found.nats) < 3 * found.error
        True
    """
    require(n >= 100, f"n is {n}; choose 100 or more")
    found = adapted(Target(density), 1, particles=n, generator=generator)
    share = found.effective / len(found.points)
    return NormalisingConstant(found.log_constant, found.error, share, found.acceptance)
