"""Every boundary against quadrature in the plane, its own draws, and codes that it has to refuse."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from command_line import latent_atlas
from latent_atlas.boundary import (
    BetweenBoundary,
    Boundary,
    BoxBoundary,
    GaussianBoundary,
    GaussianMixtureBoundary,
    KernelBoundary,
    LowDensityBoundary,
    MixtureBoundary,
    PriorBoundary,
    fit_boundary,
    load_boundary,
)
from latent_atlas.cli.commands.train import NO_DENSITY
from latent_atlas.config import BOUNDARIES, MapConfig
from latent_atlas.density.base import gradient
from latent_atlas.density.moments import cholesky
from latent_atlas.density.toys import GaussianMixture, two_clusters
from latent_atlas.errors import UserError

WORLD = two_clusters(2, distance=3.0)
PARTS = "prior 1, box 2, low-density 1, gaussian-mixture 2"
DENSITIES = [name for name in BOUNDARIES if name != "between"]  # which has no log-density
AFFINE = ("prior", "gaussian-diagonal", "gaussian")
STEP = 0.08
AXIS = torch.arange(-8, 8, STEP) + STEP / 2
GRID = torch.cartesian_prod(AXIS, AXIS)


def seeded(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(name: str, codes: Tensor, **settings: Any) -> Boundary:
    return fit_boundary(
        MapConfig(boundary=name, parts=PARTS, **settings), codes, generator=seeded()
    )


@pytest.fixture(scope="module")
def codes() -> Tensor:
    """Two clusters, turned so that the coordinates depend on each other, away from 0."""
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    return WORLD.sample(1_500, generator=seeded(1)) @ turn + torch.tensor([0.5, -0.5])


@pytest.fixture(scope="module")
def all_fitted(codes: Tensor) -> dict[str, Boundary]:
    return {name: fitted(name, codes) for name in BOUNDARIES}


@pytest.fixture(params=DENSITIES)
def boundary(request: pytest.FixtureRequest, all_fitted: dict[str, Boundary]) -> Boundary:
    return all_fitted[request.param]


@pytest.fixture(scope="module")
def masses(all_fitted: dict[str, Boundary]) -> dict[str, Tensor]:
    """Each boundary's probability of every cell of the grid."""
    return {
        name: made.log_prob(GRID).exp() * STEP**2
        for name, made in all_fitted.items()
        if made.has_log_prob
    }


def test_a_density_integrates_to_one(boundary: Boundary, masses: dict[str, Tensor]) -> None:
    # The edges of box and outskirts cut through cells of the grid.
    cut = 0.02 if boundary.name in ("box", "low-density", "mixture") else 1e-3
    assert masses[boundary.name].sum().item() == pytest.approx(1, abs=cut)


def test_draws_fall_where_the_density_says(
    boundary: Boundary, masses: dict[str, Tensor], generator: torch.Generator
) -> None:
    draws, mass = boundary.sample(40_000, generator=generator), masses[boundary.name]
    shares = [
        torch.zeros(8, 8).index_put_(
            tuple(((places + 8) / 2).long().clamp(0, 7).T), weights, accumulate=True
        )
        for places, weights in ((draws, torch.full((40_000,), 1 / 40_000)), (GRID, mass))
    ]
    assert (shares[0] - shares[1]).abs().sum() < 0.05
    moments = (mass[:, None] * GRID**2).sum(dim=0) / mass.sum()
    torch.testing.assert_close(draws.square().mean(dim=0), moments, rtol=0.03, atol=0.03)


def test_ratios_to_a_known_density_average_to_one(
    boundary: Boundary, generator: torch.Generator
) -> None:
    """E_r[q / r] = 1 for any q within the support of r: in a cluster, or, where codes are refused, beside them."""
    place, scale = ((-0.22, 0.46), 0.12) if boundary.name == "low-density" else ((1.7, 0.4), 0.3)
    q = GaussianMixture(torch.ones(1), torch.tensor([place]), torch.tensor([scale]))
    assert boundary.log_prob(q.sample(2_000, generator=generator)).isfinite().all()
    draws = boundary.sample(40_000, generator=generator)
    weights = (q.log_prob(draws) - boundary.log_prob(draws)).exp()
    error = (weights.std() / len(weights) ** 0.5).item()
    assert error < 0.05
    assert weights.mean().item() == pytest.approx(1, abs=4 * error)


