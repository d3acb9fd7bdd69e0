"""Sequential Monte Carlo against densities and normalisers in closed form."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import Density, ExactRatio, SamplableDensity, StandardNormal
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.density.student_mixture import StudentMixture
from latent_atlas.density.toys import StudentT, correlated_gaussian, ring, two_clusters, two_moons
from latent_atlas.errors import UserError
from latent_atlas.sampling import MALA, SMC, draw, log_normalising_constant
from latent_atlas.sampling.auto import Auto
from latent_atlas.sampling.tempering import tempered


class Unnormalised(Density):
    """exp(-E) = c q for a known density q, with a score by autograd."""

    def __init__(self, world: SamplableDensity, nats: float) -> None:
        self.world, self.nats, self.dimension = world, nats, world.dimension

    def log_prob(self, latents: Tensor) -> Tensor:
        return self.world.log_prob(latents) + self.nats


# Three clusters some 10 widths apart, far out where N(0, I) has no mass.
FAR = GaussianMixture(
    torch.tensor([0.1, 0.3, 0.6]),
    torch.tensor([[6.0, 0.0, 0.0], [-5.0, 3.0, 0.0], [0.0, -4.0, 5.0]]),
    torch.tensor([0.4, 0.6, 0.5]),
)
WORLDS: dict[str, SamplableDensity] = {
    "clusters": two_clusters(2, distance=3.0),
    "moons": two_moons(4),
    "correlated": correlated_gaussian(8, mutual_information=1.5),
    "narrow": GaussianMixture(torch.ones(1), torch.full((1, 4), 0.5), torch.tensor([0.3])),
    "far": FAR,
    "tails": StudentT(4, freedom=4.0),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def share_errors(points: Tensor, world: GaussianMixture, n: float) -> Tensor:
    """Differences of the clusters' shares, in standard errors of n independent samples."""
    shares = world.responsibilities(points).mean(dim=0)
    return (shares - world.weights) / (world.weights * (1 - world.weights) / n).sqrt()


@pytest.mark.parametrize(("name", "nats"), [*((name, 0.0) for name in WORLDS), ("far", -7.5)])
def test_the_constant_is_the_closed_form_within_its_error(
    name: str, nats: float, generator: torch.Generator
) -> None:
    found = log_normalising_constant(Unnormalised(WORLDS[name], nats), n=500, generator=generator)
    assert abs(found.nats - nats) < 4 * found.error
    assert found.error < 0.08
    assert 0.5 < found.acceptance < 1


def test_clusters_far_apart_have_their_shares(generator: torch.Generator) -> None:
    samples = draw(FAR, 3_000, SMC(), generator=generator)
    assert share_errors(samples.points, FAR, 3_000).abs().max() < 3
    assert samples.warnings == ()
    assert samples.info.effective_sample_size is not None
    assert 2_000 < samples.info.effective_sample_size <= 3_000
    # Chains cannot pass from one to another, but they start from such samples.
    with pytest.warns(UserWarning, match="have not converged"):
        chains = draw(Unnormalised(FAR, 0.0), 3_000, MALA(warmup=20, thin=1), generator=generator)
    assert share_errors(chains.points, FAR, 3_000).abs().max() < 4


def test_the_tails_are_as_heavy_as_the_density_s(generator: torch.Generator) -> None:
    world = StudentT(4, freedom=4.0)
    points = draw(world, 4_000, SMC(), generator=generator).points
    far = world.sample(400_000, generator=generator).norm(dim=1).quantile(0.99)
    beyond = (points.norm(dim=1) > far).float().mean().item()
    assert beyond == pytest.approx(0.01, abs=4 * math.sqrt(0.01 / 4_000))


def test_errors_are_those_of_repeated_runs() -> None:
    # Few particles and no fitted start, so that families that share an ancestor decide.
    runs = [
        tempered(
            GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([3.0])),
            two_clusters(2, distance=8.0),
            200,
            200,
            moves=2,
            generator=seeded(s),
        )
        for s in range(40)
    ]
    constants = torch.tensor([run.log_constant for run in runs])
    errors = torch.tensor([run.error for run in runs])
    assert constants.std().item() == pytest.approx(errors.mean().item(), rel=0.5)
    means = torch.tensor([run.points[:, 0].mean().item() for run in runs])
    # The variance of a mean of independent samples is (4² + 0.5²) over their number.
    effective = 16.25 / means.var().item()
    assert torch.tensor([run.effective for run in runs]).mean().item() == pytest.approx(
        effective, rel=0.6
    )


def test_without_way_it_is_importance_sampling(generator: torch.Generator) -> None:
    # 1 / E_p[(q / p)²] of N(0, s²) against N(0, 1) is (2 - s²)^½ s per coordinate.
    narrow = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([0.8]))
    found = tempered(StandardNormal(2), narrow, 4_000, 10, moves=1, share=0.5, generator=generator)
    assert found.temperatures == 1
    second = 1 / (0.64 * (2 - 0.64))
    assert found.error == pytest.approx(math.sqrt((second - 1) / 4_000), rel=0.1)


def test_a_map_starts_from_its_boundary(generator: torch.Generator) -> None:
    place = torch.full((1, 2), 40.0)
    boundary = GaussianMixture(torch.ones(1), place, torch.tensor([2.0]))
    world = GaussianMixture(torch.ones(1), place + 1, torch.tensor([0.7]))
    ratio = ExactRatio(Unnormalised(world, 2.0), boundary)
    found = draw(ratio, 500, SMC(particles=1_000), generator=generator).info
    assert found.log_constant == pytest.approx(2, abs=3 * (found.log_constant_error or 0))


