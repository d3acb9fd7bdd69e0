"""Annealed importance sampling against normalisers in closed form."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import Density, ExactRatio, SamplableDensity
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.density.toys.clusters import two_clusters, two_moons
from latent_atlas.density.toys.correlated import correlated_gaussian
from latent_atlas.errors import UserError
from latent_atlas.sampling.smc import log_normalising_constant


class Unnormalised(Density):
    """exp(-E) = c q for a known density q."""

    def __init__(self, world: SamplableDensity, nats: float) -> None:
        self.world, self.nats, self.dimension = world, nats, world.dimension

    def log_prob(self, latents: Tensor) -> Tensor:
        return self.world.log_prob(latents) + self.nats


WORLDS = {
    "clusters": two_clusters(2, distance=3.0),
    "moons": two_moons(4),
    "correlated": correlated_gaussian(8, mutual_information=1.5),
    "narrow": GaussianMixture(torch.ones(1), torch.full((1, 4), 0.5), torch.tensor([0.3])),
}


@pytest.mark.parametrize(
    ("name", "nats"), [*((name, 0.0) for name in WORLDS), ("correlated", -7.5)]
)
def test_it_is_the_closed_form_within_its_error(
    name: str, nats: float, generator: torch.Generator
) -> None:
    found = log_normalising_constant(
        Unnormalised(WORLDS[name], nats), n=400, steps=30, generator=generator
    )
    assert abs(found.nats - nats) < 3 * found.error
    assert found.error < 0.15
    assert 0.5 < found.acceptance < 1


def test_its_error_is_that_of_repeated_runs() -> None:
    world = WORLDS["correlated"]
    found = [
        log_normalising_constant(world, n=100, steps=5, generator=torch.Generator().manual_seed(s))
        for s in range(20)
    ]
    values = torch.tensor([one.nats for one in found])
    errors = torch.tensor([one.error for one in found])
    assert values.std().item() == pytest.approx(errors.mean().item(), rel=0.5)
    assert (
        abs(values.mean().item())
        < 4 * values.std().item() / math.sqrt(20) + errors.mean().item() ** 2
    )


def test_more_steps_mean_less_error() -> None:
    errors = [
        log_normalising_constant(
            WORLDS["narrow"], n=200, steps=steps, generator=torch.Generator().manual_seed(0)
        ).error
        for steps in (2, 40)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_a_single_step_is_importance_sampling(generator: torch.Generator) -> None:
    found = log_normalising_constant(
        two_clusters(2, distance=2.0), n=5_000, steps=1, generator=generator
    )
    assert abs(found.nats) < 3 * found.error


def test_it_starts_from_the_boundary_of_a_membership(generator: torch.Generator) -> None:
    place = torch.full((1, 2), 40.0)
    boundary = GaussianMixture(torch.ones(1), place, torch.tensor([2.0]))
    population = Unnormalised(GaussianMixture(torch.ones(1), place + 1, torch.tensor([0.7])), 2.0)
    found = log_normalising_constant(
        ExactRatio(population, boundary), n=400, steps=20, generator=generator
    )
    assert abs(found.nats - 2) < 3 * found.error < 0.3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"n": 1}, "n is 1; choose 2"), ({"steps": 0}, "steps is 0; choose 1")],
)
def test_too_few_are_refused(
    options: dict[str, int], sentence: str, generator: torch.Generator
) -> None:
    with pytest.raises(UserError, match=sentence):
        log_normalising_constant(WORLDS["clusters"], generator=generator, **options)


def test_a_density_that_is_nowhere_has_no_normaliser(generator: torch.Generator) -> None:
    class Nowhere(Density):
        dimension = 2

        def log_prob(self, latents: Tensor) -> Tensor:
            return 0 * latents.sum(dim=1) - math.inf

    with pytest.raises(UserError, match="none reached the density"):
        log_normalising_constant(Nowhere(), n=10, steps=2, generator=generator)