def test_draws_have_a_density(boundary: Boundary, generator: torch.Generator) -> None:
    assert boundary.log_prob(boundary.sample(2_000, generator=generator)).isfinite().all()


def test_score_is_the_gradient_of_log_prob(boundary: Boundary, generator: torch.Generator) -> None:
    density, step = boundary, 1e-5
    z = boundary.sample(50, generator=generator).double()
    slopes = [
        (density.log_prob(z + step * a) - density.log_prob(z - step * a)) / (2 * step)
        for a in torch.eye(2)
    ]
    torch.testing.assert_close(
        density.score(z), torch.stack(slopes, dim=1).to(z), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(
        density.score(z), gradient(density.log_prob, z), rtol=1e-4, atol=1e-4
    )


def test_score_is_finite_far_away(boundary: Boundary) -> None:
    far = torch.tensor([[300.0, -300.0], [0.5, -0.5]])
    assert boundary.score(far).isfinite().all()
    assert not boundary.log_prob(far).isnan().any()


def test_a_boundary_survives_its_tensors(boundary: Boundary, generator: torch.Generator) -> None:
    tensors = boundary.tensors()
    assert all(value.is_floating_point() for value in tensors.values())
    again = load_boundary(boundary.name, 2, dict(sorted(tensors.items(), reverse=True)))
    assert type(again) is type(boundary)
    assert (again.dimension, again.warning) == (2, boundary.warning)
    assert torch.equal(
        again.sample(50, generator=seeded()), boundary.sample(50, generator=seeded())
    )
    z = torch.randn(50, 2, generator=generator)
    assert torch.equal(again.log_prob(z), boundary.log_prob(z))


def test_fits_repeat_under_the_same_generator(boundary: Boundary, codes: Tensor) -> None:
    for name, value in fitted(boundary.name, codes).tensors().items():
        assert torch.equal(value, boundary.tensors()[name])


def test_a_name_alone_fits_with_the_usual_settings(codes: Tensor) -> None:
    alone = fit_boundary("radius", codes, generator=seeded())
    assert torch.equal(
        alone.sample(5, generator=seeded()), fitted("radius", codes).sample(5, generator=seeded())
    )
    assert alone.warning is None


@pytest.mark.parametrize("name", AFFINE)
def test_whitening_is_affine_and_exact(
    name: str, codes: Tensor, all_fitted: dict[str, Boundary]
) -> None:
    boundary = all_fitted[name]
    z = codes[:100]
    torch.testing.assert_close(boundary.unwhiten(boundary.whiten(z)), z, rtol=1e-5, atol=1e-5)
    white = boundary.whiten(z)
    expected = -0.5 * white.square().sum(dim=1) - math.log(2 * math.pi) - boundary.log_scale
    torch.testing.assert_close(boundary.log_prob(z), expected)
    jacobian = boundary.unwhiten(torch.eye(2)) - boundary.unwhiten(torch.zeros(2, 2))
    assert boundary.log_scale == pytest.approx(jacobian.det().abs().log().item(), abs=1e-5)


def test_whitened_codes_have_the_moments_of_the_prior(
    codes: Tensor, all_fitted: dict[str, Boundary]
) -> None:
    for name in ("gaussian-diagonal", "gaussian"):
        boundary = all_fitted[name]
        white = boundary.whiten(codes)
        torch.testing.assert_close(white.mean(dim=0), torch.zeros(2), rtol=0, atol=1e-4)
        torch.testing.assert_close(white.var(dim=0), torch.ones(2), rtol=0, atol=1e-2)
        correlated = abs(torch.corrcoef(white.T)[0, 1].item())
        assert correlated < 0.01 if name == "gaussian" else correlated > 0.5


def test_the_prior_is_made_without_codes() -> None:
    z = torch.randn(4, 3, generator=seeded())
    assert PriorBoundary(3).whiten(z) is z
    assert (PriorBoundary(3).log_scale, PriorBoundary(3).dimension) == (0.0, 3)


def test_the_box_holds_every_code_and_the_margin(codes: Tensor) -> None:
    low, high = codes.amin(dim=0), codes.amax(dim=0)
    for margin in (0.0, 0.1, 0.5):
        box = fitted("box", codes, box_margin=margin)
        assert isinstance(box, BoxBoundary)
        torch.testing.assert_close(box.low, low - margin * (high - low), rtol=0, atol=1e-4)
        torch.testing.assert_close(box.high, high + margin * (high - low), rtol=0, atol=1e-4)
        assert box.log_prob(codes).isfinite().all()
    outside = high + 0.51 * (high - low)
    assert box.log_prob(outside[None]).item() == -math.inf
    assert box.warning is None


def test_the_box_warns_once_it_dwarfs_the_population() -> None:
    notes = [fitted("box", torch.randn(2_000, d, generator=seeded())).warning for d in (10, 40)]
    assert notes[0] is None
    assert notes[1] is not None
    assert notes[1].startswith("in 40 dimensions the box has e^")
    assert "choose another boundary" in notes[1]


def test_the_box_s_excess_is_a_divergence() -> None:
    """For Gaussian codes KL(q || r) = log V - h(q), with h the entropy, wherever the box holds them."""
    box = fitted("box", 3 * torch.randn(5_000, 2, generator=seeded()) + 7)
    assert isinstance(box, BoxBoundary)
    entropy = math.log(2 * math.pi * math.e) + 2 * math.log(3)
    assert box.excess.item() == pytest.approx(
        (box.high - box.low).log().sum().item() - entropy, abs=0.05
    )


def test_the_radius_is_the_distance_to_the_tenth_neighbour_of_a_hundred() -> None:
    line = (
        torch.arange(100.0)[:, None] / 10
    )  # five neighbours at either side: the tenth is 0.5 away
    boundary = fitted("radius", line)
    assert isinstance(boundary, KernelBoundary)
    assert boundary.radius.item() == pytest.approx(0.5)


def test_repeated_codes_do_not_shrink_the_radius() -> None:
    line = torch.arange(100.0)[:, None] / 10
    boundary = fitted("radius", line.repeat(12, 1))
    assert isinstance(boundary, KernelBoundary)
    assert boundary.radius.item() == pytest.approx(0.5)


def test_the_radius_is_found_for_codes_far_from_zero() -> None:
    line = 1_000 + torch.arange(200.0)[:, None] / 10
    boundary = fitted("radius", line)
    assert isinstance(boundary, KernelBoundary)
    assert boundary.radius.item() == pytest.approx(0.5, abs=1e-3)
    z = line[:50] + 0.2
    exact = (
        torch.distributions.Normal(boundary.centres.double().T, 0.5)
        .log_prob(z.double())
        .logsumexp(dim=1)
    )
    torch.testing.assert_close(
        boundary.log_prob(z).double(), exact - math.log(len(line)), rtol=0, atol=0.01
    )


@pytest.mark.parametrize("dimension", [1, 2, 30])
def test_displacements_have_the_radius_asked_for(
    dimension: int, generator: torch.Generator
) -> None:
    codes = 1_000 * torch.randn(20, dimension, generator=generator)
    draws = fitted("radius", codes, radius=2.0).sample(20_000, generator=generator)
    lengths = torch.cdist(draws, codes, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    assert lengths.square().mean().sqrt().item() == pytest.approx(2, rel=0.02)
    assert (lengths < 4).float().mean() > 0.95


def test_many_codes_are_represented_by_some(generator: torch.Generator) -> None:
    boundary = fitted("radius", torch.randn(9_000, 2, generator=generator), radius=0.5)
    assert isinstance(boundary, KernelBoundary)
    assert boundary.centres.shape == (2_000, 2)
    assert boundary.log_prob(GRID[::4]).exp().sum().item() * 4 * STEP**2 == pytest.approx(
        1, abs=0.01
    )


@pytest.mark.parametrize(("setting", "share"), [(None, 0.05), (0.3, 0.3)])
def test_the_outskirts_hold_a_quantile_of_new_codes(
    setting: float | None, share: float, codes: Tensor
) -> None:
    boundary = fitted("low-density", codes, quantile=setting)
    assert isinstance(boundary, LowDensityBoundary)
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    fresh = WORLD.sample(20_000, generator=seeded(9)) @ turn + torch.tensor([0.5, -0.5])
    inside = boundary.log_prob(fresh).isfinite().float().mean().item()
    assert inside == pytest.approx(share, abs=0.04)


def test_the_outskirts_say_how_well_they_are_normalised(codes: Tensor) -> None:
    boundary = fitted("low-density", codes)
    assert isinstance(boundary, LowDensityBoundary)
    share = boundary.acceptance.item()
    assert 0.1 < share < 0.6
    assert boundary.warning is not None
    assert (
        f"from 100000 proposals, with a relative standard error of {((1 - share) / share / 1e5) ** 0.5:.2%}"
        in (boundary.warning)
    )
    draws = boundary.proposal.sample(100_000, generator=seeded(8))
    again = boundary.accepts(draws).float().mean().item()
    assert again == pytest.approx(share, abs=5 * (share * (1 - share) / 1e5) ** 0.5)


def test_outskirts_that_no_proposal_meets_are_refused(generator: torch.Generator) -> None:
    codes = torch.randn(30_000, 1, generator=generator)
    with pytest.raises(UserError, match=r"only 0\.\d\d% of the proposals .* raise map.quantile"):
        fitted("low-density", codes, quantile=1e-4)


def test_as_many_gaussians_are_fitted_as_there_are_clusters(
    codes: Tensor, generator: torch.Generator
) -> None:
    two = fitted("gaussian-mixture", codes)
    one = fitted("gaussian-mixture", torch.randn(2_000, 2, generator=generator))
    assert isinstance(two, GaussianMixtureBoundary)
    assert isinstance(one, GaussianMixtureBoundary)
    assert (len(two.weights), len(one.weights)) == (2, 1)
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    fresh = WORLD.sample(5_000, generator=seeded(9))
    apart = WORLD.log_prob(fresh) - two.log_prob(fresh @ turn + torch.tensor([0.5, -0.5]))
    assert 0 <= apart.mean().item() < 0.02


def test_clusters_are_found_in_many_dimensions(generator: torch.Generator) -> None:
    apart = 3.0 * (torch.rand(2_000, 1, generator=generator) < 0.5)
    mixture = fitted("gaussian-mixture", apart + torch.randn(2_000, 32, generator=generator))
    assert isinstance(mixture, GaussianMixtureBoundary)
    torch.testing.assert_close(mixture.weights, torch.full((2,), 0.5), rtol=0, atol=0.05)


def test_one_gaussian_is_the_gaussian(generator: torch.Generator) -> None:
    codes = torch.randn(500, 3, generator=generator) @ torch.randn(3, 3, generator=generator) + 4
    one, gaussian = (fitted(name, codes) for name in ("gaussian-mixture", "gaussian"))
    z = codes[:50]
    torch.testing.assert_close(one.log_prob(z), gaussian.log_prob(z), rtol=1e-3, atol=1e-3)


def test_the_mixture_weighs_its_parts(codes: Tensor, all_fitted: dict[str, Boundary]) -> None:
    settings = MapConfig(boundary="mixture", parts="gaussian 3, prior 1")
    mixture = fit_boundary(settings, codes, generator=seeded())
    assert mixture.warning is None
    expected = 0.75 * all_fitted["gaussian"].log_prob(GRID).exp()
    expected += 0.25 * all_fitted["prior"].log_prob(GRID).exp()
    torch.testing.assert_close(mixture.log_prob(GRID).exp(), expected)


def test_the_mixture_draws_its_parts_in_proportion() -> None:
    near, far = (GaussianBoundary(torch.full((1,), place), torch.eye(1)) for place in (0.0, 100.0))
    far.name = "elsewhere"  # pyright: ignore[reportAttributeAccessIssue] - a part is known by its name
    draws = MixtureBoundary([near, far], torch.tensor([0.8, 0.2])).sample(
        20_000, generator=seeded()
    )
    assert (draws < 50).float().mean().item() == pytest.approx(0.8, abs=0.015)


def test_the_mixture_passes_on_the_warnings_of_its_parts(all_fitted: dict[str, Boundary]) -> None:
    warning = all_fitted["mixture"].warning
    assert warning == f"part 'low-density': {all_fitted['low-density'].warning}"


class Silent(PriorBoundary):
    """A boundary without a density."""

    name = "silent"

    def __init__(self) -> None:
        super().__init__(2)
        self.has_log_prob = False


def test_the_mixture_has_no_log_density_where_a_part_has_none(generator: torch.Generator) -> None:
    mixture = MixtureBoundary([PriorBoundary(2), Silent()], torch.tensor([0.5, 0.5]))
    assert not mixture.has_log_prob
    assert mixture.warning == "log r is unknown because part 'silent' has no log-density"
    with pytest.raises(UserError, match="part 'silent' has no log-density"):
        mixture.log_prob(torch.zeros(1, 2))
    assert mixture.sample(5, generator=generator).shape == (5, 2)


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize(("count", "dimension"), [(10, 1), (12, 24)])
def test_few_codes_in_many_dimensions_are_enough(name: str, count: int, dimension: int) -> None:
    codes = torch.randn(count, dimension, generator=seeded(2))
    boundary = fitted(name, codes)
    draws = boundary.sample(100, generator=seeded())
    assert draws.shape == (100, dimension)
    assert boundary.log_prob(draws).isfinite().all()


@pytest.mark.parametrize("name", DENSITIES)
def test_constant_and_dependent_coordinates_are_no_obstacle(
    name: str, generator: torch.Generator
) -> None:
    free = torch.randn(300, 2, generator=generator)
    codes = torch.cat([free, torch.full((300, 1), 1_000.0), free[:, :1] - free[:, 1:]], dim=1)
    boundary = fitted(name, codes)
    draws = boundary.sample(200, generator=generator)
    log_prob = boundary.log_prob
    assert draws.isfinite().all()
    assert log_prob(draws).isfinite().all()
    assert not log_prob(codes).isnan().any()
    if (
        name != "prior" and name != "mixture"
    ):  # the prior, itself or as a part, knows of no constant
        assert (draws[:, 2] - 1_000).abs().max() < 5


@pytest.mark.parametrize("name", sorted({*DENSITIES} - {"prior"}))
def test_a_boundary_follows_codes_that_live_elsewhere(name: str, codes: Tensor) -> None:
    """r of shifted and stretched codes is r shifted and stretched."""
    parts = "box 1, gaussian-mixture 1"  # without the prior, which stays where it is
    here, there = (
        fit_boundary(MapConfig(boundary=name, parts=parts), places, generator=seeded())
        for places in (codes, 8 * codes + 40)
    )
    z, moved = here.sample(500, generator=seeded()), there.sample(500, generator=seeded())
    torch.testing.assert_close(8 * z.mean(dim=0) + 40, moved.mean(dim=0), rtol=0, atol=0.2)
    log_prob = here.log_prob(z) - 2 * math.log(8)
    agrees = (there.log_prob(8 * z + 40) - log_prob).abs() < 0.02
    assert agrees.float().mean() > 0.98  # a draw on an edge may fall on the other side


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (torch.randn(50), r"codes must have shape \(n, d\); these have \(50,\)"),
        (torch.randn(50, 2, 1), r"codes must have shape \(n, d\); these have \(50, 2, 1\)"),
        (torch.randn(50, 0), r"codes must have shape \(n, d\); these have \(50, 0\)"),
        (torch.randn(9, 2), "a boundary needs at least 10 codes; there are 9"),
        (torch.eye(20).log(), "20 of 20 codes are not finite, the first at row 0"),
        (
            torch.ones(20, 2).index_fill(0, torch.tensor([7]), math.nan),
            "1 of 20 codes are not finite, .* row 7",
        ),
        (torch.ones(20, 2), "all 20 codes are equal"),
    ],
    ids=["vector", "cube", "nothing", "few", "infinite", "nan", "equal"],
)
def test_codes_that_fit_no_boundary_get_one_sentence(
    name: str, codes: Tensor, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        fitted(name, codes)


def test_codes_without_distances_between_them_have_no_radius() -> None:
    codes = torch.full((12, 2), 1e-30)
    codes[0] = 0
    with pytest.raises(UserError, match="the 12 codes have no distances between them"):
        fitted("radius", codes)
    assert fitted("radius", codes, radius=1.0).sample(3, generator=seeded()).shape == (3, 2)


def test_unknown_names_and_foreign_tensors_are_refused(all_fitted: dict[str, Boundary]) -> None:
    codes = torch.randn(50, 2, generator=seeded())
    with pytest.raises(UserError, match="no boundary 'moat'; choose prior, box"):
        fit_boundary("moat", codes, generator=seeded())
    with pytest.raises(UserError, match="no boundary 'moat'; choose prior, box"):
        load_boundary("moat", 2, {})
    for name in set(BOUNDARIES) - {"prior"}:
        with pytest.raises(
            UserError, match=f"boundary '{name}' cannot be rebuilt from nothing; fit the map again"
        ):
            load_boundary(name, 2, {})
    with pytest.raises(UserError, match="boundary 'gaussian' has 2 dimensions, not 3"):
        load_boundary("gaussian", 3, all_fitted["gaussian"].tensors())


def test_fakes_between_lie_on_the_line_and_on_the_turn_of_two_codes(
    generator: torch.Generator,
) -> None:
    """Of the codes at (0, 0), (4, 0) and (2, 6), whose mean is (2, 2)."""
    codes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.0, 6.0]])
    draws = BetweenBoundary(codes).sample(30_000, generator=generator)
    low = (draws[:, 1].abs() < 1e-5) & (draws[:, 0] > 0.1) & (draws[:, 0] < 3.9)
    assert low.float().mean().item() == pytest.approx(1 / 9, abs=0.01)  # 2 of 9 pairs, halved
    assert draws[low, 0].min().item() == pytest.approx(0.4, abs=0.02)  # a tenth of the way
    assert draws[low, 0].mean().item() == pytest.approx(2, abs=0.05)
    # On their turn all places are as far from the mean as both of them: sqrt(8) away.
    apart = (draws - codes.mean(dim=0)).norm(dim=1)
    turned = ((apart - 8**0.5).abs() < 1e-5) & (torch.cdist(draws, codes).amin(dim=1) > 0.1)
    assert turned.float().mean().item() == pytest.approx(1 / 9, abs=0.01)


