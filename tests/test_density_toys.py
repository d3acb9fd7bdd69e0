"""Exact worlds are exact: they integrate to one, sample themselves and know how far they are from the prior."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from latent_atlas.density.base import ExactRatio, SamplableDensity, StandardNormal, gradient
from latent_atlas.density.toys import (
    CorrelatedGaussian,
    GaussianMixture,
    Shell,
    Spiralled,
    StudentT,
    arc,
    catalogue,
    clusters,
    correlated_gaussian,
    ring,
    two_clusters,
    two_moons,
)
from latent_atlas.errors import UserError

PLANE = catalogue(2) | {"two_clusters": two_clusters(2, distance=3.0), "arc": arc(), "ring": ring()}
KINDS = list(catalogue(2))
EXACT: dict[str, Callable[[int], SamplableDensity]] = {
    "shell": lambda d: Shell(d, radius=0.7 * math.sqrt(d), width=0.4),
    "correlated": lambda d: correlated_gaussian(d, mutual_information=0.2 * d),
    "spiral": lambda d: Spiralled(correlated_gaussian(d, mutual_information=0.2 * d), turn=0.5),
    "tails": lambda d: StudentT(d, freedom=6.0, variance=0.5),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lattice(reach: float = 15.0, step: float = 0.1) -> Tensor:
    axis = torch.arange(-reach, reach + step / 2, step, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def random_mixture(dimension: int, count: int, *, diagonal: bool) -> GaussianMixture:
    g = seeded(1)
    weights = torch.rand(count, generator=g).double() + 0.1
    scales = torch.rand(count, *([dimension] if diagonal else []), generator=g).double() + 0.3
    means = torch.randn(count, dimension, generator=g).double()
    return GaussianMixture(weights / weights.sum(), means, scales)


@pytest.mark.parametrize("world", PLANE.values(), ids=PLANE)
def test_a_world_integrates_to_one_samples_itself_and_knows_its_divergence(
    world: SamplableDensity, generator: torch.Generator
) -> None:
    grid = lattice()
    log_prob = world.log_prob(grid)
    weights = log_prob.exp() * 0.1**2
    assert weights.sum().item() == pytest.approx(1, abs=1e-4)
    ratio = log_prob - StandardNormal(2).log_prob(grid)
    told = world.kl_to_prior(generator=generator)
    assert told.nats == pytest.approx((weights * ratio).sum().item(), abs=4 * told.error + 0.01)
    # The characteristic function E exp(i f · z) is bounded, so that heavy tails cannot blur the comparison.
    draws, bound = world.sample(40_000, generator=generator).double(), 4 / math.sqrt(40_000)
    for frequency in torch.randn(12, 2, generator=generator).double():
        near = weights > 1e-12
        phase, there = grid[near] @ frequency, draws @ frequency
        assert there.cos().mean().item() == pytest.approx(
            (weights[near] * phase.cos()).sum().item(), abs=bound
        )
        assert there.sin().mean().item() == pytest.approx(
            (weights[near] * phase.sin()).sum().item(), abs=bound
        )


@pytest.mark.parametrize("dimension", [2, 8, 64])
@pytest.mark.parametrize("name", KINDS)
def test_score_is_the_slope_of_log_prob(
    name: str, dimension: int, generator: torch.Generator
) -> None:
    world, step = catalogue(dimension)[name], 1e-5
    z = world.sample(20, generator=generator).double()
    directions = torch.randn(20, dimension, generator=generator).double()
    rise = world.log_prob(z + step * directions) - world.log_prob(z - step * directions)
    torch.testing.assert_close(
        (world.score(z) * directions).sum(dim=1), rise / (2 * step), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(world.score(z), gradient(world.log_prob, z))


@pytest.mark.parametrize("dimension", [2, 64])
@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT)
def test_an_exact_divergence_is_what_sampling_estimates(
    make: Callable[[int], SamplableDensity], dimension: int, generator: torch.Generator
) -> None:
    world = make(dimension)
    told = world.kl_to_prior(generator=generator)
    estimate = SamplableDensity.kl_to_prior(world, generator=generator, samples=20_000)
    assert told.exact
    assert not estimate.exact
    assert estimate.error < 0.05 * told.nats + 0.02
    assert told.nats == pytest.approx(estimate.nats, abs=3.5 * estimate.error)


def test_the_prior_is_nothing_away_from_itself(generator: torch.Generator) -> None:
    prior = GaussianMixture(torch.ones(1), torch.zeros(1, 64), torch.ones(1))
    assert prior.kl_to_prior(generator=generator).nats == pytest.approx(0, abs=1e-10)


def test_the_error_of_an_estimate_is_the_spread_of_estimates(generator: torch.Generator) -> None:
    estimates = [arc().kl_to_prior(generator=generator, samples=200) for _ in range(200)]
    spread = torch.tensor([e.nats for e in estimates]).std().item()
    assert sum(e.error for e in estimates) / 200 == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("name", KINDS)
def test_a_world_answers_in_the_precision_it_is_asked_in(
    name: str, generator: torch.Generator
) -> None:
    world = catalogue(64)[name]
    z = world.sample(50, generator=generator)
    assert z.dtype == world.log_prob(z).dtype == world.score(z).dtype == torch.float32
    assert world.log_prob(z.double()).dtype == world.score(z.double()).dtype == torch.float64
    torch.testing.assert_close(
        world.log_prob(z).double(), world.log_prob(z.double()), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        world.score(z).double(), world.score(z.double()), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dimension", [2, 64])
@pytest.mark.parametrize("name", KINDS)
def test_far_away_a_world_is_finite_and_falling(
    name: str, dimension: int, dtype: torch.dtype
) -> None:
    world = catalogue(dimension)[name]
    directions = torch.randn(10, dimension, generator=seeded()).to(dtype)
    away = directions / directions.norm(dim=1, keepdim=True)
    assert (world.log_prob(100 * away) < world.log_prob(20 * away)).all()
    assert world.log_prob(100 * away).isfinite().all()
    assert world.score(100 * away).isfinite().all()
    centre = torch.zeros(1, dimension, dtype=dtype)
    assert world.log_prob(centre).isfinite().all()
    assert gradient(world.log_prob, centre).isfinite().all()
    assert world.score(centre).isfinite().all()


def test_a_catalogue_holds_the_same_worlds_every_time(generator: torch.Generator) -> None:
    z = torch.randn(4, 8, generator=generator)
    for first, second in zip(catalogue(8).values(), catalogue(8).values(), strict=True):
        assert torch.equal(first.log_prob(z), second.log_prob(z))
        assert torch.equal(
            first.sample(4, generator=seeded()), second.sample(4, generator=seeded())
        )


@pytest.mark.parametrize("diagonal", [False, True], ids=["isotropic", "diagonal"])
def test_a_mixture_is_the_one_of_torch(diagonal: bool, generator: torch.Generator) -> None:
    world = random_mixture(7, 5, diagonal=diagonal)
    scales = world.scales if diagonal else world.scales[:, None].expand(5, 7)
    normals = torch.distributions.Independent(torch.distributions.Normal(world.means, scales), 1)
    shares = torch.distributions.Categorical(world.weights)
    reference = torch.distributions.MixtureSameFamily(shares, normals)
    z = 2 * torch.randn(100, 7, generator=generator).double()
    torch.testing.assert_close(world.log_prob(z), reference.log_prob(z))
    draws = world.sample(40_000, generator=generator).double()
    close = 4 * reference.stddev / math.sqrt(40_000)
    assert ((draws.mean(dim=0) - reference.mean).abs() < close).all()
    torch.testing.assert_close(draws.var(dim=0), reference.variance, rtol=0.05, atol=0)


class LargestTensor(TorchDispatchMode):
    """How many elements the largest tensor made under it has."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # pyright: ignore
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.elements = max(self.elements, made.numel())
        return made


