"""Every sampler against densities with known samples, under conditions, and when it fails."""

import math
import sys
import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, distributions

from latent_atlas.boundary.gaussian import GaussianBoundary
from latent_atlas.config import MapConfig
from latent_atlas.config.parse import settings_of, with_values
from latent_atlas.density.base import Density, ExactRatio, SamplableDensity, StandardNormal
from latent_atlas.density.toys import GaussianMixture, correlated_gaussian, two_clusters, two_moons
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.sampling import (
    HMC,
    MALA,
    SAMPLERS,
    ULA,
    Diffusion,
    Flow,
    Importance,
    Mixture,
    Rejection,
    Sampler,
    Samples,
    TorchDistribution,
    draw,
)
from latent_atlas.sampling.entropy_balancing import matching
from latent_atlas.sampling.registry import sampler_for

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
CONSISTENT = ("importance", "rejection", "mala", "hmc", "diffusion", "smc")
LONG: dict[str, Sampler] = {
    "importance": Importance(proposals=400),
    "mala": MALA(chains=2_000, warmup=60, thin=1),
    "hmc": HMC(chains=2_000, warmup=30, thin=1),
}
BRIEF: dict[str, Sampler] = {
    "ula": ULA(chains=500, warmup=50, thin=2),
    "mala": MALA(chains=500, warmup=50, thin=2),
    "hmc": HMC(chains=500, warmup=30, thin=1),
}
N = 2_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quiet(
    density: Density,
    n: int,
    sampler: str | Sampler,
    *,
    generator: torch.Generator,
    **conditions: Any,
) -> Samples:
    """Samples whose warnings are not the subject of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return draw(density, n, sampler, generator=generator, **conditions)


def standard_errors(points: Tensor, real: Tensor) -> Tensor:
    """Differences of the means of z, z² and neighbours' products, in standard errors."""
    moments = [torch.cat([z, z.square(), z[:, :-1] * z[:, 1:]], dim=1) for z in (points, real)]
    errors = sum(m.var(dim=0) / len(m) for m in moments)
    return (moments[0].mean(dim=0) - moments[1].mean(dim=0)) / torch.as_tensor(errors).sqrt()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("sampler", CONSISTENT)
def test_draws_have_the_moments_of_the_world(
    sampler: str, world: str, generator: torch.Generator
) -> None:
    q = WORLDS[world]
    if sampler == "diffusion" and not q.noise_levels:
        with pytest.raises(UserError, match="noise levels, and this one has none"):
            draw(q, N, sampler, generator=generator)
        return
    if sampler == "rejection" and world in ("correlated", "wide"):
        with pytest.raises(UserError, match="proposals for each sample"):
            draw(q, N, sampler, generator=generator)
        return
    points = quiet(q, N, LONG.get(sampler, sampler), generator=generator).points
    assert standard_errors(points, q.sample(100_000, generator=generator)).abs().max() < 4
    log_probs = [q.log_prob(z)[:, None] for z in (points, q.sample(100_000, generator=generator))]
    assert standard_errors(*log_probs).abs().max() < 4


def test_ula_is_near_but_too_wide(generator: torch.Generator) -> None:
    draws = quiet(StandardNormal(4), N, BRIEF["ula"], generator=generator)
    assert 1.02 < draws.points.var().item() < 1.2
    assert draws.info.acceptance == pytest.approx(0.95, abs=0.02)


def test_the_effective_share_is_one_over_the_mean_squared_weight(
    generator: torch.Generator,
) -> None:
    # For q against p, n / Σ w² tends to 1 / E_p[(q / p)²]; by quadrature in two dimensions.
    axis = torch.linspace(-6, 6, 481)
    grid = torch.cartesian_prod(axis, axis)
    prior = StandardNormal(2)
    second = (2 * CLUSTERS.log_prob(grid) - prior.log_prob(grid)).exp().sum().item() * 0.025**2
    share = draw(CLUSTERS, N, "importance", generator=generator).info.effective_share
    assert share == pytest.approx(1 / second, rel=0.05)


@pytest.fixture(scope="module")
def far() -> tuple[Tensor, LatentMap]:
    """Codes far from the prior, and their map against a boundary that is where they are."""
    codes = CLUSTERS.sample(3_000, generator=seeded()) * torch.tensor([5.0, 0.2]) + 50
    config = MapConfig(
        width=32, depth=1, steps=200, learning_rate=4e-3, ema=0.98, boundary="gaussian-diagonal"
    )
    return codes, LatentMap.fit(codes, config=config, generator=seeded())


