"""Particles that are tempered from a density that can be sampled to any other."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.density.base import Density, SamplableDensity
from latent_atlas.density.moments import cholesky
from latent_atlas.errors import UserError, checked
from latent_atlas.progress import doing
from latent_atlas.sampling.kernels import State, hmc
from latent_atlas.sampling.weights import effective_sample_size, resampled
from latent_atlas.sampling.whitened import PIECE, Whitened
from latent_atlas.shapes import Latents, Values, batched

__all__ = ["Particles", "tempered"]


ACCEPTED = 0.8  # acceptance that the step size is tuned to
LEAPS = 5  # leapfrog steps of each move
JITTER = 0.2  # relative variation of the step, which keeps orbits from closing
MEASURED = 2_000  # particles that the covariance is measured on
MOST = 300  # temperatures
HALVINGS = 40  # of the interval in which the next temperature lies


@dataclass(frozen=True)
class Particles:
    """Equally weighted particles of q, and the estimate of log Z = log ∫ q(z) dz.

    Attributes:
        points: Shape (n, d).
        effective: Effective sample size of the mean of the coordinate, or of log q, that is known
            worst, in (0, n].
        log_constant: log Z in nats.
        error: Its standard error in nats.
        temperatures: Number of changes of the temperature; with 1 they are importance samples.
        acceptance: Mean acceptance probability of the moves, in [0, 1].
        step_size: a of the last moves, in squared standard deviations of the particles.
    """

    points: Latents
    effective: float
    log_constant: float
    error: float
    temperatures: int
    acceptance: float
    step_size: float


@checked
@torch.no_grad()
def tempered(
    start: SamplableDensity,
    target: Density,
    particles: int,
    kept: int,
    *,
    moves: int,
    share: float = 0.9,
    step_size: float = 1.0,
    generator: torch.Generator,
) -> Particles:
    r"""Sequential Monte Carlo from r to q along q_b ∝ r^(1 - b) q^b, 0 = b_0 < ... < b_K = 1.

    At each temperature the particles are weighted by (q / r)^(b_k - b_{k-1}), resampled, and moved
    by HMC that leaves q_b invariant. Each b_k is the highest at which the effective sample size of
    the weights is a share of the particles. The product of the mean weights estimates Z. With K = 1
    and without moves this is importance sampling.

    Particles of one ancestor in r are a family. Families are independent, so they give the standard
    errors: with W_e the total weight of a family, that of log Z is sqrt(Σ_e W_e² - 1/n).

    References:
        Sequential Monte Carlo samplers, Del Moral, Doucet and Jasra 2006; an adaptive version for
        approximate Bayesian computation, Del Moral, Doucet and Jasra 2012, for the temperatures;
        Variance estimation in the particle filter, Lee and Whiteley 2018, for the errors.

    Arguments:
        start: r, positive wherever q is.
        target: q, normalised or not.
        particles: Number of particles on the way, 2 or more.
        kept: Number of particles at the end.
        moves: HMC moves at each temperature, 1 or more.
        share: Effective share of the particles that a change of the temperature leaves, in (0, 1).
        step_size: a of the first moves, which adapt it.
        generator: Source of all randomness.

    Raises:
        UserError: no particle reaches q, or not within 300 temperatures.
    """
    z = start.sample(particles, generator=generator)
    family = torch.arange(particles, device=z.device)
    b, log_constant, acceptances = 0.0, 0.0, []
    log_q, families = torch.zeros(0), torch.zeros(0)
    while b < 1:
        doing("tempering", round(100 * b), 100)
        if len(acceptances) == MOST:
            raise UserError(
                f"after {MOST} temperatures the particles have come {b:.2g} of the way to the "
                "density; it may have no upper bound or no finite integral: check log_prob"
            )
        log_ratio = batched(target.log_prob, z, PIECE) - batched(start.log_prob, z, PIECE)
        log_ratio = log_ratio.nan_to_num(-math.inf, None, -math.inf)
        step = _step(log_ratio, 1 - b, share)
        log_weights = step * log_ratio
        log_constant += log_weights.logsumexp(0).item() - math.log(particles)
        b = 1.0 if step == 1 - b else b + step
        families = torch.zeros_like(log_weights).index_add(0, family, log_weights.softmax(0))
        rows = resampled(log_weights, kept if b == 1 else particles, generator=generator)
        z, family = z[rows], family[rows]
        z, log_q, step_size, acceptance = _moved(
            _Between(start, target, b), z, step_size, moves, generator
        )
        acceptances.append(acceptance)
    return Particles(
        z,
        _effective(torch.cat([z, log_q[:, None]], dim=1), family, particles),
        log_constant,
        max(families.square().sum().item() - 1 / particles, 0.0) ** 0.5,
        len(acceptances),
        sum(acceptances) / len(acceptances),
        step_size,
    )


def _step(log_ratio: Values, most: float, share: float) -> float:
    """The largest change of b, up to `most`, that keeps this effective share."""
    reached = log_ratio[log_ratio > -math.inf].double()
    if len(reached) == 0:
        raise UserError(
            f"none of {len(log_ratio)} particles reaches the density: it is 0 or not a number "
            "wherever the particles start; give a wider condition, or more particles"
        )
    least, low, high = share * len(reached), 0.0, most
    if effective_sample_size(most * reached) >= least:
        return most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = effective_sample_size(middle * reached) >= least
        low, high = (middle, high) if enough else (low, middle)
    return high


def _moved(
    density: Density, z: Latents, size: float, moves: int, generator: torch.Generator
) -> tuple[Latents, Values, float, float]:
    """Particles after some moves, log q there, the tuned step size and the mean acceptance."""
    mean, factor = (moment.to(z) for moment in cholesky(z[:MEASURED]))
    white = Whitened(density, mean, factor)
    state, acceptances = State.at(white, white.there(z)), []
    for _ in range(moves):
        u = torch.rand(len(z), generator=generator, device=generator.device).to(z)
        step = size * (1 + JITTER * (2 * u - 1))
        state, probability = hmc(white, state, step, leaps=LEAPS, generator=generator)
        acceptances.append(probability.mean().item())
        size *= math.exp(acceptances[-1] - ACCEPTED)
    return white.back(state.latents), state.log_probs, size, sum(acceptances) / moves


def _effective(statistics: Tensor, family: Tensor, families: int) -> float:
    """The least effective sample size Σ x² n / Σ_e (Σ_{i in e} x_i)² of centred statistics."""
    x = (statistics - statistics.mean(dim=0)).double()
    sums = x.new_zeros(families, x.shape[1]).index_add(0, family, x)
    sizes = len(x) * x.square().sum(dim=0) / sums.square().sum(dim=0)
    return min(sizes.nan_to_num(len(x)).min().item(), float(len(x)))


class _Between(Density):
    """q_b = r^(1 - b) q^b: r at b = 0, and q at b = 1."""

    def __init__(self, start: Density, target: Density, b: float) -> None:
        """Arguments: r, q, and b in (0, 1]."""
        self.start, self.target, self.b = start, target, b
        self.dimension = target.dimension

    def log_prob(self, latents: Latents) -> Values:
        """(1 - b) log r + b log q."""
        return self.log_prob_and_score(latents)[0]

    def score(self, latents: Latents) -> Latents:
        """Its gradient."""
        return self.log_prob_and_score(latents)[1]

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """Both, of as many codes at a time as fit in memory."""
        values, slopes = zip(*map(self._both, latents.split(PIECE)), strict=True)
        return torch.cat(values), torch.cat(slopes)

    def _both(self, latents: Latents) -> tuple[Values, Latents]:
        """Both, by the scores of r and q."""
        log_q, at_q = self.target.log_prob_and_score(latents)
        if self.b == 1:
            return log_q, at_q
        log_r, at_r = self.start.log_prob_and_score(latents)
        return (1 - self.b) * log_r + self.b * log_q, (1 - self.b) * at_r + self.b * at_q