def test_a_mixture_never_holds_every_difference_at_once() -> None:
    world, z = random_mixture(80, 50, diagonal=True), torch.zeros(100, 80)
    with LargestTensor() as largest:
        world.score(z)
        gradient(world.log_prob, z)
    assert largest.elements == 100 * 80


def test_clusters_stand_apart_and_differ(generator: torch.Generator) -> None:
    world = clusters(3, 6, generator=generator, radius=2.0, scale=0.5)
    torch.testing.assert_close(world.means.norm(dim=1), torch.full((6,), 2.0))
    assert torch.pdist(world.means).min().item() == pytest.approx(2 * math.sqrt(2), abs=1e-5)
    torch.testing.assert_close(world.weights, torch.arange(1, 7) / 21)
    torch.testing.assert_close(world.scales, torch.tensor([0.8, 0.74, 0.68, 0.62, 0.56, 0.5]))
    assert not torch.equal(clusters(3, generator=generator).means, world.means[:4])


def test_two_clusters_are_as_far_apart_as_asked(generator: torch.Generator) -> None:
    draws = two_clusters(5, distance=3.0).sample(20_000, generator=generator)
    assert draws[:, 0].std().item() == pytest.approx(math.sqrt(1.5**2 + 0.25), abs=0.03)


def test_a_ring_is_smooth_around_and_void_within() -> None:
    angles = torch.linspace(0, 2 * math.pi, 200)
    around = 1.5 * torch.stack([angles.cos(), angles.sin()], dim=1)
    crest = ring().log_prob(around)
    assert (crest.max() - crest.min()).item() < 0.03
    assert (ring().log_prob(0.5 * around) < crest - 5).all()
    assert (ring().log_prob(1.5 * around) < crest - 5).all()