@pytest.mark.parametrize("sampler", [Importance(), Diffusion(), Diffusion(moves=0)])
def test_a_map_is_drawn_from_where_its_boundary_is(
    sampler: Sampler, far: tuple[Tensor, LatentMap], generator: torch.Generator
) -> None:
    codes, latent_map = far
    points = draw(latent_map, 1_000, sampler, generator=generator).points
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
        (draw(WIDE, 500, Diffusion(steps=steps, moves=0), generator=seeded()).points - exact)
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
    churned = Diffusion(churn=churn, steps=128, moves=0)
    points = draw(two_moons(2), N, churned, generator=generator).points
    assert (
        standard_errors(points, two_moons(2).sample(100_000, generator=generator)).abs().max() < 4
    )
    still = draw(two_moons(2), N, Diffusion(steps=128, moves=0), generator=seeded()).points
    assert (points[:100] - still[:100]).norm(dim=1).mean() > 0.5


class TestMatching:
    """Draws brought to the mean and the covariance of real codes."""

    def test_the_weights_are_the_ratio_of_two_gaussians(self, generator: torch.Generator) -> None:
        # The least tilt from N(0, I) to the moments of N(m, S) is their ratio, which is of this
        # family.
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
        draws = draw(CLUSTERS, N, Diffusion(codes=codes), generator=generator)
        assert standard_errors(draws.points, codes).abs().max() < 3
        assert len(draws.points.unique(dim=0)) > 0.95 * N
        unmatched = draw(CLUSTERS, N, Diffusion(), generator=generator).points
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
        points = draw(even, N, Diffusion(codes=codes), generator=generator).points
        shares = torch.cdist(points, means).argmin(dim=1).bincount(minlength=4) / N
        torch.testing.assert_close(shares, torch.tensor([0.1, 0.4, 0.1, 0.4]), atol=0.03, rtol=0)

    def test_a_cell_without_draws_is_left_out(self, generator: torch.Generator) -> None:
        points, codes = (
            torch.randn(4_000, 2, generator=generator),
            torch.randn(8_000, 2, generator=generator),
        )
        codes[:20] += 9
        assert matching(points, codes, cells=20, generator=generator) is not None

    @pytest.mark.parametrize(("n", "temperature"), [(10, 1.0), (100, 0.5)])
    def test_few_samples_and_other_targets_are_not_matched(
        self, n: int, temperature: float
    ) -> None:
        codes = CLUSTERS.sample(20_000, generator=seeded()) + 0.5
        with_codes, without = (
            draw(CLUSTERS, n, sampler, temperature=temperature, generator=seeded()).points
            for sampler in (Diffusion(codes=codes), Diffusion())
        )
        assert torch.equal(with_codes, without)

    def test_moments_out_of_reach_are_said_to_be_so(self, generator: torch.Generator) -> None:
        with pytest.warns(UserWarning, match="no weights give them the mean"):
            draw(CLUSTERS, N, Diffusion(codes=50 + torch.randn(500, 2)), generator=generator)


