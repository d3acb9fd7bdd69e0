"""The learned map against an exact world, its sign, and what it says of bad codes."""

import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from latent_atlas import LatentMap
from latent_atlas.boundary import BetweenBoundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import ExactRatio, StandardNormal, gradient
from latent_atlas.density.gaussian_mixture import GaussianMixture
from latent_atlas.density.toys.clusters import two_clusters
from latent_atlas.density.toys.radial import Shell, StudentT
from latent_atlas.density_ratio import calibration, train
from latent_atlas.density_ratio import fit as fitting
from latent_atlas.density_ratio.train import Training
from latent_atlas.errors import UserError
from latent_atlas.nn.latent_discriminator import LatentDiscriminator
from latent_atlas.nn.mixture_reference import MixtureReference
from latent_atlas.runs import read_tensors, write_tensors

WORLD = two_clusters(2, distance=2.4, scale=0.4)
SMALL = MapConfig(
    width=32, depth=2, steps=150, batch_size=256, learning_rate=8e-3, weight_decay=1e-3, ema=0.95
)
FAR = GaussianMixture(WORLD.weights, 5 + 3 * WORLD.means, 3 * WORLD.scales[:, None].expand(2, 2))
TINY = MapConfig(width=16, depth=1, steps=30, batch_size=128)


def fit(codes: torch.Tensor, **options: object) -> LatentMap:
    return LatentMap.fit(codes, config=SMALL, generator=torch.Generator().manual_seed(3), **options)


@pytest.fixture(scope="module", params=[1, None], ids=["one level", "levels"])
def learned(request: pytest.FixtureRequest) -> LatentMap:
    return fit(
        WORLD.sample(3_000, generator=torch.Generator().manual_seed(1)), levels=request.param
    )


@pytest.fixture(scope="module")
def places() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.cat(
        [WORLD.sample(500, generator=generator), StandardNormal(2).sample(500, generator=generator)]
    )


def test_log_prob_agrees_with_the_exact_world(learned: LatentMap, places: torch.Tensor) -> None:
    ranks = [
        values.argsort().argsort().float()
        for values in (learned.log_prob(places), WORLD.log_prob(places))
    ]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.96


def test_log_prob_is_in_nats_on_the_population(
    learned: LatentMap, generator: torch.Generator
) -> None:
    real = WORLD.sample(2_000, generator=generator)
    assert (learned.log_prob(real) - WORLD.log_prob(real)).mean().abs().item() < 0.15


def test_score_points_where_the_exact_score_does(
    learned: LatentMap, generator: torch.Generator
) -> None:
    real = WORLD.sample(2_000, generator=generator)
    cosine = torch.nn.functional.cosine_similarity(learned.score(real), WORLD.score(real)).mean()
    assert cosine > 0.85


def test_realness_is_the_optimal_discriminator_s(learned: LatentMap, places: torch.Tensor) -> None:
    exact = ExactRatio(WORLD, StandardNormal(2)).realness(places)
    assert (learned.realness(places) - exact).abs().mean() < 0.08


def test_real_codes_are_real_and_the_void_between_them_is_fake(learned: LatentMap) -> None:
    realness = learned.realness(torch.tensor([[1.2, 0.0], [-1.2, 0.0], [0.0, 0.0], [0.0, 2.5]]))
    assert (realness[:2] > 0.5).all()
    assert (realness[2:] < 0.5).all()


def test_a_map_of_the_prior_itself_cannot_tell(generator: torch.Generator) -> None:
    flat = fit(StandardNormal(2).sample(3_000, generator=generator))
    inside = StandardNormal(2).sample(500, generator=generator)
    assert (flat.realness(inside) - 0.5).abs().mean() < 0.06
    assert flat.confusion(inside).mean() > 0.97


def test_typicality_of_real_codes_is_uniform(
    learned: LatentMap, generator: torch.Generator
) -> None:
    typicality = learned.typicality(WORLD.sample(4_000, generator=generator))
    quantiles = torch.quantile(typicality, torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), atol=0.05, rtol=0)
    assert learned.typicality(torch.tensor([[9.0, 9.0]])).item() == 0


