r"""The normalising constant log Z = log ∫ exp(-E(z)) dz by annealed importance sampling."""

import itertools
import math
from dataclasses import dataclass

import torch

from latent_atlas.density.base import (
    Density,
    DensityRatioModel,
    ExactRatio,
    StandardNormal,
    value_and_gradient,
)
from latent_atlas.errors import UserError, checked
from latent_atlas.sampling.kernels import State, hmc
from latent_atlas.shapes import Latents, Values

__all__ = ["NormalisingConstant", "effective_sample_size", "log_normalising_constant"]

ACCEPTED = 0.8  # acceptance that the step size is tuned to
LEAPS = 5  # leapfrog steps of each move
PILOT = 200  # chains that tune the step sizes
TUNING = 4  # moves of the pilot's chains at each temperature


@dataclass(frozen=True)
class NormalisingConstant:
    """An estimate of log Z.

    Attributes:
        nats: log Z; 0 for a normalised density.
        error: Its standard error in nats, to first order.
        effective_share: Effective sample size of the weights divided by the number of chains, in
            (0, 1]; where it is below about 0.01, `error` underestimates.
        acceptance: Mean acceptance probability of the moves, in [0, 1].
    """

    nats: float
    error: float
    effective_share: float
    acceptance: float


def effective_sample_size(log_weights: Values) -> float:
    """Effective sample size (Σ w)² / Σ w² of log-weights (n,), in [1, n], without overflow."""
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item()


@torch.no_grad()
@checked
def log_normalising_constant(
    density: Density, *, n: int = 1_000, steps: int = 100, generator: torch.Generator
) -> NormalisingConstant:
    r"""log ∫ q(z) dz of a density known up to a constant, such as exp(-E).

    Chains start from r, the boundary of a map or else N(0, I), and follow

        q_k ∝ r^(1 - b_k) q^(b_k),    0 = b_0 < ... < b_K = 1,

    by one HMC move at each k. The mean of the weights w = Π_k (q / r)^(b_k - b_{k-1}), each ratio
    taken before the move, is an unbiased estimate of Z, however slowly the chains mix. A pilot run
    tunes the step size at each k.

    References:
        Annealed Importance Sampling, Neal 2001.

    Arguments:
        density: q, up to a constant. The boundary of a map must have a density.
        n: Number of chains, 2 or more.
        steps: K, 1 or more; the error falls with both.
        generator: Source of all randomness.

    Raises:
        UserError: n or steps is too small, or no weight is above 0.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> generator = torch.Generator().manual_seed(0)
        >>> found = log_normalising_constant(two_clusters(2, 3.0), steps=20, generator=generator)
        >>> abs(found.nats) < 3 * found.error
        True
    """
    for name, value, least in (("n", n, 2), ("steps", steps, 1)):
        if value < least:
            raise UserError(f"{name} is {value}; choose {least} or more")
    ratio = density
    if not isinstance(ratio, DensityRatioModel):
        ratio = ExactRatio(density, StandardNormal(density.dimension))
    schedule = [(k / steps) ** 2 for k in range(steps + 1)]  # q_b changes fastest where b is small
    _, sizes, _ = _annealed(ratio, schedule, None, min(n, PILOT), generator)
    log_weights, _, acceptance = _annealed(ratio, schedule, sizes, n, generator)
    if log_weights.max() == -math.inf:
        raise UserError(
            f"all {n} chains have weight 0: none reached the density from the boundary; give more "
            "chains or more steps"
        )
    nats = log_weights.logsumexp(0).item() - math.log(n)
    error = ((log_weights - nats).exp().std() / math.sqrt(n)).item()
    return NormalisingConstant(nats, error, effective_sample_size(log_weights) / n, acceptance)


def _annealed(
    ratio: DensityRatioModel,
    schedule: list[float],
    sizes: list[float] | None,
    n: int,
    generator: torch.Generator,
) -> tuple[Values, list[float], float]:
    """Chains from r to q: log-weights, the step size a at each b between, and the mean acceptance.

    Without sizes, these are tuned by several moves at each b.
    """
    z = ratio.sample_boundary(n, generator=generator)
    log_weights, log_size, found, probabilities = z.new_zeros(n), 0.0, [], []
    for k, (before, b) in enumerate(itertools.pairwise(schedule), 1):
        log_weights = log_weights + (b - before) * ratio.logit(z)
        if k == len(schedule) - 1:
            break  # a last move would change no weight
        between = _Between(ratio, b)
        state = State.at(between, z)
        for _ in range(1 if sizes else TUNING):
            size = torch.full_like(log_weights, sizes[k - 1] if sizes else math.exp(log_size))
            state, probability = hmc(between, state, size, leaps=LEAPS, generator=generator)
            probabilities.append(probability.mean().item())
            log_size += probabilities[-1] - ACCEPTED
        z = state.latents
        found.append(math.exp(log_size))
    return (
        log_weights.nan_to_num(-math.inf, None, -math.inf),
        found,
        sum(probabilities) / max(len(probabilities), 1),
    )


class _Between(Density):
    """q_b = r^(1 - b) q^b: r at b = 0, and q at b = 1."""

    def __init__(self, ratio: DensityRatioModel, b: float) -> None:
        """Arguments: q relative to r, and b in [0, 1]."""
        self.ratio = ratio
        self.dimension = ratio.dimension
        self.b = b

    def log_prob(self, latents: Latents) -> Values:
        """log r + b l, with log r = log q - l."""
        logit, log_prob = self.ratio.logit_and_log_prob(latents)
        return log_prob - (1 - self.b) * logit

    def score(self, latents: Latents) -> Latents:
        """Its gradient."""
        return self.log_prob_and_score(latents)[1]

    def log_prob_and_score(self, latents: Latents) -> tuple[Values, Latents]:
        """Both; without autograd where r and q give their scores."""
        if not isinstance(self.ratio, ExactRatio):
            return value_and_gradient(self.log_prob, latents)
        log_r, at_r = self.ratio.boundary.log_prob_and_score(latents)
        log_q, at_q = self.ratio.log_prob_and_score(latents)
        return (1 - self.b) * log_r + self.b * log_q, (1 - self.b) * at_r + self.b * at_q
