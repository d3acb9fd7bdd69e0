"""The learned map against an exact world, its sign, and what it says of bad codes."""

import math
from pathlib import Path

import pytest
import torch

from latent_atlas import LatentMap
from latent_atlas.boundary import make_boundary
from latent_atlas.calibration import Calibration, calibrate
from latent_atlas.checkpoint import read_tensors, write_tensors
from latent_atlas.config import MapConfig
from latent_atlas.density import ExactMembership, StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.losses import latent_discriminator
from latent_atlas.nn.discriminators import LatentDiscriminator
from latent_atlas.ratio import Codes, fit_ratio
from latent_atlas.toys import two_clusters

WORLD = two_clusters(2, distance=2.4, scale=0.4)
SMALL = MapConfig(width=64, depth=2, steps=600, batch_size=512, learning_rate=2e-3, weight_decay=1e-3)


def fit(codes: torch.Tensor, **options: object) -> LatentMap:
    return LatentMap.fit(codes, config=SMALL, generator=torch.Generator().manual_seed(3), **options)


@pytest.fixture(scope="module")
def learned() -> LatentMap:
    return fit(WORLD.sample(6_000, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def places() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.cat([WORLD.sample(500, generator=generator), StandardNormal(2).sample(500, generator=generator)])


def test_log_prob_agrees_with_the_exact_world(learned: LatentMap, places: torch.Tensor) -> None:
    ranks = [values.argsort().argsort().float() for values in (learned.log_prob(places), WORLD.log_prob(places))]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.97


def test_log_prob_is_in_nats_on_the_population(learned: LatentMap, generator: torch.Generator) -> None:
    real = WORLD.sample(2_000, generator=generator)
    assert (learned.log_prob(real) - WORLD.log_prob(real)).mean().abs().item() < 0.15


def test_score_points_where_the_exact_score_does(learned: LatentMap, generator: torch.Generator) -> None:
    real = WORLD.sample(2_000, generator=generator)
    cosine = torch.nn.functional.cosine_similarity(learned.score(real), WORLD.score(real)).mean()
    assert cosine > 0.85


def test_realness_is_the_optimal_discriminator_s(learned: LatentMap, places: torch.Tensor) -> None:
    exact = ExactMembership(WORLD, StandardNormal(2)).realness(places)
    assert (learned.realness(places) - exact).abs().mean() < 0.08


def test_real_codes_are_real_and_the_void_between_them_is_fake(learned: LatentMap) -> None:
    realness = learned.realness(torch.tensor([[1.2, 0.0], [-1.2, 0.0], [0.0, 0.0], [0.0, 2.5]]))
    assert (realness[:2] > 0.5).all()
    assert (realness[2:] < 0.5).all()


def test_a_map_of_the_prior_itself_cannot_tell(generator: torch.Generator) -> None:
    flat = fit(StandardNormal(2).sample(6_000, generator=generator))
    inside = StandardNormal(2).sample(500, generator=generator)
    assert (flat.realness(inside) - 0.5).abs().mean() < 0.06
    assert flat.confusion(inside).mean() > 0.97


def test_typicality_of_real_codes_is_uniform(learned: LatentMap, generator: torch.Generator) -> None:
    typicality = learned.typicality(WORLD.sample(4_000, generator=generator))
    quantiles = torch.quantile(typicality, torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), atol=0.05, rtol=0)
    assert learned.typicality(torch.tensor([[9.0, 9.0]])).item() == 0


def test_floor_is_the_quantile_of_held_out_codes(learned: LatentMap, generator: torch.Generator) -> None:
    real = WORLD.sample(4_000, generator=generator)
    outside = (learned.log_prob(real) < learned.floor(0.05)).float().mean().item()
    assert outside == pytest.approx(0.05, abs=0.025)


def test_calibration_finds_a_good_map_honest(learned: LatentMap) -> None:
    exact_kl = ExactMembership(WORLD, StandardNormal(2)).logit(
        WORLD.sample(50_000, generator=torch.Generator().manual_seed(8))
    )
    assert learned.calibration.normaliser == pytest.approx(1, abs=0.15)
    assert learned.calibration.kl == pytest.approx(exact_kl.mean().item(), abs=0.15)
    assert "honest" in learned.calibration.verdict()


def test_calibration_of_an_exact_logit_is_exact(generator: torch.Generator) -> None:
    exact = ExactMembership(WORLD, StandardNormal(2))
    real, fake = WORLD.sample(50_000, generator=generator), StandardNormal(2).sample(50_000, generator=generator)
    measured = calibrate(exact.logit(real), exact.logit(fake))
    assert abs(measured.normaliser - 1) < 4 * measured.normaliser_error
    assert measured.inverse == pytest.approx(1, abs=0.15)  # its tail is heavy


def test_spread_codes_are_sampled_afresh(generator: torch.Generator) -> None:
    codes = Codes(torch.zeros(1, 2), torch.full((1, 2), 2 * math.log(3.0)))
    assert codes.sample(20_000, generator=generator).std().item() == pytest.approx(3, rel=0.02)
    assert codes.points().sample(5, generator=generator).abs().sum() == 0


def test_fit_is_the_same_under_the_same_generator() -> None:
    codes = WORLD.sample(300, generator=torch.Generator().manual_seed(1))
    z = torch.zeros(1, 2)
    assert torch.equal(fit(codes, steps=60).log_prob(z), fit(codes, steps=60).log_prob(z))


def test_a_saved_map_answers_the_same(learned: LatentMap, places: torch.Tensor, tmp_path: Path) -> None:
    learned.save(tmp_path / "map.safetensors")
    again = LatentMap.load(tmp_path / "map.safetensors")
    assert torch.equal(again.log_prob(places), learned.log_prob(places))
    assert torch.equal(again.typicality(places), learned.typicality(places))
    assert again.calibration == learned.calibration


def test_early_stopping_keeps_the_best_weights() -> None:
    few = Codes(WORLD.sample(60, generator=torch.Generator().manual_seed(1)))
    rest = Codes(WORLD.sample(60, generator=torch.Generator().manual_seed(2)))
    records: list[dict[str, float]] = []
    overfit = MapConfig(width=64, depth=2, steps=1_500, learning_rate=3e-3, weight_decay=0.0, patience=4)
    network = LatentDiscriminator(2, width=64, depth=2)
    boundary = make_boundary("prior", 2)
    generator = torch.Generator().manual_seed(0)
    kept = fit_ratio(network, few, rest, boundary, overfit, generator=generator, log=records.append)
    held_out = [record["held_out_loss"] for record in records]
    assert records[-1]["step"] < 1_500
    assert kept == min(held_out) < held_out[-1]
    real, fake = rest.sample(20_000, generator=generator), boundary.sample(20_000, generator=generator)
    assert latent_discriminator(network(real), network(fake)).item() == pytest.approx(kept, abs=0.03)


def test_maps_answer_in_single_precision_whatever_they_are_asked_in(learned: LatentMap) -> None:
    z = torch.tensor([[0.5, -0.25]])
    torch.testing.assert_close(learned.log_prob(z.double()), learned.log_prob(z))
    torch.testing.assert_close(learned.score(z.double()), learned.score(z).double())


def verdict(**changes: float) -> str:
    good = {"normaliser": 1.0, "normaliser_error": 0.01, "inverse": 1.0, "kl": 2.0, "effective_share": 0.2}
    return Calibration(**{**good, "cross_entropy": 0.4, "samples": 20_000, **changes}).verdict()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "honest"),
        ({"normaliser": math.nan}, "the fit failed"),
        ({"kl": 30.0}, "saturates"),
        ({"cross_entropy": 0.01}, "saturates"),
        ({"effective_share": 1e-4}, "cannot be checked"),
        ({"normaliser": 0.6}, "not normalised"),
        ({"inverse": 3.0}, "overconfident"),
    ],
)
def test_the_verdict_names_what_is_wrong(changes: dict[str, float], sentence: str) -> None:
    assert sentence in verdict(**changes)