def test_floor_is_the_quantile_of_held_out_codes(
    learned: LatentMap, generator: torch.Generator
) -> None:
    real = WORLD.sample(4_000, generator=generator)
    outside = (learned.log_prob(real) < learned.threshold(0.05)).float().mean().item()
    assert outside == pytest.approx(0.05, abs=0.025)


def test_calibration_finds_a_good_map_honest(learned: LatentMap) -> None:
    exact_kl = ExactRatio(WORLD, StandardNormal(2)).logit(
        WORLD.sample(50_000, generator=torch.Generator().manual_seed(8))
    )
    assert learned.calibration.normalising_constant == pytest.approx(1, abs=0.15)
    assert learned.calibration.log_normalising_constant == pytest.approx(0, abs=0.15)
    assert learned.calibration.kl == pytest.approx(exact_kl.mean().item(), abs=0.15)
    assert "calibrated" in learned.calibration.verdict()


def test_fit_is_the_same_under_the_same_generator() -> None:
    codes = WORLD.sample(300, generator=torch.Generator().manual_seed(1))
    z = torch.zeros(1, 2)
    assert torch.equal(fit(codes, steps=10).log_prob(z), fit(codes, steps=10).log_prob(z))


def test_a_map_that_is_watched_is_the_same_and_was_seen_before(places: torch.Tensor) -> None:
    """Seen at the check whose weights are kept, the last member's, the map lacks nothing but its constant."""
    codes = WORLD.sample(600, generator=torch.Generator().manual_seed(1))
    config = replace(TINY, check_every=10, ensemble_size=2)
    steps, losses, seen = [], [], []

    def log(entry: dict[str, float]) -> None:
        steps.append(entry["step"])
        losses.append(entry["held_out_loss"])

    def watch(so_far: LatentMap) -> None:
        assert len(seen) == len(steps)  # before it is told of
        seen.append(so_far.log_prob(places))

    alone, watched = (
        LatentMap.fit(codes, config=config, generator=torch.Generator().manual_seed(3), **options)
        for options in ({}, {"log": log, "watch": watch})
    )
    assert torch.equal(watched.log_prob(places), alone.log_prob(places))
    assert steps == [10, 20, 30] * 2
    best = min(range(len(losses) - 3, len(losses)), key=losses.__getitem__)
    differences = watched.log_prob(places) - seen[best]
    torch.testing.assert_close(
        differences, differences.mean().expand(len(places)), atol=1e-4, rtol=0
    )
    assert (seen[-1] - seen[-2]).std() > 1e-3  # it grows


def test_the_middle_of_a_hollow_population_is_known_to_be_empty(generator: torch.Generator) -> None:
    world = Shell(8, radius=2.2, width=0.3)
    hollow = fit(world.sample(3_000, generator=generator))
    middle = 0.4 * world.sample(
        1_000, generator=generator
    )  # no code of the population or the boundary is ever there
    assert (hollow.log_prob(middle) < hollow.threshold(0.05)).float().mean() > 0.9
    assert (hollow.score(middle) * middle).sum(dim=1).median() > 0  # outwards


@pytest.mark.parametrize("angle", [0.3, 0.8])
def test_each_level_is_the_map_of_the_noised_population(learned: LatentMap, angle: float) -> None:
    if learned.calibration.levels == 1:
        with pytest.raises(UserError, match="single level"):
            learned.at(angle)
        return
    scales = (math.cos(angle) ** 2 * WORLD.scales**2 + math.sin(angle) ** 2).sqrt()
    noised = GaussianMixture(WORLD.weights, math.cos(angle) * WORLD.means, scales)
    z = noised.sample(2_000, generator=torch.Generator().manual_seed(6))
    level = learned.at(angle)
    assert (level.log_prob(z) - noised.log_prob(z)).abs().mean() < 0.2
    assert torch.nn.functional.cosine_similarity(level.score(z), noised.score(z)).mean() > 0.97