def test_between_has_no_log_density(codes: Tensor, all_fitted: dict[str, Boundary]) -> None:
    with pytest.raises(
        UserError, match="boundary 'between' has no log-density: its density is an integral"
    ):
        all_fitted["between"].log_prob(codes)
    again = load_boundary("between", 2, all_fitted["between"].tensors())
    assert torch.equal(
        again.sample(50, generator=seeded()), all_fitted["between"].sample(50, generator=seeded())
    )
    for name, value in fitted("between", codes).tensors().items():
        assert torch.equal(value, all_fitted["between"].tensors()[name])
    mixed = fit_boundary(
        MapConfig(boundary="mixture", parts="prior 1, between 1"), codes, generator=seeded()
    )
    assert not mixed.has_log_prob
    assert mixed.covers
    with pytest.raises(UserError, match="'mixture' has no log-density: log r is unknown because"):
        mixed.log_prob(codes)


def test_train_refuses_the_boundaries_that_give_no_density(
    all_fitted: dict[str, Boundary], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = {name for name, r in all_fitted.items() if not (r.has_log_prob and r.covers)}
    assert without == set(NO_DENSITY)
    out = tmp_path / "run"
    for name in without:
        assert (
            latent_atlas("train", "digits", "--out", str(out), "--set", f"map.boundary={name}") == 2
        )
        assert f"boundary '{name}' gives no log-density" in capsys.readouterr().err
    assert not out.exists()


def test_in_many_coordinates_long_codes_count_as_much_as_short_ones() -> None:
    """Σ of a Student t of two degrees of freedom, up to its scale, against the sample covariance."""
    d, random = 80, torch.Generator().manual_seed(0)
    spreads = torch.arange(1, d + 1).double().rsqrt()
    chi = torch.randn(2_000, 2, generator=random).square().sum(dim=1, keepdim=True)
    codes = torch.randn(2_000, d, generator=random) * spreads / chi.sqrt()
    mean, factor = cholesky(codes)

    def error(covariance: Tensor) -> Tensor:
        """KL between Gaussians of these covariances and of the exact one, both of one volume."""
        relative = covariance / spreads / spreads[:, None]
        volume = torch.linalg.slogdet(relative).logabsdet / d
        return 0.5 * (torch.linalg.inv(relative).trace() * volume.exp() - d)

    assert error(factor @ factor.T) < 0.1 * error(codes.double().T.cov())
    assert mean.abs().max() < 0.2
    white = torch.linalg.solve_triangular(factor, (codes - mean).T, upper=False)
    assert white.square().sum(dim=0).mean() == pytest.approx(d)


@pytest.mark.parametrize("n", [1, 5])
def test_codes_of_many_coordinates_that_are_all_the_same_have_a_narrow_density(n: int) -> None:
    mean, factor = cholesky(torch.ones(n, 100))
    assert torch.equal(mean, torch.ones(100).double())
    assert (factor.diagonal() > 0).all()
    assert factor.diagonal().max() < 1e-4


def test_codes_that_span_half_of_many_coordinates_keep_their_variance_there() -> None:
    codes = torch.nn.functional.pad(torch.randn(4_000, 50, generator=torch.manual_seed(0)), (0, 50))
    factor = cholesky(codes)[1]
    torch.testing.assert_close(factor.diagonal()[:50].float(), torch.ones(50), atol=0.1, rtol=0)