def test_each_moon_ends_inside_the_other_across_a_void() -> None:
    world = two_moons()
    tops, ends = (
        torch.tensor([[-0.75, 1.125], [0.75, -1.125]]),
        torch.tensor([[0.75, -0.375], [-0.75, 0.375]]),
    )
    on = world.log_prob(torch.cat([tops, ends]))
    torch.testing.assert_close(on[[0, 2]], on[[1, 3]])
    assert on.min() > -2
    between = torch.tensor([[0.75, -0.75], [-0.75, 0.75], [0.0, 0.0]])
    assert (world.log_prob(between) < on.min() - 2).all()
    z = torch.randn(20, 2, generator=seeded())
    torch.testing.assert_close(world.log_prob(-z), world.log_prob(z))


@pytest.mark.parametrize("make", [two_moons, ring])
def test_other_coordinates_are_independent_normals(
    make: Callable[[int], GaussianMixture], generator: torch.Generator
) -> None:
    z = torch.randn(20, 6, generator=generator)
    apart = make(2).log_prob(z[:, :2]) + torch.distributions.Normal(0, 0.7).log_prob(z[:, 2:]).sum(
        dim=1
    )
    torch.testing.assert_close(make(6).log_prob(z), apart)


def radial_law(world: SamplableDensity, furthest: float) -> tuple[Tensor, Tensor]:
    """A grid of radii and the log-density of |z| there, read off the world's along a diagonal."""
    d = world.dimension
    radii = torch.linspace(0, furthest, 100_001, dtype=torch.float64)[1:]
    log_sphere = math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
    thinned = (radii / math.sqrt(d))[:, None].expand(-1, d)
    return radii, world.log_prob(thinned) + log_sphere + (d - 1) * radii.log()


RADIAL = {
    "shell3": (Shell(3, radius=2.0, width=0.4), 6, 20_000),
    "shell64": (Shell(64, radius=6.4, width=0.3), 10, 20_000),
    "tails64": (StudentT(64, freedom=5.0, variance=0.5), 500, 20_000),
    "tails3": (
        StudentT(3, freedom=2.5, variance=2.0),
        500,
        1_000_000,
    ),  # few degrees are the hardest to draw
}