class TestConditions:
    @pytest.mark.parametrize("sampler", ["importance", "mala", "hmc", "diffusion"])
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
            BRIEF.get(sampler, sampler),
            temperature=temperature,
            generator=generator,
        ).points
        torch.testing.assert_close(
            points.var(dim=0), temperature * world.scales[0] ** 2, rtol=0.12, atol=0
        )
        torch.testing.assert_close(points.mean(dim=0), world.means[0], atol=0.06, rtol=0)

    @pytest.mark.parametrize("sampler", ["importance", "mala", "hmc", "diffusion"])
    def test_near_a_code_a_gaussian_is_the_product_of_two(
        self, sampler: str, generator: torch.Generator
    ) -> None:
        code, width = torch.tensor([0.6, 0.2]), 0.5
        world = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[0.6, 0.9]]))
        precision = world.scales[0] ** -2 + width**-2
        points = quiet(
            world, N, BRIEF.get(sampler, sampler), near=code, width=width, generator=generator
        ).points
        torch.testing.assert_close(
            points.mean(dim=0), code * width**-2 / precision, atol=0.05, rtol=0
        )
        torch.testing.assert_close(points.var(dim=0), 1 / precision, rtol=0.12, atol=0)

    @pytest.mark.parametrize("sampler", ["importance", "rejection", "mala", "hmc", "diffusion"])
    def test_where_weighs_the_density(self, sampler: str, generator: torch.Generator) -> None:
        above = {"where": lambda z: torch.where(z[:, 1] > 0.4, 0.0, -math.inf)}
        draws = quiet(CLUSTERS, N, BRIEF.get(sampler, sampler), **above, generator=generator)
        real = CLUSTERS.sample(400_000, generator=generator)
        assert (draws.points[:, 1] > 0.4).all()
        assert standard_errors(draws.points[:, 1:], real[real[:, 1] > 0.4][:, 1:]).abs().max() < 4.5

    def test_a_soft_weight_shifts_the_shares(self, generator: torch.Generator) -> None:
        # g = sigmoid(k z_0) gives the cluster on the right nearly all of the draws.
        points = draw(
            CLUSTERS,
            N,
            "diffusion",
            where=lambda z: torch.nn.functional.logsigmoid(4 * z[:, 0]),
            generator=generator,
        ).points
        real = CLUSTERS.sample(400_000, generator=generator)
        kept = real[torch.rand(len(real), generator=generator) < torch.sigmoid(4 * real[:, 0])]
        assert (points[:, 0] > 0).float().mean().item() == pytest.approx(
            (kept[:, 0] > 0).float().mean().item(), abs=0.01
        )

    def test_baselines_have_no_conditions(self, generator: torch.Generator) -> None:
        with pytest.raises(UserError, match="does not use the density"):
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
            StandardNormal(2), N, Mixture(codes=codes, components=2), generator=generator
        ).points
        assert standard_errors(points, codes).abs().max() < 4

    def test_a_flow_learns_the_codes(self, generator: torch.Generator) -> None:
        codes = CLUSTERS.sample(5_000, generator=generator) + 3
        state = torch.random.get_rng_state()
        points = draw(
            CLUSTERS, 2_000, Flow(codes=codes, training=200, hidden=32), generator=generator
        ).points
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.testing.assert_close(points.mean(dim=0), codes.mean(dim=0), atol=0.15, rtol=0)
        torch.testing.assert_close(points.std(dim=0), codes.std(dim=0), atol=0.15, rtol=0)

    def test_without_zuko_it_says_so(
        self, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "zuko", None)
        with pytest.raises(UserError, match=r"pip install latent-atlas\[flow\]"):
            draw(CLUSTERS, 5, Flow(codes=torch.zeros(5, 2)), generator=generator)


class TestWarnings:
    def test_importance_says_when_its_weights_collapse(self, generator: torch.Generator) -> None:
        far = GaussianMixture(torch.ones(1), torch.full((1, 8), 1.0), torch.tensor([0.2]))
        with pytest.warns(UserWarning, match="weights collapse"):
            draws = draw(far, 500, "importance", generator=generator)
        assert draws.info.effective_sample_size < 100
        assert draws.warnings[0].startswith("the importance weights collapse")

    @pytest.mark.parametrize("kind", [MALA, HMC])
    def test_chains_that_do_not_converge_warn(
        self, kind: type[MALA | HMC], generator: torch.Generator
    ) -> None:
        apart = two_clusters(2, distance=12.0, scale=0.4)
        with pytest.warns(UserWarning, match="have not converged"):
            draws = draw(apart, 200, kind(warmup=100, thin=2), generator=generator)
        assert draws.info.converged is False
        assert draws.info.r_hat > 1.5
        assert draws.info.effective_sample_size < 50
        assert (draws.points[:, 0] > 0).float().mean().item() == pytest.approx(
            0.5, abs=0.12
        )  # the starts' shares

    def test_chains_that_converge_do_not_warn(self, generator: torch.Generator) -> None:
        info = draw(correlated_gaussian(8, 1.0), 200, HMC(warmup=100), generator=generator).info
        assert info.converged
        assert info.acceptance == pytest.approx(0.8, abs=0.06)

    def test_the_step_is_the_warm_up_s(self) -> None:
        infos = [
            draw(StandardNormal(4), n, MALA(chains=50, warmup=60, thin=2), generator=seeded()).info
            for n in (50, 9_000)
        ]
        assert infos[0].step_size == infos[1].step_size

    def test_rejection_refuses_what_it_cannot_afford(self, generator: torch.Generator) -> None:
        far = GaussianMixture(torch.ones(1), torch.full((1, 16), 1.0), torch.tensor([0.2]))
        with pytest.raises(
            UserError, match=r"proposals for each sample .* choose importance, diffusion"
        ):
            draw(far, 10, "rejection", generator=generator)

    def test_rejection_costs_the_bound(self, generator: torch.Generator) -> None:
        # q = N(0, s² I), p = N(0, I): the highest ratio is s^-d, and so many proposals make a draw.
        narrow = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([0.3]))
        info = draw(narrow, 10_000, "rejection", generator=generator).info
        assert info.log_bound == pytest.approx(-2 * math.log(0.3), abs=0.03)
        assert info.acceptance == pytest.approx(0.09, rel=0.05)

    def test_a_bound_that_does_not_hold_is_told(self, generator: torch.Generator) -> None:
        with pytest.warns(UserWarning, match="bound was exceeded"):
            draw(CLUSTERS, 100, Rejection(bound=0.5), generator=generator)

    def test_chains_start_from_real_codes_where_they_are_given(
        self, generator: torch.Generator
    ) -> None:
        apart = two_clusters(2, distance=12.0, scale=0.4)
        left = apart.means[:1] + 0.1 * torch.randn(50, 2, generator=generator)
        points = quiet(apart, 100, MALA(codes=left, warmup=50, thin=1), generator=generator).points
        assert (points[:, 0] < 0).all()