def test_gradients_of_realness_are_those_of_autograd_at_every_level(
    learned: LatentMap, places: torch.Tensor
) -> None:
    versions = [learned, learned.normalised()]
    if learned.noise_levels:
        versions += [learned.at(0.5), learned.noised(0.5)]
    codes = torch.cat([places[:40], places[-40:]])
    for version in versions:
        for found, function in (
            (version.realness_gradient(codes), version.realness),
            (
                version.log_realness_gradient(codes),
                lambda z, level=version: level.realness(z).log(),
            ),
        ):
            torch.testing.assert_close(found, gradient(function, codes), rtol=1e-3, atol=1e-4)
    double = learned.realness_gradient(codes.double())
    assert double.dtype == torch.float64  # that of the codes, as of every gradient


@pytest.mark.parametrize("width", [0.3, 1.0])
def test_a_blurred_map_is_that_of_the_blurred_population(learned: LatentMap, width: float) -> None:
    if not learned.noise_levels:
        with pytest.raises(UserError, match="single level"):
            learned.noised(width)
        return
    exact, noised = WORLD.noised(width), learned.noised(width)
    z = exact.sample(2_000, generator=torch.Generator().manual_seed(6))
    assert (noised.log_prob(z) - exact.log_prob(z)).abs().mean() < 0.2
    assert torch.nn.functional.cosine_similarity(noised.score(z), exact.score(z)).mean() > 0.97
    real = exact.log_prob(WORLD.sample(4_000, generator=torch.Generator().manual_seed(7)))
    assert noised.threshold(0.2) == pytest.approx(torch.quantile(real, 0.2).item(), abs=0.15)


def test_a_blur_of_no_width_is_the_map_itself(learned: LatentMap, places: torch.Tensor) -> None:
    torch.testing.assert_close(learned.noised(0.0).log_prob(places), learned.log_prob(places))
    with pytest.raises(UserError, match="choose 0 or more"):
        learned.noised(-0.1)


def test_a_blur_is_as_wide_as_the_boundary_s_coordinates(generator: torch.Generator) -> None:
    far = fit(FAR.sample(3_000, generator=generator), boundary="gaussian-diagonal")
    z = FAR.sample(1_000, generator=generator)
    assert far.calibration.kl < 3
    assert (
        far.log_prob(z) - FAR.log_prob(z)
    ).abs().mean() < 0.4  # without log|det dz/dw| it would be 1.2
    spread = FAR.sample(20_000, generator=generator).std(dim=0)
    exact = GaussianMixture(
        FAR.weights, FAR.means, (FAR.scales.square() + (0.5 * spread).square()).sqrt()
    )
    z = exact.sample(2_000, generator=generator)
    assert (far.noised(0.5).log_prob(z) - exact.log_prob(z)).abs().mean() < 0.2


def test_there_is_no_level_beyond_pure_noise(learned: LatentMap) -> None:
    for angle in (-0.1, math.pi / 2):
        with pytest.raises(UserError, match=r"choose 0 to below π/2"):
            learned.at(angle)


def test_a_normalised_map_integrates_to_one(learned: LatentMap) -> None:
    axis = torch.linspace(-5, 5, 161)
    grid = torch.cartesian_prod(axis, axis)
    area = (axis[1] - axis[0]).item() ** 2
    whole = (learned.log_prob(grid).exp() * area).sum().log().item()
    assert learned.calibration.log_normalising_constant == pytest.approx(whole, abs=0.05)
    assert (learned.normalised().log_prob(grid).exp() * area).sum().item() == pytest.approx(
        1, abs=0.05
    )
    torch.testing.assert_close(
        learned.normalised().typicality(grid), learned.typicality(grid), atol=0.01, rtol=0
    )


def test_realness_comes_from_the_calibrated_logit(learned: LatentMap, places: torch.Tensor) -> None:
    c = learned.calibration
    expected = torch.sigmoid(c.scale * learned.logit(places) + c.shift)
    torch.testing.assert_close(learned.realness(places), expected)
    assert (c.scale, c.shift) != (1, 0)


def test_codes_far_from_the_prior_are_mapped_against_a_reference(
    generator: torch.Generator,
) -> None:
    stretch = torch.tensor([[5.0, 0.0], [0.05, 0.05]])
    codes = WORLD.sample(3_000, generator=generator) @ stretch.T + torch.tensor([40.0, -7.0])
    learned = fit(codes, boundary="gaussian")
    assert learned.calibration.kl < 3
    z = codes[:1000]
    exact = WORLD.log_prob(
        (z - torch.tensor([40.0, -7.0])) @ torch.linalg.inv(stretch).T
    ) - math.log(5 * 0.05)
    assert (
        learned.log_prob(z) - exact
    ).abs().mean() < 0.4  # without log|det dz/dw| it would be 1.4


