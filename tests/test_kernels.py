"""Transition kernels: they leave their density invariant and are reversible."""

import math
from functools import partial

import pytest
import torch

from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.density.toys import GaussianMixture, correlated_gaussian
from latent_atlas.sampling.kernels import MALA_ACCEPTED, Kernel, State, hmc, mala, tuned, ula

KERNELS = {"mala": mala, "hmc": partial(hmc, leaps=3)}
N = 40_000


def of(name: str, density: Density, generator: torch.Generator) -> Kernel:
    return partial(KERNELS[name], density, generator=generator)


def sizes(a: float, n: int = N) -> torch.Tensor:
    return torch.full((n,), a)


@pytest.mark.parametrize("name", KERNELS)
def test_steps_keep_the_distribution(name: str, generator: torch.Generator) -> None:
    world = correlated_gaussian(2, mutual_information=0.5)
    state = State.at(world, world.sample(N, generator=generator))
    second = state.latents.T @ state.latents / N
    for _ in range(5):
        state, _ = of(name, world, generator)(state, sizes(0.5))
    torch.testing.assert_close(state.latents.T @ state.latents / N, second, atol=0.03, rtol=0)


@pytest.mark.parametrize("name", KERNELS)
def test_as_many_go_from_one_place_to_another_as_come_back(
    name: str, generator: torch.Generator
) -> None:
    # Detailed balance: in equilibrium, the flux between any two of a grid's cells is the same both
    # ways.
    world = GaussianMixture(
        torch.tensor([0.7, 0.3]), torch.tensor([[-0.8], [1.0]]), torch.tensor([0.5, 0.8])
    )
    before = State.at(world, world.sample(4 * N, generator=generator))
    after, chance = of(name, world, generator)(before, sizes(0.15, 4 * N))
    assert chance.mean() < 0.97  # with all accepted there would be nothing to see
    edges = torch.tensor([-1.2, -0.6, 0.0, 0.8])
    cells = [torch.bucketize(state.latents[:, 0], edges) for state in (before, after)]
    flux = torch.bincount(5 * cells[0] + cells[1], minlength=25).reshape(5, 5).double()
    differences = (flux - flux.T)[flux + flux.T > 50] / (flux + flux.T)[flux + flux.T > 50].sqrt()
    assert differences.abs().max() < 3.5  # standard errors
    assert (flux.triu(1) > 50).sum() >= 5


def test_ula_widens_a_gaussian_as_its_closed_form_says(generator: torch.Generator) -> None:
    world = StandardNormal(1)
    state = State.at(world, world.sample(N, generator=generator))
    for _ in range(20):
        state, _ = ula(world, state, sizes(0.5), generator=generator)
    # On N(0, s²) the law of ULA is N(0, s² / (1 - a / 2 s²)).
    assert state.latents.var().item() == pytest.approx(1 / (1 - 0.25), rel=0.03)


@pytest.mark.parametrize("name", KERNELS)
def test_acceptance_tends_to_one_as_the_step_to_the_power_of_three_halves(
    name: str, generator: torch.Generator
) -> None:
    # With the drift turned round, or without the correction's part of it, it would be the power of
    # one half.
    world = StandardNormal(4)
    state = State.at(world, world.sample(N, generator=generator))
    refused = [
        1 - of(name, world, generator)(state, sizes(a))[1].mean().item() for a in (0.02, 0.08)
    ]
    assert math.log(refused[1] / refused[0]) / math.log(4) == pytest.approx(1.5, abs=0.15)


def test_one_leap_is_a_step_of_mala(generator: torch.Generator) -> None:
    world = correlated_gaussian(2, mutual_information=0.5)
    state = State.at(world, world.sample(1_000, generator=generator))
    by_mala, by_hmc = (
        kernel(world, state, sizes(0.3, 1_000), generator=torch.Generator().manual_seed(7))
        for kernel in (mala, partial(hmc, leaps=1))
    )
    torch.testing.assert_close(by_hmc[0].latents, by_mala[0].latents)
    torch.testing.assert_close(by_hmc[1], by_mala[1], atol=1e-4, rtol=1e-4)


def test_leapfrog_turns_a_gaussian_s_phase_space(generator: torch.Generator) -> None:
    # On N(0, 1) the orbit is a circle: after half of one, z is -z whatever the push, and nothing is
    # refused.
    state = State.at(StandardNormal(1), torch.full((100, 1), 0.7))
    leaps = 300
    there, chance = hmc(
        StandardNormal(1),
        state,
        sizes(0.5 * (math.pi / leaps) ** 2, 100),
        leaps=leaps,
        generator=generator,
    )
    torch.testing.assert_close(there.latents, torch.full((100, 1), -0.7), atol=1e-2, rtol=0)
    assert chance.min() > 0.99


def test_the_walk_drifts_up_the_slope(generator: torch.Generator) -> None:
    state = State.at(StandardNormal(2), torch.full((4_000, 2), 3.0))
    moved, _ = mala(StandardNormal(2), state, sizes(0.05, 4_000), generator=generator)
    accepted = (moved.latents != state.latents).all(dim=1)
    drift = (moved.latents - state.latents)[accepted].mean(dim=0)
    torch.testing.assert_close(drift, torch.full((2,), -0.15), atol=0.03, rtol=0)


def test_a_state_knows_its_place(generator: torch.Generator) -> None:
    world = correlated_gaussian(2, mutual_information=0.5)
    for name in KERNELS:
        state = State.at(world, world.sample(500, generator=generator))
        state, _ = of(name, world, generator)(state, sizes(0.8, 500))
        torch.testing.assert_close(state.log_probs, world.log_prob(state.latents))
        torch.testing.assert_close(state.scores, world.score(state.latents))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shared", [True, False])
def test_the_step_is_tuned_to_the_density_s_scale(
    scale: float, shared: bool, generator: torch.Generator
) -> None:
    world = GaussianMixture(torch.ones(1), torch.zeros(1, 8), torch.tensor([scale]))
    kernel = of("mala", world, generator)
    state, step = tuned(
        kernel, State.at(world, torch.zeros(64, 8)), 200, MALA_ACCEPTED, shared=shared
    )
    chances = torch.stack([kernel(state, step)[1].mean() for _ in range(20)])
    assert chances.mean().item() == pytest.approx(MALA_ACCEPTED, abs=0.1)
    assert (len(step.unique()) == 1) == shared


def test_nobody_goes_where_the_density_has_no_answer(generator: torch.Generator) -> None:
    class Half(Density):
        dimension = 1

        def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
            return torch.where(latents[:, 0] > 0, -0.5 * latents[:, 0].square(), torch.nan)

    for name in KERNELS:
        state, _ = of(name, Half(), generator)(
            State.at(Half(), torch.full((1_000, 1), 0.3)), sizes(1.0, 1_000)
        )
        assert (state.latents > 0).all()
        assert state.log_probs.isfinite().all()