def test_every_sampler_repeats_under_the_same_generator() -> None:
    codes = CLUSTERS.sample(500, generator=seeded(3))
    small: dict[str, dict[str, Any]] = {
        "diffusion": {"codes": codes},
        "smc": {"particles": 100, "codes": codes},
        **{name: {"warmup": 20, "thin": 1, "codes": codes} for name in ("ula", "mala", "hmc")},
        "mixture": {"components": 2, "codes": codes},
        "flow": {"training": 3, "hidden": 8, "codes": codes},
    }
    for name, kind in SAMPLERS.items():
        sampler = kind(**small.get(name, {}))
        first, again, other = (quiet(CLUSTERS, 20, sampler, generator=seeded(s)) for s in (1, 1, 2))
        assert first.points.shape == (20, 2)
        assert first.info.sampler == name
        assert torch.equal(first.points, again.points), name
        assert not torch.equal(first.points, other.points), name


def test_auto_takes_what_there_is(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SAMPLERS, "mala", partial(MALA, warmup=10, thin=1))
    with_levels, without = CLUSTERS, correlated_gaussian(2, 0.1)
    assert draw(with_levels, 5, generator=generator).info.sampler == "diffusion"
    assert draw(without, 5, generator=generator).info.sampler == "smc"
    near = quiet(with_levels, 5, "auto", near=torch.zeros(2), generator=generator)
    assert near.info.sampler == "mala"


def test_settings_are_parsed_by_their_fields() -> None:
    parsed = with_values(MALA(), {"warmup": "20", "thin": "2"}, called="sampler 'mala'")
    assert parsed == MALA(warmup=20, thin=2)
    for kind in SAMPLERS.values():
        assert "codes" not in settings_of(kind)  # an array is no text