@pytest.mark.parametrize("name", ["box", "radius", "mixture", "gaussian-mixture"])
def test_a_map_against_any_boundary_with_a_density_is_the_same_map(
    name: str, places: torch.Tensor
) -> None:
    learned = fit(WORLD.sample(1_500, generator=torch.Generator().manual_seed(1)), boundary=name)
    real = WORLD.sample(1_000, generator=torch.Generator().manual_seed(9)).clamp(-2.2, 2.2)
    assert (learned.log_prob(real) - WORLD.log_prob(real)).abs().mean() < 0.25
    assert (
        torch.nn.functional.cosine_similarity(learned.score(real), WORLD.score(real)).mean() > 0.8
    )


def test_a_boundary_that_shuns_the_population_has_realness_only(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="alone it gives no log q"):
        learned = fit(
            WORLD.sample(1_500, generator=torch.Generator().manual_seed(1)),
            boundary="low-density",
        )
    z = torch.tensor([[1.2, 0.0], [0.0, 2.5]])
    assert learned.realness(z).tolist() == pytest.approx([1, 0], abs=0.2)
    with pytest.raises(UserError, match="boundary 'low-density' has no log-density for real codes"):
        learned.log_prob(z)
    learned.save(tmp_path / "map.safetensors")
    assert torch.equal(
        LatentMap.load(tmp_path / "map.safetensors").realness(z), learned.realness(z)
    )


def test_d_z_learns_the_ratio_to_points_between_codes(generator: torch.Generator) -> None:
    """Of normal codes: by rotation the ratio depends on |z| alone, so two histograms give it."""
    with pytest.warns(UserWarning, match="integral over all pairs"):
        learned = fit(torch.randn(6_000, 4, generator=generator), boundary="between")
    many = BetweenBoundary(torch.randn(10_000, 4, generator=generator))
    fake = many.sample(400_000, generator=generator).norm(dim=1)
    real = torch.randn(400_000, 4, generator=generator).norm(dim=1)
    edges = torch.linspace(0.8, 2.8, 21)
    exact = (torch.histogram(real, edges).hist / torch.histogram(fake, edges).hist).log()
    middles = (edges[1:] + edges[:-1]) / 2
    places = torch.randn(50, 4, generator=generator)
    places = middles[:, None, None] * torch.nn.functional.normalize(places, dim=1)
    found = torch.stack([learned.logit(z).mean() for z in places])
    assert (found - exact).abs().mean() < 0.1
    assert exact.max() - exact.min() > 0.7


def test_levels_need_a_boundary_that_noise_leaves_alone() -> None:
    codes = WORLD.sample(300, generator=torch.Generator().manual_seed(1))
    with pytest.raises(UserError, match="boundary 'box' has a single level"):
        fit(codes, boundary="box", levels=4)


def test_members_disagree_where_there_are_no_codes(tmp_path: Path) -> None:
    codes = WORLD.sample(1_000, generator=torch.Generator().manual_seed(1))
    learned = LatentMap.fit(
        codes,
        config=replace(SMALL, ensemble_size=3, steps=60, levels=1),
        generator=torch.Generator().manual_seed(3),
    )
    spread = learned.uncertainty(torch.cat([WORLD.means, torch.tensor([[9.0, 9.0], [-9.0, 9.0]])]))
    assert spread[2:].min() > 2 * spread[:2].max()
    learned.save(tmp_path / "map.safetensors")
    z = torch.zeros(1, 2)
    assert torch.equal(
        LatentMap.load(tmp_path / "map.safetensors").uncertainty(z), learned.uncertainty(z)
    )


def test_a_single_member_has_no_spread(learned: LatentMap) -> None:
    assert learned.uncertainty(torch.zeros(1, 2)).item() == 0


