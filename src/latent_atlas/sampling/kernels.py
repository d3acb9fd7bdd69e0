r"""Transition kernels of Markov chains: ULA, MALA and HMC, for many chains at a time.

MALA and HMC leave the density q invariant, ULA nearly so. Each is `step(state) -> (state,
probability)`: the new state, and the acceptance probability of each chain's move.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas import progress
from latent_atlas.density.base import Density
from latent_atlas.shapes import Latents, Mask, Values

__all__ = ["MALA_ACCEPTED", "Kernel", "State", "hmc", "mala", "tuned", "ula"]

MALA_ACCEPTED = 0.574  # optimal acceptance in many dimensions (Roberts and Rosenthal 1998)
GAIN, DECAY = 4.0, 0.6  # of the Robbins-Monro updates of log a


@dataclass(frozen=True)
class State:
    """The positions of n chains, with log q and its gradient there.

    Attributes:
        latents: Positions, shape (n, d).
        log_probs: log q in nats, shape (n,).
        scores: grad log q, shape (n, d).
    """

    latents: Latents
    log_probs: Values
    scores: Latents

    @classmethod
    def at(cls, density: Density, latents: Latents) -> "State":
        """The state at these positions."""
        return cls(latents, *density.log_prob_and_score(latents))

    def moved(self, accepted: Mask, proposal: "State") -> "State":
        """The proposal where it is accepted, else the state itself."""
        return State(
            torch.where(accepted[:, None], proposal.latents, self.latents),
            torch.where(accepted, proposal.log_probs, self.log_probs),
            torch.where(accepted[:, None], proposal.scores, self.scores),
        )


Kernel = Callable[[State, Values], tuple[State, Values]]
"""A step of every chain, of size a (n,): the new state and acceptance probabilities (n,)."""


@torch.no_grad()
def ula(
    density: Density, state: State, step: Values, *, generator: torch.Generator
) -> tuple[State, Values]:
    """One step of the unadjusted Langevin algorithm: z' = z + a grad log q(z) + sqrt(2 a) eps.

    No move is rejected, so the invariant distribution is q only as a goes to 0; for N(0, s²) it is
    N(0, s² / (1 - a / 2 s²)).

    References:
        Exponential convergence of Langevin distributions and their discrete approximations, Roberts
        and Tweedie 1996.

    Arguments:
        density: q, normalised or not.
        state: State of the chains.
        step: a, shape (n,), in squared units of the codes.
        generator: Draws eps.

    Returns:
        The new state, and the probability with which MALA would have accepted it, shape (n,), which
        measures the bias of the steps.
    """
    return _langevin(density, state, step, generator)


@torch.no_grad()
def mala(
    density: Density, state: State, step: Values, *, generator: torch.Generator
) -> tuple[State, Values]:
    r"""One step of the Metropolis-adjusted Langevin algorithm, which leaves q invariant.

    Propose z' = z + a grad log q(z) + sqrt(2 a) eps and accept it with probability
    min(1, q(z') T(z | z') / q(z) T(z' | z)), T being the density of such a proposal.

    References:
        Exponential convergence of Langevin distributions and their discrete approximations, Roberts
        and Tweedie 1996.

    Arguments:
        density: q, normalised or not.
        state: State of the chains.
        step: a, shape (n,), in squared units of the codes.
        generator: Draws eps and the acceptances.

    Returns:
        The new state, and the acceptance probabilities, shape (n,).
    """
    proposal, probability = _langevin(density, state, step, generator)
    return state.moved(_accepted(probability, generator), proposal), probability


@torch.no_grad()
def hmc(
    density: Density, state: State, step: Values, *, leaps: int = 10, generator: torch.Generator
) -> tuple[State, Values]:
    r"""One step of Hamiltonian Monte Carlo, which leaves q invariant.

    Draw a momentum v ~ N(0, I), take `leaps` leapfrog steps of length e = sqrt(2 a),

        v ← v + e/2 grad log q(z),    z ← z + e v,    v ← v + e/2 grad log q(z),

    and accept with probability min(1, exp(H - H')), H = |v|² / 2 - log q(z). With one leapfrog
    step this is MALA.

    References:
        MCMC using Hamiltonian dynamics, Neal 2011.

    Arguments:
        density: q, normalised or not.
        state: State of the chains.
        step: a, shape (n,), in squared units of the codes.
        leaps: Leapfrog steps, 1 or more.
        generator: Draws v and the acceptances.

    Returns:
        The new state, and the acceptance probabilities, shape (n,).
    """
    e = (2 * step).sqrt()[:, None]
    z, slope = state.latents, state.scores
    momentum = torch.randn(z.shape, generator=generator, device=generator.device).to(z)
    v = momentum + 0.5 * e * slope
    for _ in range(leaps - 1):
        z = z + e * v
        v = v + e * density.score(z)
    proposal = State.at(density, z + e * v)
    v = v + 0.5 * e * proposal.scores
    kinetic = 0.5 * (momentum.square() - v.square()).sum(dim=1)
    probability = _probability(proposal.log_probs - state.log_probs + kinetic)
    return state.moved(_accepted(probability, generator), proposal), probability


@torch.no_grad()
def tuned(
    kernel: Kernel, state: State, steps: int, accepted: float, *, shared: bool
) -> tuple[State, Values]:
    """Run a warm-up that tunes the step size a to an acceptance.

    log a changes by 4 k^-0.6 (acceptance - accepted) at step k; the result is its mean over the
    second half.

    References:
        A Stochastic Approximation Method, Robbins and Monro 1951;
        Acceleration of Stochastic Approximation by Averaging, Polyak and Juditsky 1992.

    Arguments:
        kernel: One step of the chains.
        state: Where the chains start.
        steps: Steps of the warm-up, 1 or more.
        accepted: The acceptance to reach, in (0, 1).
        shared: Whether all chains share one step size, tuned by their mean acceptance, or each has
            its own.

    Returns:
        The state after the warm-up, and a for each chain, shape (n,).
    """
    log_step, later = torch.zeros_like(state.log_probs), []
    for k in progress.steps("warm-up", range(1, steps + 1)):
        state, probability = kernel(state, log_step.exp())
        acceptance = probability.mean().expand_as(probability) if shared else probability
        log_step = log_step + GAIN * k**-DECAY * (acceptance - accepted)
        later.append(log_step)
    return state, torch.stack(later[steps // 2 :]).mean(dim=0).exp()


def _langevin(
    density: Density, state: State, step: Values, generator: torch.Generator
) -> tuple[State, Values]:
    """A step of Langevin dynamics, and the Metropolis acceptance probability of it."""
    z, a = state.latents, step[:, None]
    noise = torch.randn(z.shape, generator=generator, device=generator.device).to(z)
    proposal = State.at(density, z + a * state.scores + (2 * a).sqrt() * noise)
    forward = -0.5 * noise.square().sum(dim=1)
    backward = -(z - proposal.latents - a * proposal.scores).square().sum(dim=1) / (4 * step)
    return proposal, _probability(proposal.log_probs - state.log_probs + backward - forward)


def _probability(log_ratio: Values) -> Values:
    """min(1, exp(log_ratio)); 0 if log q is NaN: the move is rejected."""
    return log_ratio.exp().clamp(max=1).nan_to_num(0)


def _accepted(probability: Tensor, generator: torch.Generator) -> Mask:
    """Which moves are accepted, each with its own probability."""
    u = torch.rand(len(probability), generator=generator, device=generator.device)
    return u.to(probability) < probability