@pytest.mark.parametrize(
    ("codes", "spread", "sentence"),
    [
        (torch.zeros(10, 2), None, "at least 20 codes; there are 10"),
        (torch.zeros(50), None, r"shape \(n, d\)"),
        (torch.full((50, 2), math.nan), None, "50 of 50 codes are not finite, the first at row 0"),
        (torch.zeros(50, 2), torch.full((50, 2), math.nan), "50 of 50 codes are not finite"),
        (torch.zeros(50, 2), torch.zeros(50, 3), "log_variances must have the shape of means"),
    ],
)
def test_bad_codes_get_one_sentence(codes: torch.Tensor, spread: torch.Tensor | None, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        fit(codes, log_variances=spread)


def test_an_unknown_boundary_is_named() -> None:
    with pytest.raises(UserError, match="no boundary 'moat'; choose prior"):
        fit(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), boundary="moat")


def test_a_map_of_another_version_is_refused(learned: LatentMap, tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    learned.save(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {"map": metadata["map"].replace('"samples"', '"count"')})
    with pytest.raises(UserError, match="written by another version"):
        LatentMap.load(path)


def test_a_file_that_is_no_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        LatentMap.load(tmp_path / "map.safetensors")
    (tmp_path / "map.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is damaged"):
        LatentMap.load(tmp_path / "map.safetensors")