def test_spatial_latents_keep_their_shape(tmp_path: Path, generator: torch.Generator) -> None:
    codes = torch.randn(300, 2, 2, 1, generator=generator)
    learned = LatentMap.fit(codes, config=TINY, generator=torch.Generator().manual_seed(3))
    assert (learned.dimension, learned.shape) == (4, (2, 2, 1))
    assert learned.score(codes[:5]).shape == (5, 2, 2, 1)
    assert torch.equal(learned.log_prob(codes[:5]), learned.log_prob(codes[:5].flatten(1)))
    learned.save(tmp_path / "map.safetensors")
    assert LatentMap.load(tmp_path / "map.safetensors").shape == (2, 2, 1)
    with pytest.raises(
        UserError, match=r"codes of this map have shape \(n, 2, 2, 1\); these have \(5, 3\)"
    ):
        learned.log_prob(torch.zeros(5, 3))


def test_overfitting_from_the_start_is_warned_of_and_kept(tmp_path: Path) -> None:
    codes = torch.randn(60, 12, generator=torch.Generator().manual_seed(0))
    config = replace(SMALL, width=64, steps=120, check_every=10, ema=0.9)
    with (
        pytest.warns(
            UserWarning, match=r"D_z overfits: .* lowest (before training|at step).* map\.width"
        ),
        pytest.warns(UserWarning, match="only 60 codes"),
    ):
        learned = LatentMap.fit(codes, config=config, generator=torch.Generator().manual_seed(3))
    learned.save(tmp_path / "map.safetensors")
    kept = LatentMap.load(tmp_path / "map.safetensors")
    assert kept.warnings == learned.warnings
    assert "lowest before training" in kept.warnings[-1]
    fresh = torch.randn(500, 12, generator=torch.Generator().manual_seed(1))
    exact = StandardNormal(12).log_prob(fresh).mean()
    assert abs(kept.log_prob(fresh).mean() - exact) < 3  # that of a Gaussian fitted to 60 codes


def mixture_of(latent_map: LatentMap) -> list[MixtureReference | None]:
    """Where each D_z began; None for a Gaussian."""
    return [cast(LatentDiscriminator, one).mixture for one in latent_map.network.members]


@pytest.mark.parametrize("steps", [20, 250])
@pytest.mark.parametrize("seed", [0, 1])
def test_codes_with_heavy_tails_begin_at_a_scale_mixture(
    steps: int, seed: int, tmp_path: Path
) -> None:
    world, generator = StudentT(8, freedom=5.0), torch.Generator().manual_seed(seed)
    codes, fresh = (world.sample(n, generator=generator) for n in (2_000, 4_000))
    errors = {}
    for reference in (None, "scale-mixture", "gaussian"):
        config = replace(TINY, steps=steps, reference=reference)
        found = LatentMap.fit(codes, config=config, generator=generator, warn=False)
        errors[reference] = (found.log_prob(fresh) - world.log_prob(fresh)).square().mean().sqrt()
        (mixture,) = mixture_of(found)
        assert (mixture is None) == (reference == "gaussian")
        if mixture is not None:
            torch.testing.assert_close(mixture.means, mixture.means[:1].expand_as(mixture.means))
            found.save(tmp_path / "map.safetensors")
            kept = LatentMap.load(tmp_path / "map.safetensors")
            torch.testing.assert_close(kept.log_prob(fresh), found.log_prob(fresh))
            double = found.double().log_prob(fresh.double())
            torch.testing.assert_close(double.float(), found.log_prob(fresh), rtol=1e-4, atol=1e-3)
            assert double.dtype == torch.float64
    assert errors[None] < errors["gaussian"] / 3
    assert errors["scale-mixture"] < errors["gaussian"] / 3


def test_codes_without_tails_begin_at_a_gaussian(generator: torch.Generator) -> None:
    codes = torch.randn(2_000, 8, generator=generator) @ torch.randn(8, 8, generator=generator)
    codes /= codes.std(dim=0)
    found = LatentMap.fit(codes, config=TINY, generator=generator, warn=False)
    assert mixture_of(found) == [None]
    assert not any("trained twice" in sentence for sentence in found.warnings)


