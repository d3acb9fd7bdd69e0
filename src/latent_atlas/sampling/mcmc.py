"""Markov chain Monte Carlo: many parallel chains of ULA, MALA or HMC, with R-hat and ESS."""

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.moments import cholesky
from latent_atlas.errors import checked
from latent_atlas.progress import steps
from latent_atlas.sampling.base import Sampler, SamplerInfo, Samples, check_least, checked_codes
from latent_atlas.sampling.convergence import bulk_ess, split_r_hat
from latent_atlas.sampling.diffusion import Diffusion
from latent_atlas.sampling.importance import Importance
from latent_atlas.sampling.kernels import MALA_ACCEPTED, State, hmc, mala, tuned, ula
from latent_atlas.sampling.smc import SMC
from latent_atlas.sampling.target import Target
from latent_atlas.sampling.weights import resampled
from latent_atlas.sampling.whitened import Whitened
from latent_atlas.shapes import ArrayLike, Latents, Values

__all__ = ["HMC", "MALA", "ULA", "MarkovChains"]

CONVERGED = 1.05  # largest R-hat of chains that are said to have converged
MOST = 10_000  # chains by default, at most
FEWEST = 4  # chains by default, at least
JUDGED = 50  # states kept of each chain, at least: R-hat of fewer means little
JITTER = 0.2  # relative variation of HMC's step, which keeps its orbits from closing
THIN, THIN_NEAR = 5, 20  # default steps between kept states