@pytest.mark.parametrize(("world", "furthest", "n"), RADIAL.values(), ids=RADIAL)
def test_radii_are_drawn_from_the_density(
    world: SamplableDensity, furthest: float, n: int, generator: torch.Generator
) -> None:
    radii, log_density = radial_law(world, furthest)
    cumulative = torch.cumulative_trapezoid(log_density.exp(), radii)
    assert cumulative[-1].item() == pytest.approx(1, abs=1e-5)
    draws = world.sample(n, generator=generator).double()
    lengths, directions = draws.norm(dim=1).sort().values, torch.nn.functional.normalize(draws)
    shares = np.interp(lengths.numpy(), radii[1:].numpy(), cumulative.numpy())
    assert np.abs(shares - np.arange(n) / n).max() < 1.95 / math.sqrt(
        n
    )  # Kolmogorov-Smirnov at 0.1 %
    assert directions.mean(dim=0).norm().item() < 1.5 / math.sqrt(n)
    second = world.dimension * directions.T @ directions / n
    torch.testing.assert_close(
        second, torch.eye(world.dimension).double(), atol=6 * math.sqrt(2 / n), rtol=0
    )


@pytest.mark.parametrize("dimension", [2, 3, 64, 320])
def test_a_shell_s_radius_has_the_mode_and_the_width_asked_for(dimension: int) -> None:
    radius, width = 0.9 * math.sqrt(dimension), 0.4
    radii, log_density = radial_law(Shell(dimension, radius, width), radius + 12 * width)
    peak = int(log_density.argmax())
    assert radii[peak].item() == pytest.approx(radius, abs=1e-3)
    assert torch.trapezoid(log_density.exp(), radii).item() == pytest.approx(1, abs=1e-9)
    step = 100 * (radii[1] - radii[0]).item()
    curvature = (
        log_density[peak + 100] - 2 * log_density[peak] + log_density[peak - 100]
    ) / step**2
    assert curvature.item() == pytest.approx(-1 / width**2, rel=1e-3)


@pytest.mark.parametrize("dimension", [2, 7, 320])
def test_the_widest_shell_is_the_prior(dimension: int, generator: torch.Generator) -> None:
    world = Shell(dimension, math.sqrt(dimension - 1), 1 / math.sqrt(2))
    z = torch.randn(20, dimension, generator=generator).double()
    torch.testing.assert_close(world.log_prob(z), StandardNormal(dimension).log_prob(z))
    assert world.kl_to_prior(generator=generator).nats == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("freedom", "variance"), [(2.5, 1.0), (5.0, 0.4), (80.0, 2.0)])
def test_student_s_t_is_the_one_of_scipy(
    freedom: float, variance: float, generator: torch.Generator
) -> None:
    z = 3 * torch.randn(20, 6, generator=generator).double()
    spread = (variance * (freedom - 2) / freedom * torch.eye(6)).numpy()
    expected = stats.multivariate_t.logpdf(z.numpy(), shape=spread, df=freedom)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(
        StudentT(6, freedom, variance).log_prob(z), torch.as_tensor(expected)
    )


def test_student_s_t_has_the_covariance_asked_for(generator: torch.Generator) -> None:
    draws = StudentT(4, freedom=12.0, variance=0.3).sample(100_000, generator=generator)
    torch.testing.assert_close(torch.cov(draws.T), 0.3 * torch.eye(4), atol=0.008, rtol=0)


