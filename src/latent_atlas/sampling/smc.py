"""Samples of any density, and its normalising constant, by sequential Monte Carlo."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.density.base import Density, SamplableDensity
from latent_atlas.density.gaussian_mixture import GaussianMixture, fit_gaussian_mixture
from latent_atlas.density.moments import cholesky
from latent_atlas.density.student_mixture import StudentMixture
from latent_atlas.errors import UserError, checked
from latent_atlas.sampling.base import Sampler, SamplerInfo, Samples, check_least, checked_codes
from latent_atlas.sampling.target import Target
from latent_atlas.sampling.tempering import Particles, tempered
from latent_atlas.shapes import ArrayLike, Latents

__all__ = ["SMC", "NormalisingConstant", "log_normalising_constant"]

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


@checked
@dataclass(frozen=True)
class SMC(Sampler):
    """Sequential Monte Carlo: particles that are tempered from a known density to q.

    First they explore: from the boundary of a map, or else from a Gaussian at the origin, whose
    width is doubled until the particles find no more mass and lie within it. A mixture of Student's
    t is fitted to them, and other particles are tempered from it, until half of them are effective:
    the mixture knows the clusters, and the weights say how much probability each has. A cluster
    that no particle of the first start has found is missing, and no number tells: give a `width`
    that covers everything, or codes.

    References:
        Sequential Monte Carlo samplers, Del Moral, Doucet and Jasra 2006; Adaptive importance
        sampling in general mixture classes, Cappé et al. 2008, for the fitted mixture.

    Attributes:
        particles: Number of particles, 100 or more; None is 2 n, and at least 4,000.
        moves: Hamiltonian moves at each temperature, 1 or more.
        width: Standard deviation of the Gaussian that the first particles are drawn from, in the
            units of the codes; None measures it.
        codes: Real codes that the first particles are drawn around instead, shape (m, d).
    """

    name: ClassVar[str] = "smc"
    particles: int | None = None
    moves: int = 3
    width: float | None = None
    codes: ArrayLike | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: one of them is too small.
        """
        check_least(100, particles=self.particles)
        check_least(1, moves=self.moves)
        if self.width is not None and not (0 < self.width < math.inf):
            raise UserError(f"width is {self.width}; choose a number above 0")

    def wants_codes(self, density: Density) -> bool:
        """Codes spare the exploration."""
        return self.codes is None and self.width is None

    @torch.no_grad()
    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes.

        The info has the number of temperatures, the acceptance and step size of the moves, the
        effective sample size, and log Z of the target with its error; a warning says if few
        particles are effective.

        Raises:
            UserError: the target has no log-density, the codes do not fit it, or no particle
                reaches it.
        """
        found = self.run(target, n, generator)
        effective = 1 / (1 / n + 1 / found.effective - 1 / len(found.points))
        info = SamplerInfo(
            sampler=self.name,
            acceptance=found.acceptance,
            effective_sample_size=effective,
            effective_share=effective / n,
            step_size=found.step_size,
            temperatures=found.temperatures,
            log_constant=found.log_constant,
            log_constant_error=found.error,
        )
        few = (
            f"the particles have an effective sample size of {effective:.0f} for {n} samples, so "
            "the shares of separate clusters are uncertain; give more particles, or codes"
        )
        return Samples(found.points[:n], info, () if effective >= 0.5 * n else (few,))

    def run(self, target: Target, n: int, generator: torch.Generator) -> Particles:
        """Particles of the target, `n` or more, after the last round; errors as for `draw`."""
        if not target.has_log_prob:
            raise UserError(
                "sampler 'smc' needs log q, which a map with this boundary does not have; choose "
                "importance"
            )
        count = self.particles or max(2 * n, FEWEST)
        points, wide, step_size = self._explored(target, min(count, FEWEST), generator)
        before, rounds = 0.0, 0
        while True:
            found = tempered(
                _fitted(points, wide, generator),
                target,
                count,
                max(n, count // 2),
                moves=self.moves,
                share=FAST,
                step_size=step_size,
                generator=generator,
            )
            share, rounds = found.effective / len(found.points), rounds + 1
            grown = share < FAIR or share >= GAIN * before
            if share >= GOOD or not grown or rounds == ROUNDS:
                return found
            points, step_size, before = found.points, found.step_size, share

    def _explored(
        self, target: Target, n: int, generator: torch.Generator
    ) -> tuple[Latents, Float[Tensor, "m d"], float]:
        """Particles near all that is found of q, draws of the first start, and the step size."""
        start = target.near if self.width is None else _normal(target, self.width, generator)
        if start is None and self.codes is not None:
            codes = checked_codes(self.codes, target.dimension, 2)
            return codes, codes, 1.0
        start = start or target.covering
        if start is None:
            return self._widened(target, n, generator)
        found = self._explore(start, target, n, generator)
        return found.points, start.sample(n, generator=generator), found.step_size

    def _widened(
        self, target: Target, n: int, generator: torch.Generator
    ) -> tuple[Latents, Float[Tensor, "m d"], float]:
        """The same, from a Gaussian that is widened until it covers what is found.

        The first is that of the widths 1, 2, 4, ... whose draws, as importance samples, find most.
        """
        start = max(
            (_normal(target, 2.0**k, generator) for k in range(WIDENINGS)),
            key=lambda start: _mass(start, target, n, generator),
        )
        found = self._explore(start, target, n, generator)
        for _ in range(WIDENINGS):
            before, width = found, 2 * torch.maximum(start.scales[0], _spread(found))
            start = _normal(target, width, generator)
            found = self._explore(start, target, n, generator)
            grown = found.log_constant - before.log_constant
            if (
                grown <= 3 * math.hypot(before.error, found.error)
                and (_spread(found) < width).all()
            ):
                both = torch.cat([before.points, found.points])
                return both, start.sample(n, generator=generator), found.step_size
        raise UserError(
            "the density has more mass, the farther one searches, up to a width of "
            f"{start.scales.max():.2g}: its integral may be infinite; check log_prob, or give a "
            "width"
        )

    def _explore(
        self, start: SamplableDensity, target: Target, n: int, generator: torch.Generator
    ) -> Particles:
        """Particles that are tempered slowly."""
        return tempered(start, target, n, n, moves=self.moves, share=SLOW, generator=generator)


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

    By the particles of `SMC`, which start from the boundary of a map, or else from a Gaussian whose
    width is measured. Each round estimates Z without bias, but for its adaptive choices.

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
    check_least(100, n=n)
    found = SMC(particles=n).run(Target(density), 1, generator)
    share = found.effective / len(found.points)
    return NormalisingConstant(found.log_constant, found.error, share, found.acceptance)
