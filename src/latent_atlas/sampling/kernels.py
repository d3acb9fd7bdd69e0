r"""Steps of Markov chains that leave a density q as it is, or nearly: ULA, MALA and HMC, many chains at a time.

Each is `step(state) -> (state, chance)`: where the chains are then, and the probability with which each went there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.shapes import Latents, Mask, Values

__all__ = ["MALA_ACCEPTED", "Kernel", "State", "hmc", "mala", "tuned", "ula"]

MALA_ACCEPTED = (
    0.574  # the share at which MALA moves fastest in many dimensions (Roberts and Rosenthal 1998)
)
GAIN, FADING = 4.0, 0.6  # of the steps by which log a follows the acceptance


@dataclass(frozen=True)
class State:
    """Where n chains are, and what the density says there.

    Attributes:
        latents: Shape (n, d).
        log_probs: log q in nats, shape (n,).
        scores: grad log q, shape (n, d).
    """

    latents: Latents
    log_probs: Values
    scores: Latents

    @classmethod
    def at(cls, density: Density, latents: Latents) -> "State":
        """Ask the density."""
        return cls(latents, density.log_prob(latents), density.score(latents))

    def moved(self, goes: Mask, there: "State") -> "State":
        """Those chains that go are there, the others stay."""
        return State(
            torch.where(goes[:, None], there.latents, self.latents),
            torch.where(goes, there.log_probs, self.log_probs),
            torch.where(goes[:, None], there.scores, self.scores),
        )


Kernel = Callable[[State, Values], tuple[State, Values]]
"""One step of every chain, of the size a, shape (n,): the new state, and the chance of each of getting there."""


@torch.no_grad()
def ula(
    density: Density, state: State, step: Values, *, generator: torch.Generator
) -> tuple[State, Values]:
    """One step of the unadjusted Langevin algorithm: z' = z + a grad log q(z) + sqrt(2 a) eps.

    Nothing is refused, so its law is q only as a goes to 0; on N(0, s²) it is N(0, s² / (1 - a / 2 s²)).

    References:
        Exponential convergence of Langevin distributions and their discrete approximations, Roberts and Tweedie 1996.

    Arguments:
        density: q, normalised or not.
        state: Where the chains are.
        step: a, shape (n,), in squared units of the codes.
        generator: Draws eps.

    Returns:
        Where they are then, and the probability with which MALA would have gone there, shape (n,): how far from q
        the steps are.
    """
    return _langevin(density, state, step, generator)


@torch.no_grad()
def mala(
    density: Density, state: State, step: Values, *, generator: torch.Generator
) -> tuple[State, Values]:
    r"""One step of the Metropolis-adjusted Langevin algorithm, which leaves q as it is.

    Propose z' = z + a grad log q(z) + sqrt(2 a) eps and go there with probability
    min(1, q(z') T(z | z') / q(z) T(z' | z)), T being the density of such a proposal.

    References:
        Exponential convergence of Langevin distributions and their discrete approximations, Roberts and Tweedie 1996.

    Arguments:
        density: q, normalised or not.
        state: Where the chains are.
        step: a, shape (n,), in squared units of the codes.
        generator: Draws eps and who goes.

    Returns:
        Where they are then, and the probability with which each went there, shape (n,).
    """
    there, chance = _langevin(density, state, step, generator)
    return state.moved(_chosen(chance, generator), there), chance


@torch.no_grad()
def hmc(
    density: Density, state: State, step: Values, *, leaps: int = 10, generator: torch.Generator
) -> tuple[State, Values]:
    r"""One step of Hamiltonian Monte Carlo, which leaves q as it is.

    Push with a random momentum v ~ N(0, I), follow it for `leaps` leapfrog steps of length e = sqrt(2 a),

        v ← v + e/2 grad log q(z),    z ← z + e v,    v ← v + e/2 grad log q(z),

    and go there with probability min(1, exp(H - H')), H = |v|² / 2 - log q(z). One leap is a step of MALA.

    References:
        MCMC using Hamiltonian dynamics, Neal 2011.

    Arguments:
        density: q, normalised or not.
        state: Where the chains are.
        step: a, shape (n,), in squared units of the codes.
        leaps: 1 or more.
        generator: Draws v and who goes.

    Returns:
        Where they are then, and the probability with which each went there, shape (n,).
    """
    e = (2 * step).sqrt()[:, None]
    pushed = torch.randn(state.latents.shape, generator=generator, device=generator.device).to(
        state.latents
    )
    z, slope = state.latents, state.scores
    v = pushed + 0.5 * e * slope
    for leap in range(1, leaps + 1):
        z = z + e * v
        slope = density.score(z)
        v = v + (e if leap < leaps else 0.5 * e) * slope
    there = State(z, density.log_prob(z), slope)
    gained = there.log_probs - state.log_probs
    chance = _probability(gained + 0.5 * (pushed.square() - v.square()).sum(dim=1))
    return state.moved(_chosen(chance, generator), there), chance


@torch.no_grad()
def tuned(
    kernel: Kernel, state: State, steps: int, accepted: float, *, shared: bool
) -> tuple[State, Values]:
    """Run a warm-up that finds the step a at which the chains accept a given share of their moves.

    log a grows by 4 k^-0.6 (acceptance - accepted) at step k, and its mean over the second half is taken.

    References:
        A Stochastic Approximation Method, Robbins and Monro 1951; for the mean, Polyak and Juditsky 1992.

    Arguments:
        kernel: Whose step is sought.
        state: Where the chains start.
        steps: Of the warm-up, 1 or more.
        accepted: The share, in (0, 1).
        shared: Whether all chains have the same step, by their mean acceptance, or each its own.

    Returns:
        Where the chains are then, and a for each, shape (n,).
    """
    log_step, later = torch.zeros_like(state.log_probs), []
    for k in range(1, steps + 1):
        state, chance = kernel(state, log_step.exp())
        missed = (chance.mean().expand_as(chance) if shared else chance) - accepted
        log_step = log_step + GAIN * k**-FADING * missed
        later.append(log_step)
    return state, torch.stack(later[steps // 2 :]).mean(dim=0).exp()


def _langevin(
    density: Density, state: State, step: Values, generator: torch.Generator
) -> tuple[State, Values]:
    """Where a step of Langevin dynamics leads, and the probability with which Metropolis would go there."""
    z, a = state.latents, step[:, None]
    noise = torch.randn(z.shape, generator=generator, device=generator.device).to(z)
    there = State.at(density, z + a * state.scores + (2 * a).sqrt() * noise)
    forth = -0.5 * noise.square().sum(dim=1)
    back = -(z - there.latents - a * there.scores).square().sum(dim=1) / (4 * step)
    return there, _probability(there.log_probs - state.log_probs + back - forth)


def _probability(log_ratio: Values) -> Values:
    """min(1, exp(log_ratio)); 0 where the density had no answer, so that nobody goes there."""
    return log_ratio.exp().clamp(max=1).nan_to_num(0)


def _chosen(chance: Tensor, generator: torch.Generator) -> Mask:
    """Who goes, each with its own chance."""
    return torch.rand(len(chance), generator=generator, device=generator.device).to(chance) < chance