def test_members_all_begin_where_the_first_does(
    generator: torch.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[bool, bool]] = []
    true_train = fitting.train_discriminator

    def watched(*given: object, **options: object) -> Training:
        told.append((options["mixture"] is not None, options["alternative"] is not None))
        return true_train(*given, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(fitting, "train_discriminator", watched)
    codes = StudentT(4, freedom=4.0).sample(1_000, generator=generator)
    config = replace(TINY, ensemble_size=3)
    ensemble = LatentMap.fit(codes, config=config, generator=generator, warn=False)
    assert told == [(False, True), (True, False), (True, False)]
    ensemble.save(tmp_path / "map.safetensors")
    kept = LatentMap.load(tmp_path / "map.safetensors")
    torch.testing.assert_close(kept.uncertainty(codes), ensemble.uncertainty(codes))
    told.clear()
    gaussian = torch.randn(1_000, 4, generator=generator)
    LatentMap.fit(gaussian, config=config, generator=generator, warn=False)
    assert told == [(False, True), (False, False), (False, False)]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_map_that_is_worse_than_a_mixture_is_trained_again_from_it(seed: int) -> None:
    """A tenth of the codes lie in a place so narrow that twenty steps do not find it."""
    means = torch.stack([torch.zeros(8), torch.ones(8)])
    world = GaussianMixture(torch.tensor([0.9, 0.1]), means, torch.tensor([1.0, 0.05]))
    generator = torch.Generator().manual_seed(seed)
    codes, fresh = (world.sample(n, generator=generator) for n in (2_000, 4_000))
    lost = {}
    for reference in ("gaussian", None):
        config = replace(TINY, steps=20, reference=reference)
        found = LatentMap.fit(codes, config=config, generator=generator, warn=False)
        lost[reference] = (world.log_prob(fresh) - found.log_prob(fresh)).mean()
        twice = any("trained twice" in sentence for sentence in found.warnings)
        assert twice == (reference is None)
    assert lost[None] < 0.2
    assert lost["gaussian"] > 1


def test_a_second_training_that_diverges_leaves_the_first_map(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = torch.stack([torch.zeros(8), torch.ones(8)])
    world = GaussianMixture(torch.tensor([0.9, 0.1]), means, torch.tensor([1.0, 0.05]))
    steps: list[float] = []
    true_train = fitting.train_discriminator

    def failing(*given: object, **options: object) -> Training:
        found = true_train(*given, **options)  # pyright: ignore[reportArgumentType]
        if options["mixture"] is not None:
            raise UserError("D_z diverged")
        return found

    monkeypatch.setattr(fitting, "train_discriminator", failing)
    found = LatentMap.fit(
        world.sample(2_000, generator=generator),
        config=replace(TINY, steps=20),
        generator=generator,
        log=lambda entry: steps.append(entry["step"]),
        warn=False,
    )
    assert found.log_prob(world.sample(10, generator=generator)).isfinite().all()
    assert steps == [20, 40]  # those of the second training go on from the first
    assert not any("trained twice" in sentence for sentence in found.warnings)


@pytest.mark.parametrize(
    ("first", "kept", "step", "last", "told"),
    [
        (8.0, 7.0, 500, 9.0, False),  # it learned, and was stopped where it no longer did
        (8.0, 8.0, 0, 8.14, False),  # there was nothing to learn
        (8.0, 8.0, 0, 9.5, True),
        (8.0, 7.0, 100, 9.0, True),
    ],
)
def test_overfitting_is_a_loss_that_only_rises(
    first: float, kept: float, step: int, last: float, told: bool
) -> None:
    sentence = Training(0.0, kept, step, first, last).overfitted(check_every=100)
    assert (sentence is not None) == told


def test_what_was_repaired_is_warned_of_and_kept(generator: torch.Generator) -> None:
    codes = torch.randn(100, 2, generator=generator)
    with (
        pytest.warns(UserWarning, match="10 of 110 codes repeat others"),
        pytest.warns(UserWarning, match="only 100"),
    ):
        learned = LatentMap.fit(torch.cat([codes, codes[:10]]), config=TINY, generator=generator)
    assert len(learned.warnings) == 2


@pytest.mark.parametrize("share", [0.0, 1.0, -2.0])
def test_a_held_out_share_is_a_share(share: float, generator: torch.Generator) -> None:
    with pytest.raises(UserError, match="choose a share between 0 and 1"):
        LatentMap.fit(
            torch.randn(300, 2, generator=generator),
            config=TINY,
            held_out=share,
            generator=generator,
        )


def test_held_out_codes_can_be_given(generator: torch.Generator) -> None:
    codes = torch.randn(300, 2, generator=generator)
    learned = LatentMap.fit(
        codes, config=TINY, held_out=Codes(codes[:50] + 30), generator=generator
    )
    assert learned.threshold(0.5) < -100  # judged by what was given, not by a share
    with pytest.raises(UserError, match="held-out codes have 3 coordinates, the others 2"):
        LatentMap.fit(codes, config=TINY, held_out=Codes(torch.zeros(50, 3)), generator=generator)


def test_a_saved_map_answers_the_same(
    learned: LatentMap, places: torch.Tensor, tmp_path: Path
) -> None:
    learned.save(tmp_path / "map.safetensors")
    again = LatentMap.load(tmp_path / "map.safetensors")
    assert torch.equal(again.log_prob(places), learned.log_prob(places))
    assert torch.equal(again.typicality(places), learned.typicality(places))
    assert again.calibration == learned.calibration
    if learned.calibration.levels > 1:
        assert torch.equal(again.at(0.5).score(places), learned.at(0.5).score(places))


def test_maps_answer_in_single_precision_whatever_they_are_asked_in(learned: LatentMap) -> None:
    z = torch.tensor([[0.5, -0.25]])
    torch.testing.assert_close(learned.log_prob(z.double()), learned.log_prob(z))
    torch.testing.assert_close(learned.score(z.double()), learned.score(z).double())


def test_an_unknown_boundary_is_named() -> None:
    with pytest.raises(UserError, match="no boundary 'moat'; choose prior"):
        fit(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), boundary="moat")


def test_a_map_of_another_version_is_refused(learned: LatentMap, tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    learned.save(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {"map": metadata["map"].replace('"format": 4', '"format": 1')})
    with pytest.raises(UserError, match="written by another version"):
        LatentMap.load(path)


def test_a_file_that_is_no_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        LatentMap.load(tmp_path / "map.safetensors")
    (tmp_path / "map.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is damaged"):
        LatentMap.load(tmp_path / "map.safetensors")


def test_the_work_of_a_fit_is_bounded_however_many_codes_there_are(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MOST_SAMPLES", 900)
    monkeypatch.setattr(train, "MOST_MOMENTS", 800)
    monkeypatch.setattr(calibration, "MOST_SAMPLES", 700)
    drawn: list[int] = []
    sample = Codes.sample

    def counted(codes: Codes, n: int, *, generator: torch.Generator) -> torch.Tensor:
        drawn.append(n)
        return sample(codes, n, generator=generator)

    monkeypatch.setattr(Codes, "sample", counted)
    codes = Codes(torch.randn(30_000, 2, generator=generator))
    settings = MapConfig(steps=2, batch_size=16, width=8, depth=1, boundary="gaussian")
    found = LatentMap.fit(codes.means, config=settings, generator=generator, warn=False)
    assert found.calibration.samples == 700
    assert {900, 800, 700} <= set(drawn)
    assert max(drawn) <= 2_000  # those of the estimate of KL and of the outline


def test_in_double_precision_values_are_of_each_row_alone(
    learned: LatentMap, places: torch.Tensor
) -> None:
    exact, z = learned.double(), places[:50].double()
    values = exact.log_prob(z)
    assert values.dtype == torch.float64
    alone = torch.cat([exact.log_prob(one) for one in z.split(1)])
    torch.testing.assert_close(values, alone, atol=1e-11, rtol=0)
    torch.testing.assert_close(values.float(), learned.log_prob(z), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(
        exact.score(z).float(), learned.score(z.float()), atol=1e-2, rtol=1e-3
    )
    assert exact.threshold(0.5) == pytest.approx(learned.threshold(0.5), abs=1e-3)
    if learned.noise_levels:
        noised = learned.noised(0.3)
        torch.testing.assert_close(noised.double().log_prob(z).float(), noised.log_prob(z))