@checked
@dataclass(frozen=True)
class MarkovChains(Sampler):
    """Many chains in whitened coordinates, of which every `thin`-th state is kept.

    The coordinates are those in which the starting points have mean 0 and covariance I. The warm-up
    tunes the step size by the mean acceptance of all chains; then it is fixed. Without codes the
    chains start from samples of the probability flow where the density has noise levels, else of
    sequential Monte Carlo; near a code, from importance samples.

    Attributes:
        chains: Number of chains, 1 or more; None is n, from 4 to 10,000.
        warmup: Steps that tune the step size and are discarded, 10 or more.
        thin: Steps from one kept state to the next, 1 or more; None is 5, and 20 near a code, where
            the effective sample size of the starting points is often small.
        codes: Real codes to start from, shape (m, d).
    """

    accepted: ClassVar[float]  # acceptance that the step size is tuned to
    chains: int | None = None
    warmup: int = 100
    thin: int | None = None
    codes: ArrayLike | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: one of them is too small.
        """
        check_least(1, chains=self.chains, thin=self.thin)
        check_least(10, warmup=self.warmup)

    @abstractmethod
    def kernel(
        self, density: Density, state: State, step: Values, *, generator: torch.Generator
    ) -> tuple[State, Values]:
        """One step of every chain: the new state, and the acceptance probabilities, shape (n,)."""

    def wants_codes(self, density: Density) -> bool:
        """Chains start from codes where there are no noise levels to start from."""
        return self.codes is None and not density.noise_levels

    @torch.no_grad()
    def draw(self, target: Target, n: int, *, generator: torch.Generator) -> Samples:
        """Draw `n` codes, spread evenly over the kept states of all chains.

        The info has acceptance, step size, R-hat, effective sample size and the number of chains; a
        warning says if they have not converged.

        Raises:
            UserError: the codes do not fit the density.
        """
        count = self.chains or min(max(n, FEWEST), MOST)
        thin = self.thin or (THIN if target.near is None else THIN_NEAR)
        start, warnings = self._start(target, count, generator)
        mean, factor = (moment.to(start) for moment in cholesky(start))
        density = Whitened(target, mean, factor)
        kernel = partial(self.kernel, density, generator=generator)
        state = State.at(density, density.there(start))
        state, step = tuned(kernel, state, self.warmup, self.accepted, shared=True)
        each = -(-n // count)
        kept, probabilities = [], []
        for k in steps("chains", range(1, thin * max(each, JUDGED) + 1)):
            state, probability = kernel(state, step)
            probabilities.append(probability.mean())
            if k % thin == 0:
                kept.append(torch.cat([state.latents, state.log_probs[:, None]], dim=1))
        trace = torch.stack(kept)
        points = density.back(_evenly(trace[..., :-1], n, each, generator))
        info = self._info(trace, n, torch.stack(probabilities).mean().item(), step.mean().item())
        # Chains that have converged have forgotten where they started.
        return Samples(points, info, () if info.converged else (*warnings, _unmixed(info, target)))

    def _start(
        self, target: Target, n: int, generator: torch.Generator
    ) -> tuple[Latents, tuple[str, ...]]:
        """Where n chains start, shape (n, d), and the warnings of the sampler of these points."""
        if self.codes is not None:
            codes = checked_codes(self.codes, target.dimension)
            log_weights = target.log_weight(codes).nan_to_num(-torch.inf, None, -torch.inf)
            return codes[resampled(log_weights, n, generator=generator)], ()
        anywhere: Sampler = Diffusion(moves=0) if target.density.noise_levels else SMC()
        sampler = Importance() if target.near is not None else anywhere
        samples = sampler.draw(target, n, generator=generator)
        warnings = tuple(f"starting points of the chains: {one}" for one in samples.warnings)
        return samples.points, warnings

    def _info(self, trace: Tensor, n: int, acceptance: float, step: float) -> SamplerInfo:
        """Diagnostics of the kept states (steps, chains, d + 1), the last of which is log q."""
        steps, count, _ = trace.shape
        r_hat, effective = split_r_hat(trace).max().item(), bulk_ess(trace).min().item()
        share = min(effective / (steps * count), 1.0)
        return SamplerInfo(
            sampler=self.name,
            acceptance=acceptance,
            effective_sample_size=share * n,
            effective_share=share,
            r_hat=r_hat,
            converged=r_hat <= CONVERGED,
            chains=count,
            step_size=step,
        )


@checked
@dataclass(frozen=True)
class ULA(MarkovChains):
    """Unadjusted Langevin algorithm: moves are never rejected, so samples are slightly too wide.

    Settings: see `MarkovChains`.
    """

    name: ClassVar[str] = "ula"
    accepted: ClassVar[float] = 0.95

    def kernel(
        self, density: Density, state: State, step: Values, *, generator: torch.Generator
    ) -> tuple[State, Values]:
        """`kernels.ula`."""
        return ula(density, state, step, generator=generator)


@checked
@dataclass(frozen=True)
class MALA(MarkovChains):
    """Metropolis-adjusted Langevin algorithm.

    Settings: see `MarkovChains`.
    """

    name: ClassVar[str] = "mala"
    accepted: ClassVar[float] = MALA_ACCEPTED

    def kernel(
        self, density: Density, state: State, step: Values, *, generator: torch.Generator
    ) -> tuple[State, Values]:
        """`kernels.mala`."""
        return mala(density, state, step, generator=generator)


@checked
@dataclass(frozen=True)
class HMC(MarkovChains):
    """Hamiltonian Monte Carlo; the step length of each move is drawn anew within 20 % of its mean.

    Settings: see `MarkovChains`.

    Attributes:
        leaps: Leapfrog steps of each move, 1 or more.
    """

    name: ClassVar[str] = "hmc"
    accepted: ClassVar[float] = 0.8
    leaps: int = 10

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            UserError: one of them is too small.
        """
        super().__post_init__()
        check_least(1, leaps=self.leaps)

    def kernel(
        self, density: Density, state: State, step: Values, *, generator: torch.Generator
    ) -> tuple[State, Values]:
        """`kernels.hmc`, its step varied independently of the state, which keeps the density."""
        u = torch.rand(len(step), generator=generator, device=generator.device).to(step)
        varied = step * (1 + JITTER * (2 * u - 1))
        return hmc(density, state, varied, leaps=self.leaps, generator=generator)


def _evenly(trace: Tensor, n: int, each: int, generator: torch.Generator) -> Latents:
    """`n` of the states (steps, chains, d), `each` or one fewer per chain, evenly apart."""
    rows = len(trace) - 1 - (len(trace) // each) * torch.arange(each, device=trace.device)
    order = torch.randperm(trace.shape[1], generator=generator, device=generator.device)
    return trace[rows][:, order].flatten(0, 1)[:n]


def _unmixed(info: SamplerInfo, target: Target) -> str:
    """The warning that chains started in different places do not visit the same places."""
    otherwise = "choose diffusion" if target.near is None else "choose a smaller width"
    return (
        f"the chains have not converged (R-hat {info.r_hat:.2f}, above {CONVERGED}): each stays "
        "near its starting point, so separate clusters have the shares of the starting points; "
        f"choose a larger thin, or {otherwise}"
    )