@pytest.mark.parametrize("information", [0.0, 0.25, 8.0])
@pytest.mark.parametrize("dimension", [2, 64])
def test_a_correlated_gaussian_is_as_far_from_the_prior_as_asked(
    dimension: int, information: float, generator: torch.Generator
) -> None:
    world = correlated_gaussian(dimension, information)
    assert world.kl_to_prior(generator=generator).nats == pytest.approx(information, rel=1e-6)
    block = torch.tensor([[1, world.correlation], [world.correlation, 1]], dtype=torch.float64)
    zeros, eye = torch.zeros(dimension).double(), torch.eye(dimension).double()
    normal = torch.distributions.MultivariateNormal(
        zeros, torch.block_diag(*[block] * (dimension // 2))
    )
    prior = torch.distributions.MultivariateNormal(zeros, eye)
    assert torch.distributions.kl_divergence(normal, prior).item() == pytest.approx(
        information, rel=1e-6
    )
    z = torch.randn(10, dimension, generator=generator).double() @ normal.scale_tril.T
    torch.testing.assert_close(world.log_prob(z), normal.log_prob(z))
    draws = world.sample(40_000, generator=generator).double()
    torch.testing.assert_close(
        torch.cov(draws.T), normal.covariance_matrix, atol=6 * math.sqrt(2 / 40_000), rtol=0
    )


def stirred(dimension: int, turn: float = 0.7) -> Spiralled:
    return Spiralled(CorrelatedGaussian(dimension, 0.8), turn)


def test_stirring_turns_each_pair_by_its_squared_radius() -> None:
    world = stirred(4, turn=math.pi / 2)
    z = torch.tensor([[1.0, 0.0, math.sqrt(2), 0.0]])
    torch.testing.assert_close(world.forward(z), torch.tensor([[0.0, 1.0, -math.sqrt(2), 0.0]]))


@pytest.mark.parametrize("dimension", [2, 8])
def test_stirring_keeps_volume_and_the_prior_and_can_be_undone(
    dimension: int, generator: torch.Generator
) -> None:
    world = stirred(dimension)
    z = torch.randn(5, dimension, generator=generator).double()
    for code in z:
        jacobian = torch.autograd.functional.jacobian(lambda c: world.forward(c[None])[0], code)
        assert torch.linalg.det(jacobian).item() == pytest.approx(1, abs=1e-9)
        assert (jacobian - torch.eye(dimension)).norm() > 1
    torch.testing.assert_close(world.inverse(world.forward(z)), z)
    torch.testing.assert_close(world.forward(world.inverse(z)), z)
    prior = StandardNormal(dimension)
    torch.testing.assert_close(
        Spiralled(CorrelatedGaussian(dimension, 0.0), 0.7).log_prob(z), prior.log_prob(z)
    )
    torch.testing.assert_close(world.log_prob(world.forward(z)), world.world.log_prob(z))
    assert (world.log_prob(z) - world.world.log_prob(z)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: correlated_gaussian(3, 1.0), "even dimension"),
        (lambda: correlated_gaussian(2, -1.0), "never negative"),
        (lambda: CorrelatedGaussian(2, 1.0), "between -1 and 1"),
        (lambda: Spiralled(two_clusters(3, 1.0), 0.5), "even dimension"),
        (lambda: StudentT(2, 2.0), "more than 2 degrees"),
        (lambda: Shell(64, radius=8.0, width=0.8), "up to 0.713"),
        (lambda: Shell(1, radius=1.0, width=0.1), "2 dimensions or more"),
        (lambda: clusters(2, 5, generator=seeded()), "1 to 4 clusters"),
        (lambda: two_moons(2, 7), "even count"),
        (lambda: ring(1), "2 dimensions or more"),
    ],
)
def test_an_impossible_world_is_refused_with_the_reason(
    wrong: Callable[[], SamplableDensity], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        wrong()


def test_an_exact_ratio_is_undecided_where_both_densities_agree() -> None:
    ratio = ExactRatio(StandardNormal(2), StandardNormal(2))
    z = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    torch.testing.assert_close(ratio.realness(z), torch.full((2,), 0.5))
    torch.testing.assert_close(ratio.confusion(z), torch.ones(2))


def test_confusion_stays_finite_far_away() -> None:
    ratio = ExactRatio(two_clusters(2, 4.0), StandardNormal(2))
    confusion = ratio.confusion(torch.tensor([[60.0, 0.0]]))
    assert confusion.isfinite().all()
    assert confusion.item() == pytest.approx(0)


def test_a_blurred_mixture_is_that_of_its_noised_draws(generator: torch.Generator) -> None:
    world = two_clusters(2, distance=3.0)
    noise = torch.randn(40_000, 2, generator=generator)
    with_noise = world.sample(40_000, generator=generator) + 0.7 * noise
    noised = world.noised(0.7)
    drawn = noised.sample(40_000, generator=generator)
    torch.testing.assert_close(with_noise.var(dim=0), drawn.var(dim=0), rtol=0.03, atol=0)
    assert noised.log_prob(with_noise).mean().item() == pytest.approx(
        noised.log_prob(drawn).mean().item(), abs=0.03
    )
    with pytest.raises(UserError, match="choose 0 or more"):
        world.noised(-1.0)
    with pytest.raises(UserError, match="StudentT has no noise levels"):
        StudentT(2, freedom=5.0).noised(0.1)