def test_info_has_only_what_the_sampler_knows(generator: torch.Generator) -> None:
    info = draw(CLUSTERS, 50, Diffusion(steps=8, moves=0), generator=generator).info
    assert info.known() == {"sampler": "diffusion", "flow_steps": 8}
    assert info.r_hat is None


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
    ("sampler", "given", "sentence"),
    [
        ("annealing", {}, "no sampler 'annealing'; choose auto, diffusion"),
        ("importance", {"n": 0}, "0 samples were asked for"),
        ("mixture", {}, "fitted to real codes, and none were given"),
        (Mixture(codes=torch.zeros(50, 3)), {}, r"give finite codes of shape \(m, 2\)"),
        (MALA(codes=torch.zeros(5, 3)), {}, r"give finite codes of shape \(m, 2\)"),
        (Diffusion(codes=torch.zeros(5, 3)), {}, r"give finite codes of shape \(m, 2\)"),
        ("diffusion", {"temperature": 0.0}, "the temperature is 0.0; choose a number above 0"),
        ("diffusion", {"temperature": math.nan}, "the temperature is nan"),
        ("mala", {"near": torch.zeros(3)}, r"give one code of shape \(2,\)"),
        ("mala", {"near": torch.zeros(2), "width": -1.0}, "the width is -1.0"),
        ("importance", {"where": lambda z: z}, "it must give one number for each code"),
        (
            "importance",
            {"where": lambda z: torch.full_like(z[:, 0], -math.inf)},
            "none of 250 proposals",
        ),
        (
            "diffusion",
            {"where": lambda z: torch.full_like(z[:, 0], -math.inf)},
            "none of 50 proposals",
        ),
    ],
)
def test_bad_requests_get_one_sentence(
    sampler: str | Sampler, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        draw(CLUSTERS, given.pop("n", 5), sampler, generator=seeded(), **given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        (
            "importance",
            {"steps": 3},
            "sampler 'importance' has no setting 'steps'; it has proposals",
        ),
        ("prior", {"steps": 3}, "it has no settings"),
        ("mala", {"codes": 3}, "has no setting 'codes'; it has chains, warmup, thin"),
        ("importance", {"proposals": 0}, "proposals is 0; choose 1 or more"),
        ("mala", {"warmup": 2}, "warmup is 2; choose 10 or more"),
        ("hmc", {"chains": 0}, "chains is 0"),
        ("hmc", {"leaps": 0}, "leaps is 0"),
        ("smc", {"particles": 99}, "particles is 99; choose 100 or more"),
        ("smc", {"moves": 0}, "moves is 0"),
        ("smc", {"width": 0.0}, "width is 0.0; choose a number above 0"),
        ("ula", {"thin": 0}, "thin is 0"),
        ("diffusion", {"steps": 0}, "steps is 0"),
        ("diffusion", {"steps": "many"}, "steps is 'many'; expected a whole number"),
        ("diffusion", {"churn": -1.0}, "churn is -1.0"),
        ("flow", {"training": 0}, "training is 0"),
    ],
)
def test_bad_settings_get_one_sentence(name: str, values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        with_values(SAMPLERS[name](), values, called=f"sampler '{name}'")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("noise_levels", "has_log_prob", "name"),
    [(True, True, "diffusion"), (True, False, "auto"), (False, True, "auto")],
)
def test_the_default_sampler_needs_what_the_density_has(
    noise_levels: bool, has_log_prob: bool, name: str
) -> None:
    """Diffusion moves samples by a score, which a map without log q does not have."""
    density = StandardNormal(2)
    density.noise_levels, density.has_log_prob = noise_levels, has_log_prob
    assert sampler_for(density).name == name


def test_a_boundary_is_a_distribution_of_torch() -> None:
    mean = torch.tensor([3.0, 0.0], requires_grad=True)
    factor = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    ours = TorchDistribution(GaussianBoundary(mean, factor), generator=seeded())
    exact = distributions.MultivariateNormal(mean, scale_tril=factor)
    z = exact.sample((4, 3))
    torch.testing.assert_close(ours.log_prob(z), exact.log_prob(z))
    assert ours.event_shape == exact.event_shape
    assert ours.sample().shape == (2,)
    assert not ours.sample((5,)).requires_grad
    drawn = ours.rsample((20_000, 1))
    torch.testing.assert_close(drawn.detach()[:, 0].T.cov(), factor @ factor.T, atol=0.1, rtol=0.05)
    # The gradient of E f(z), f(z) = |z|² / 2, in the mean is E z.
    (slope,) = torch.autograd.grad(drawn.square().sum(dim=2).mean() / 2, mean)
    torch.testing.assert_close(slope, mean.detach(), atol=0.05, rtol=0.05)


def test_a_map_is_a_distribution_that_a_sampler_draws_from() -> None:
    q = TorchDistribution(
        ExactRatio(CLUSTERS, StandardNormal(2)), sampler="importance", generator=seeded()
    )
    assert not q.has_rsample
    with pytest.raises(NotImplementedError, match="samples of ExactRatio have no gradient"):
        q.rsample((2,))
    drawn = q.sample((500, 4))
    assert drawn.shape == (500, 4, 2)
    wanted = CLUSTERS.sample(20_000, generator=seeded(1))
    torch.testing.assert_close(drawn.flatten(0, 1).T.cov(), wanted.T.cov(), atol=0.1, rtol=0.1)
    # The transforms of torch work on it.
    moved = distributions.TransformedDistribution(
        q, distributions.AffineTransform(1.0, 2.0, event_dim=1)
    )
    z = torch.tensor([[0.5, -0.3]])
    torch.testing.assert_close(moved.log_prob(1 + 2 * z), CLUSTERS.log_prob(z) - 2 * math.log(2))