def test_codes_and_a_width_say_where_to_start(generator: torch.Generator) -> None:
    place = torch.full((1, 2), 4_000.0)
    world = GaussianMixture(torch.ones(1), place, torch.tensor([7.0]))
    for sampler in (
        SMC(codes=world.sample(200, generator=generator), particles=1_000),
        SMC(width=4_000.0, particles=1_000),
    ):
        points = draw(world, 500, sampler, generator=generator).points
        torch.testing.assert_close(points.mean(dim=0), place[0], atol=1.5, rtol=0)
        torch.testing.assert_close(points.std(dim=0), torch.full((2,), 7.0), atol=1.0, rtol=0)


def test_a_width_that_is_too_small_finds_less(generator: torch.Generator) -> None:
    # What the docs say: a cluster that the first start does not reach is missing.
    apart = two_clusters(2, distance=50.0)
    near = GaussianMixture(
        apart.weights, apart.means + 25 * torch.tensor([1.0, 0.0]), apart.scales
    )  # one is at the origin
    found = draw(near, 300, SMC(width=1.0, particles=1_000), generator=generator)
    assert found.info.log_constant == pytest.approx(math.log(0.5), abs=0.1)
    measured = draw(near, 300, SMC(width=50.0, particles=1_000), generator=generator)
    assert measured.info.log_constant == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_conditions_hold(temperature: float, generator: torch.Generator) -> None:
    points = draw(
        WORLDS["narrow"],
        2_000,
        SMC(),
        temperature=temperature,
        where=lambda z: torch.where(z[:, 0] > 0.5, 0.0, -math.inf),
        generator=generator,
    ).points
    assert (points[:, 0] > 0.5).all()  # half of a Gaussian, whose mean is sqrt(2 / π) s farther
    scale = 0.3 * math.sqrt(temperature)
    assert points[:, 0].mean().item() == pytest.approx(0.5 + 0.798 * scale, abs=0.06 * scale)
    assert points[:, 1].std().item() == pytest.approx(scale, rel=0.06)


@pytest.mark.parametrize(
    ("boundary", "chosen", "because"),
    [
        (StandardNormal(2), "importance", "effective sample size"),
        (
            GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([40.0])),
            "smc",
            "effective",
        ),
        (None, "smc", "nothing is known"),
    ],
)
def test_auto_chooses_by_measurement_and_says_why(
    boundary: SamplableDensity | None, chosen: str, because: str, generator: torch.Generator
) -> None:
    world: Density = ring()
    density = ExactRatio(world, boundary) if boundary else Unnormalised(ring(), 0.0)
    info = draw(density, 100, Auto(), generator=generator).info
    assert info.sampler == chosen
    assert because in (info.reason or "")


def test_a_student_mixture_is_that_of_its_samples(generator: torch.Generator) -> None:
    means, factors = torch.tensor([[-2.0, 0.0], [1.0, 1.0]]), torch.eye(2).repeat(2, 1, 1)
    factors[0] *= 0.3
    factors[1, 1, 0] = 0.7
    world = StudentMixture(torch.tensor([0.3, 0.7]), means, factors, freedom=5)
    axis = torch.linspace(-40, 40, 1_601)
    grid = torch.cartesian_prod(axis, axis)
    weights = world.log_prob(grid).exp() * 0.05**2
    assert weights.sum().item() == pytest.approx(1, abs=2e-3)
    points = world.sample(100_000, generator=generator)
    for law in (lambda z: z[:, 0], lambda z: z[:, 0] * z[:, 1], lambda z: (z[:, 1] > 4).float()):
        expected = (weights * law(grid)).sum().item()
        assert law(points).mean().item() == pytest.approx(expected, abs=0.06)
    one = StudentMixture(torch.ones(1), torch.zeros(1, 3), torch.eye(3)[None], freedom=6)
    z = torch.randn(50, 3, generator=generator)
    exact = StudentT(3, freedom=6.0, variance=1.5)  # ν / (ν - 2) I is its covariance
    torch.testing.assert_close(one.log_prob(z), exact.log_prob(z))
    torch.testing.assert_close(one.score(z), exact.score(z))


class Nowhere(Density):
    dimension = 2

    def log_prob(self, latents: Tensor) -> Tensor:
        return 0 * latents.sum(dim=1) - math.inf


class Everywhere(Density):
    dimension = 2

    def log_prob(self, latents: Tensor) -> Tensor:
        return 0 * latents.sum(dim=1)


@pytest.mark.parametrize(
    ("density", "sentence"),
    [
        (Nowhere(), "none of 100 particles reaches the density"),
        (Everywhere(), "no finite integral: check log_prob"),
    ],
)
def test_what_is_no_density_is_refused(
    density: Density, sentence: str, generator: torch.Generator
) -> None:
    with pytest.raises(UserError, match=sentence):
        log_normalising_constant(density, n=100, generator=generator)


def test_too_few_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(UserError, match="n is 50; choose 100 or more"):
        log_normalising_constant(FAR, n=50, generator=generator)


def test_few_effective_particles_warn(generator: torch.Generator) -> None:
    with pytest.warns(UserWarning, match="shares of separate clusters are uncertain"):
        draw(two_moons(16), 2_000, SMC(particles=100), generator=generator)
