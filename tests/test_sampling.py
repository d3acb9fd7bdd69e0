"""Every sampler against worlds whose draws are known, what is wished of them, and what is said when they fail."""

import math
import sys
import warnings

import pytest
import torch
from torch import Tensor

from latent_atlas.config import MapConfig
from latent_atlas.density.base import Density, ExactRatio, SamplableDensity, StandardNormal
from latent_atlas.density.toys import GaussianMixture, correlated_gaussian, two_clusters, two_moons
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.sampling import SAMPLERS, Samples, draw, options_of
from latent_atlas.sampling.entropy_balancing import matching

CLUSTERS = two_clusters(2, distance=2.4, scale=0.4)
WIDE = GaussianMixture(
    torch.ones(1), torch.linspace(-0.5, 0.5, 8)[None], torch.linspace(0.4, 1.2, 8)[None]
)
WORLDS: dict[str, SamplableDensity] = {
    "clusters": CLUSTERS,
    "moons": two_moons(2),
    "correlated": correlated_gaussian(8, mutual_information=1.0),
    "wide": WIDE,
}
ONES_OF_OURS = ("importance", "rejection", "mala", "hmc", "annealed")
MANY = {
    "importance": {"proposals": 400},
    "mala": {"chains": 2_000, "warmup": 60, "thin": 1},
    "hmc": {"chains": 2_000, "warmup": 30, "thin": 1},
}
BRIEF: dict[str, dict[str, int]] = {
    "ula": {"chains": 500, "warmup": 50, "thin": 2},
    "mala": {"chains": 500, "warmup": 50, "thin": 2},
    "hmc": {"chains": 500, "warmup": 30, "thin": 1},
}
N = 2_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quiet(
    density: Density, n: int, sampler: str, *, generator: torch.Generator, **options: object
) -> Samples:
    """Draws whose notes are not meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return draw(density, n, sampler, generator=generator, **options)


def standard_errors(points: Tensor, real: Tensor) -> Tensor:
    """How far the means of z, z² and neighbours' products are from many exact draws', in standard errors."""
    moments = [torch.cat([z, z.square(), z[:, :-1] * z[:, 1:]], dim=1) for z in (points, real)]
    errors = sum(m.var(dim=0) / len(m) for m in moments)
    return (moments[0].mean(dim=0) - moments[1].mean(dim=0)) / torch.as_tensor(errors).sqrt()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("sampler", ONES_OF_OURS)
def test_draws_have_the_moments_of_the_world(
    sampler: str, world: str, generator: torch.Generator
) -> None:
    q = WORLDS[world]
    if sampler == "annealed" and not q.noise_levels:
        with pytest.raises(UserError, match="no levels"):
            draw(q, N, sampler, generator=generator)
        return
    if sampler == "rejection" and world in ("correlated", "wide"):
        with pytest.raises(UserError, match="proposals for each draw"):
            draw(q, N, sampler, generator=generator)
        return
    points = quiet(q, N, sampler, generator=generator, **MANY.get(sampler, {})).points
    assert standard_errors(points, q.sample(100_000, generator=generator)).abs().max() < 4
    log_probs = [q.log_prob(z)[:, None] for z in (points, q.sample(100_000, generator=generator))]
    assert standard_errors(*log_probs).abs().max() < 4


def test_ula_is_near_but_too_wide(generator: torch.Generator) -> None:
    draws = quiet(StandardNormal(4), N, "ula", **BRIEF["ula"], generator=generator)
    assert 1.02 < draws.points.var().item() < 1.2
    assert draws.info["acceptance"] == pytest.approx(0.95, abs=0.02)


def test_the_effective_share_is_one_over_the_mean_squared_weight(
    generator: torch.Generator,
) -> None:
    # For q against p, n / Σ w² tends to 1 / E_p[(q / p)²]; by quadrature in two dimensions.
    axis = torch.linspace(-6, 6, 481)
    grid = torch.cartesian_prod(axis, axis)
    prior = StandardNormal(2)
    second = (2 * CLUSTERS.log_prob(grid) - prior.log_prob(grid)).exp().sum().item() * 0.025**2
    share = draw(CLUSTERS, N, "importance", generator=generator).info["effective_share"]
    assert share == pytest.approx(1 / second, rel=0.05)


@pytest.fixture(scope="module")
def far() -> tuple[Tensor, LatentMap]:
    """Codes far from the prior, and their map against a boundary that is where they are."""
    codes = CLUSTERS.sample(3_000, generator=seeded()) * torch.tensor([5.0, 0.2]) + 50
    config = MapConfig(
        width=32, depth=1, steps=200, learning_rate=4e-3, ema=0.98, boundary="gaussian-diagonal"
    )
    return codes, LatentMap.fit(codes, config=config, generator=seeded())


@pytest.mark.parametrize(
    ("sampler", "options"), [("importance", {}), ("annealed", {}), ("annealed", {"moves": 0})]
)
def test_a_map_is_drawn_from_where_its_boundary_is(
    sampler: str, options: dict[str, int], far: tuple[Tensor, LatentMap], generator: torch.Generator
) -> None:
    codes, latent_map = far
    points = draw(latent_map, 1_000, sampler, **options, generator=generator).points
    torch.testing.assert_close(
        (points.mean(dim=0) - 50) / codes.std(dim=0), torch.zeros(2), atol=0.15, rtol=0
    )
    torch.testing.assert_close(
        points.std(dim=0) / codes.std(dim=0), torch.ones(2), atol=0.15, rtol=0
    )


def test_the_probability_flow_is_exact_as_its_steps_shrink() -> None:
    # From N(0, I) to N(m, s²) it is the affine map z = m + s w, so errors can be seen code by code.
    w = torch.randn(500, 8, generator=seeded())
    exact = WIDE.means[0] + WIDE.scales[0] * w
    errors = [
        (draw(WIDE, 500, "annealed", steps=steps, moves=0, generator=seeded()).points - exact)
        .abs()
        .mean()
        .item()
        for steps in (10, 20, 40)
    ]
    assert errors[2] < 0.01
    assert math.log2(errors[0] / errors[1]) > 1.5  # Heun is of the second order


@pytest.mark.parametrize("churn", [0.5, 3.0])
def test_with_churn_a_code_is_not_its_noise_s_and_the_law_is_the_same(
    churn: float, generator: torch.Generator
) -> None:
    points = draw(
        two_moons(2), N, "annealed", churn=churn, steps=128, moves=0, generator=generator
    ).points
    assert (
        standard_errors(points, two_moons(2).sample(100_000, generator=generator)).abs().max() < 4
    )
    still = draw(two_moons(2), N, "annealed", steps=128, moves=0, generator=seeded()).points
    assert (points[:100] - still[:100]).norm(dim=1).mean() > 0.5


class TestMatching:
    """Draws brought to the mean and the covariance of real codes."""

    def test_the_weights_are_the_ratio_of_two_gaussians(self, generator: torch.Generator) -> None:
        # The least tilt from N(0, I) to the moments of N(m, S) is their ratio, which is of this family.
        wanted = GaussianMixture(
            torch.ones(1), torch.tensor([[0.3, -0.2]]), torch.tensor([[0.8, 1.1]])
        )
        points = torch.randn(40_000, 2, generator=generator)
        found = matching(
            points, wanted.sample(400_000, generator=generator), cells=1, generator=generator
        )
        assert found is not None
        exact = wanted.log_prob(points) - StandardNormal(2).log_prob(points)
        inside = points.norm(dim=1) < 2
        torch.testing.assert_close(
            (found - exact)[inside] - (found - exact)[inside].mean(),
            0 * found[inside],
            atol=0.1,
            rtol=0,
        )

    def test_draws_have_the_moments_of_the_codes(self, generator: torch.Generator) -> None:
        codes = CLUSTERS.sample(20_000, generator=generator) * torch.tensor([1.1, 0.9]) + 0.1
        draws = draw(CLUSTERS, N, "annealed", codes=codes, generator=generator)
        assert standard_errors(draws.points, codes).abs().max() < 3
        assert len(draws.points.unique(dim=0)) > 0.95 * N
        unmatched = draw(CLUSTERS, N, "annealed", generator=generator).points
        assert standard_errors(unmatched, codes).abs().max() > 5

    def test_draws_have_the_shares_of_the_codes_where_moments_do_not_tell_them(
        self, generator: torch.Generator
    ) -> None:
        # Four clusters in a row: no quadratic tilt makes every other one rare.
        means = torch.tensor([[-3.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
        even, uneven = (
            GaussianMixture(torch.tensor(shares), means, torch.full((4, 2), 0.2))
            for shares in ([0.25, 0.25, 0.25, 0.25], [0.1, 0.4, 0.1, 0.4])
        )
        codes = uneven.sample(20_000, generator=generator)
        points = draw(even, N, "annealed", codes=codes, generator=generator).points
        shares = torch.cdist(points, means).argmin(dim=1).bincount(minlength=4) / N
        torch.testing.assert_close(shares, torch.tensor([0.1, 0.4, 0.1, 0.4]), atol=0.03, rtol=0)

    def test_a_cell_without_draws_is_left_out(self, generator: torch.Generator) -> None:
        points, codes = (
            torch.randn(4_000, 2, generator=generator),
            torch.randn(8_000, 2, generator=generator),
        )
        codes[:20] += 9
        assert matching(points, codes, cells=20, generator=generator) is not None

    def test_few_draws_and_wishes_are_not_matched(self) -> None:
        codes = CLUSTERS.sample(20_000, generator=seeded()) + 0.5
        for n, wishes in ((10, {}), (100, {"temperature": 0.5})):
            with_codes, without = (
                draw(CLUSTERS, n, "annealed", generator=seeded(), **given, **wishes).points
                for given in ({"codes": codes}, {})
            )
            assert torch.equal(with_codes, without)

    def test_moments_out_of_reach_are_said_to_be_so(self, generator: torch.Generator) -> None:
        with pytest.warns(UserWarning, match="no weights bring their mean"):
            draw(CLUSTERS, N, "annealed", codes=50 + torch.randn(500, 2), generator=generator)


class TestWishes:
    @pytest.mark.parametrize("sampler", ["importance", "mala", "hmc", "annealed"])
    @pytest.mark.parametrize("temperature", [0.5, 1.4])
    def test_a_gaussian_at_a_temperature_has_its_variance_as_often(
        self, sampler: str, temperature: float, generator: torch.Generator
    ) -> None:
        world = GaussianMixture(
            torch.ones(1), torch.tensor([[0.3, -0.2]]), torch.tensor([[0.6, 0.9]])
        )
        points = quiet(
            world,
            N,
            sampler,
            temperature=temperature,
            **BRIEF.get(sampler, {}),
            generator=generator,
        ).points
        torch.testing.assert_close(
            points.var(dim=0), temperature * world.scales[0] ** 2, rtol=0.12, atol=0
        )
        torch.testing.assert_close(points.mean(dim=0), world.means[0], atol=0.06, rtol=0)

    @pytest.mark.parametrize("sampler", ["importance", "mala", "hmc", "annealed", "auto"])
    def test_near_a_code_a_gaussian_is_the_product_of_two(
        self, sampler: str, generator: torch.Generator
    ) -> None:
        code, width = torch.tensor([0.6, 0.2]), 0.5
        world = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[0.6, 0.9]]))
        precision = world.scales[0] ** -2 + width**-2
        points = quiet(
            world, N, sampler, near=code, width=width, **BRIEF.get(sampler, {}), generator=generator
        ).points
        torch.testing.assert_close(
            points.mean(dim=0), code * width**-2 / precision, atol=0.05, rtol=0
        )
        torch.testing.assert_close(points.var(dim=0), 1 / precision, rtol=0.12, atol=0)

    @pytest.mark.parametrize("sampler", ["importance", "rejection", "mala", "hmc", "annealed"])
    def test_where_weighs_the_density(self, sampler: str, generator: torch.Generator) -> None:
        above = {"where": lambda z: torch.where(z[:, 1] > 0.4, 0.0, -math.inf)}
        draws = quiet(CLUSTERS, N, sampler, **above, **BRIEF.get(sampler, {}), generator=generator)
        real = CLUSTERS.sample(400_000, generator=generator)
        assert (draws.points[:, 1] > 0.4).all()
        assert standard_errors(draws.points[:, 1:], real[real[:, 1] > 0.4][:, 1:]).abs().max() < 4.5

    def test_a_soft_weight_shifts_the_shares(self, generator: torch.Generator) -> None:
        # g = sigmoid(k z_0) gives the cluster on the right nearly all of the draws.
        points = draw(
            CLUSTERS,
            N,
            "annealed",
            where=lambda z: torch.nn.functional.logsigmoid(4 * z[:, 0]),
            generator=generator,
        ).points
        real = CLUSTERS.sample(400_000, generator=generator)
        kept = real[torch.rand(len(real), generator=generator) < torch.sigmoid(4 * real[:, 0])]
        assert (points[:, 0] > 0).float().mean().item() == pytest.approx(
            (kept[:, 0] > 0).float().mean().item(), abs=0.01
        )

    def test_baselines_know_no_wishes(self, generator: torch.Generator) -> None:
        with pytest.raises(UserError, match="does not look at the density"):
            draw(CLUSTERS, 5, "prior", temperature=0.5, generator=generator)


class TestBaselines:
    def test_prior_draws_are_the_prior_s(self, generator: torch.Generator) -> None:
        points = draw(CLUSTERS, 5_000, "prior", generator=generator).points
        assert points.std().item() == pytest.approx(1, abs=0.03)

    def test_a_mixture_is_that_of_the_codes_whatever_the_density(
        self, generator: torch.Generator
    ) -> None:
        codes = CLUSTERS.sample(20_000, generator=generator) + 3
        points = draw(
            StandardNormal(2), N, "mixture", codes=codes, components=2, generator=generator
        ).points
        assert standard_errors(points, codes).abs().max() < 4

    def test_a_flow_learns_the_codes(self, generator: torch.Generator) -> None:
        codes = CLUSTERS.sample(5_000, generator=generator) + 3
        state = torch.random.get_rng_state()
        points = draw(
            CLUSTERS, 2_000, "flow", codes=codes, training=200, hidden=32, generator=generator
        ).points
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.testing.assert_close(points.mean(dim=0), codes.mean(dim=0), atol=0.15, rtol=0)
        torch.testing.assert_close(points.std(dim=0), codes.std(dim=0), atol=0.15, rtol=0)

    def test_without_zuko_it_says_so(
        self, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "zuko", None)
        with pytest.raises(UserError, match=r"pip install latent-atlas\[flow\]"):
            draw(CLUSTERS, 5, "flow", codes=torch.zeros(5, 2), generator=generator)


class TestHonesty:
    def test_importance_says_when_its_weights_collapse(self, generator: torch.Generator) -> None:
        far = GaussianMixture(torch.ones(1), torch.full((1, 8), 1.0), torch.tensor([0.2]))
        with pytest.warns(UserWarning, match="weights collapse"):
            draws = draw(far, 500, "importance", generator=generator)
        assert draws.info["effective_samples"] < 100
        assert draws.notes[0].startswith("importance weights collapse")

    @pytest.mark.parametrize("sampler", ["mala", "hmc"])
    def test_chains_that_do_not_mix_say_so(self, sampler: str, generator: torch.Generator) -> None:
        apart = two_clusters(2, distance=12.0, scale=0.4)
        with pytest.warns(UserWarning, match="have not mixed"):
            draws = draw(apart, 200, sampler, warmup=100, thin=2, generator=generator)
        assert draws.info["converged"] == 0
        assert draws.info["r_hat"] > 1.5
        assert draws.info["effective_samples"] < 50
        assert (draws.points[:, 0] > 0).float().mean().item() == pytest.approx(
            0.5, abs=0.12
        )  # the starts' shares

    def test_chains_that_mix_say_nothing(self, generator: torch.Generator) -> None:
        info = draw(correlated_gaussian(8, 1.0), 200, "hmc", warmup=100, generator=generator).info
        assert info["converged"] == 1
        assert info["acceptance"] == pytest.approx(0.8, abs=0.06)

    def test_the_step_is_the_warm_up_s(self) -> None:
        infos = [
            draw(
                StandardNormal(4), n, "mala", chains=50, warmup=60, thin=2, generator=seeded()
            ).info
            for n in (50, 9_000)
        ]
        assert infos[0]["step"] == infos[1]["step"]

    def test_rejection_refuses_what_it_cannot_afford(self, generator: torch.Generator) -> None:
        far = GaussianMixture(torch.ones(1), torch.full((1, 16), 1.0), torch.tensor([0.2]))
        with pytest.raises(
            UserError, match=r"proposals for each draw .* choose importance, annealed"
        ):
            draw(far, 10, "rejection", generator=generator)

    def test_rejection_costs_the_bound(self, generator: torch.Generator) -> None:
        # q = N(0, s² I), p = N(0, I): the highest ratio is s^-d, and so many proposals make a draw.
        narrow = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([0.3]))
        info = draw(narrow, 10_000, "rejection", generator=generator).info
        assert info["log_bound"] == pytest.approx(-2 * math.log(0.3), abs=0.03)
        assert info["acceptance"] == pytest.approx(0.09, rel=0.05)

    def test_a_bound_that_does_not_hold_is_told(self, generator: torch.Generator) -> None:
        with pytest.warns(UserWarning, match="bound was exceeded"):
            draw(CLUSTERS, 100, "rejection", bound=0.5, generator=generator)

    def test_chains_start_from_real_codes_where_they_are_given(
        self, generator: torch.Generator
    ) -> None:
        apart = two_clusters(2, distance=12.0, scale=0.4)
        left = apart.means[:1] + 0.1 * torch.randn(50, 2, generator=generator)
        points = quiet(
            apart, 100, "mala", codes=left, warmup=50, thin=1, generator=generator
        ).points
        assert (points[:, 0] < 0).all()


def test_every_sampler_repeats_under_the_same_generator() -> None:
    small = {name: {"warmup": 20, "thin": 1} for name in ("ula", "mala", "hmc")}
    small |= {"mixture": {"components": 2}, "flow": {"training": 3, "hidden": 8}}
    codes = CLUSTERS.sample(500, generator=seeded(3))
    for sampler in SAMPLERS:
        options = small.get(sampler, {}) | (
            {"codes": codes} if "codes" in options_of(sampler) else {}
        )
        first, again, other = (
            quiet(CLUSTERS, 20, sampler, generator=seeded(s), **options).points for s in (1, 1, 2)
        )
        assert first.shape == (20, 2)
        assert torch.equal(first, again), sampler
        assert not torch.equal(first, other), sampler


def test_auto_takes_what_there_is(generator: torch.Generator) -> None:
    assert "levels" in draw(CLUSTERS, 5, generator=generator).info
    assert "effective_share" in draw(correlated_gaussian(2, 0.1), 5, generator=generator).info
    assert (
        "r_hat"
        in quiet(
            CLUSTERS, 5, "auto", near=torch.zeros(2), **BRIEF["mala"], generator=generator
        ).info
    )


def test_a_density_ratio_is_drawn_from_where_its_boundary_is(generator: torch.Generator) -> None:
    boundary = GaussianMixture(torch.ones(1), torch.full((1, 2), 30.0), torch.tensor([2.0]))
    population = GaussianMixture(torch.ones(1), torch.full((1, 2), 31.0), torch.tensor([1.0]))
    points = draw(ExactRatio(population, boundary), N, "rejection", generator=generator).points
    assert (
        standard_errors(points - 31, population.sample(50_000, generator=generator) - 31)
        .abs()
        .max()
        < 4
    )


@pytest.mark.parametrize(
    ("sampler", "options", "sentence"),
    [
        ("wish", {}, "no sampler 'wish'; choose auto, annealed"),
        ("importance", {"n": 0}, "0 samples were asked for"),
        (
            "importance",
            {"steps": 3},
            "sampler 'importance' has no option 'steps'; it has proposals",
        ),
        ("prior", {"steps": 3}, "it has none"),
        ("importance", {"proposals": 0}, "0 proposals"),
        ("mixture", {}, "was given no codes"),
        ("mixture", {"codes": torch.zeros(5, 3)}, r"finite and of shape \(m, 2\)"),
        ("mala", {"codes": torch.zeros(5, 3)}, r"finite and of shape \(m, 2\)"),
        ("mala", {"warmup": 2}, "warmup is 2; choose 10 or more"),
        ("hmc", {"chains": 0}, "chains is 0"),
        ("annealed", {"steps": 0}, "steps is 0"),
        ("annealed", {"churn": -1.0}, "churn is -1.0"),
        ("annealed", {"temperature": 0.0}, "the temperature is 0.0; choose a number above 0"),
        ("annealed", {"temperature": math.nan}, "the temperature is nan"),
        ("mala", {"near": torch.zeros(3)}, r"near is a code of shape \(2,\)"),
        ("mala", {"near": torch.zeros(2), "width": -1.0}, "the width is -1.0"),
        ("importance", {"where": lambda z: z}, r"where must give \(n,\)"),
        (
            "importance",
            {"where": lambda z: torch.full_like(z[:, 0], -math.inf)},
            "none of 250 proposals",
        ),
        (
            "annealed",
            {"where": lambda z: torch.full_like(z[:, 0], -math.inf)},
            "none of 50 proposals",
        ),
    ],
)
def test_bad_requests_get_one_sentence(
    sampler: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        draw(CLUSTERS, **{"n": 5, "sampler": sampler, "generator": seeded(), **options})
    assert "\n" not in str(refused.value)
