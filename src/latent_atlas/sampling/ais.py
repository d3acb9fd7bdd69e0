r"""The constant that an energy leaves open: log Z = log ∫ exp(-E(z)) dz, by annealed importance sampling."""

import itertools
import math
from dataclasses import dataclass

import torch

from latent_atlas.density.base import Density, DensityRatioModel, ExactRatio, StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.sampling.kernels import State, hmc
from latent_atlas.shapes import Latents, Values

__all__ = ["NormalisingConstant", "effective_sample_size", "log_normalising_constant"]

ACCEPTED = 0.8  # share of moves
LEAPS = 5  # of each move
PILOT = 200  # chains that find the sizes of the steps
TRIES = 4  # moves of theirs at each rung


@dataclass(frozen=True)
class NormalisingConstant:
    """An estimate of log Z.

    Attributes:
        nats: log Z; 0 for a normalised density.
        error: Its standard error in nats, to first order.
        effective_share: Of the chains, by their weights, in (0, 1]: an error is to be believed where it is not tiny.
        acceptance: Mean share of moves accepted.
    """

    nats: float
    error: float
    effective_share: float
    acceptance: float


def effective_sample_size(log_weights: Values) -> float:
    """Effective sample size (Σ w)² / Σ w², without overflow."""
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item()


@torch.no_grad()
def log_normalising_constant(
    density: Density, *, n: int = 1_000, steps: int = 100, generator: torch.Generator
) -> NormalisingConstant:
    r"""log ∫ q(z) dz of a density known up to a constant, such as exp(-E).

    Chains start from r, the boundary of the density or N(0, I) where it has none, and follow

        q_k ∝ r^(1 - b_k) q^(b_k),    0 = b_0 < ... < b_K = 1,

    by one step of HMC at each. The mean of the weights w = Π_k (q / r)^(b_k - b_{k-1}), each ratio where the chain is
    before it moves, is Z: without bias, however badly the chains mix. A pilot run tunes the step at each level.

    References:
        Annealed Importance Sampling, Neal 2001.

    Arguments:
        density: q, up to a constant; its boundary must be known as a density.
        n: Chains, 2 or more.
        steps: K, 1 or more; the error falls with both.
        generator: Source of all randomness.

    Raises:
        UserError: there are too few chains or steps, or no weight is above 0.

    Examples:
        >>> from latent_atlas.density.toys import two_clusters
        >>> found = log_normaliser(two_clusters(2, 3.0), steps=20, generator=torch.Generator().manual_seed(0))
        >>> abs(found.nats) < 3 * found.error
        True
    """
    for name, value, least in (("n", n, 2), ("steps", steps, 1)):
        if value < least:
            raise UserError(f"{name} is {value}; choose {least} or more")
    ratio = density
    if not isinstance(ratio, DensityRatioModel):
        ratio = ExactRatio(density, StandardNormal(density.dimension))
    rungs = [(k / steps) ** 2 for k in range(steps + 1)]  # q_b changes fastest where b is small
    _, sizes, _ = _climbed(ratio, rungs, None, min(n, PILOT), generator)
    log_weights, _, acceptance = _climbed(ratio, rungs, sizes, n, generator)
    if log_weights.max() == -math.inf:
        raise UserError(
            f"none of {n} chains from the boundary met the density; give more of them, or more steps"
        )
    nats = log_weights.logsumexp(0).item() - math.log(n)
    error = ((log_weights - nats).exp().std() / math.sqrt(n)).item()
    return NormalisingConstant(nats, error, effective_sample_size(log_weights) / n, acceptance)


def _climbed(
    ratio: DensityRatioModel,
    rungs: list[float],
    sizes: list[float] | None,
    n: int,
    generator: torch.Generator,
) -> tuple[Values, list[float], float]:
    """Chains from r to q: their log-weights, the step a at each rung between, and the mean acceptance.

    Without sizes these are sought on the way, by some more moves at each rung.
    """
    z = ratio.sample_boundary(n, generator=generator)
    log_weights, log_size, found, chances = z.new_zeros(n), 0.0, [], []
    for rung, (before, b) in enumerate(itertools.pairwise(rungs), 1):
        log_weights = log_weights + (b - before) * ratio.logit(z)
        if rung == len(rungs) - 1:
            break  # a last move would change no weight
        level = _Between(ratio, b)
        state = State.at(level, z)
        for _ in range(1 if sizes else TRIES):
            size = sizes[rung - 1] if sizes else math.exp(log_size)
            state, chance = hmc(
                level, state, torch.full_like(log_weights, size), leaps=LEAPS, generator=generator
            )
            chances.append(chance.mean().item())
            log_size += chances[-1] - ACCEPTED
        z = state.latents
        found.append(math.exp(log_size))
    return (
        log_weights.nan_to_num(-math.inf, None, -math.inf),
        found,
        sum(chances) / max(len(chances), 1),
    )


class _Between(Density):
    """q_b = r^(1 - b) q^b: r, which can be drawn, at b = 0, and q, which is to be integrated, at 1."""

    def __init__(self, ratio: DensityRatioModel, b: float) -> None:
        self.ratio = ratio
        self.dimension = ratio.dimension
        self.b = b

    def log_prob(self, latents: Latents) -> Values:
        """log r + b l, with log r = log q - l."""
        return self.ratio.log_prob(latents) - (1 - self.b) * self.ratio.logit(latents)
