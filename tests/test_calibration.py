"""Calibration is measured correctly: on exact logits, and on logits distorted in a known way."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from latent_atlas.boundary import PriorBoundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.density import ExactRatio, StandardNormal, fit_gaussian_mixture
from latent_atlas.density.toys import correlated_gaussian, two_clusters
from latent_atlas.density_ratio.calibration import Calibration, calibrate, kl_over_levels, measure
from latent_atlas.density_ratio.normalising_constant import (
    LogConstant,
    log_mean_ratio,
    samples_for,
)
from latent_atlas.nn.latent_discriminator import Ensemble, LatentDiscriminator

pytestmark = pytest.mark.calibration

WORLD = two_clusters(2, distance=2.4, scale=0.4)
EXACT = ExactRatio(WORLD, StandardNormal(2))


@pytest.fixture
def logits(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    real, fake = (
        WORLD.sample(50_000, generator=generator),
        StandardNormal(2).sample(50_000, generator=generator),
    )
    return EXACT.logit(real), EXACT.logit(fake)


def test_an_exact_logit_is_found_exact(logits: tuple[Tensor, Tensor]) -> None:
    measured = measure(*logits)
    assert abs(measured.normalising_constant - 1) < 4 * measured.normalising_constant_error
    assert abs(measured.log_normalising_constant) < 4 * measured.log_normalising_constant_error
    assert measured.inverse_constant == pytest.approx(1, abs=0.15)  # its tail is heavy
    assert (measured.scale, measured.shift) == pytest.approx((1, 0), abs=0.03)
    groups = measured.reliability
    for predicted, observed, count in zip(
        groups.predicted, groups.observed, groups.count, strict=True
    ):
        assert abs(predicted - observed) < 4 * math.sqrt(0.25 / count) + 1e-3
    assert sum(groups.count) == 100_000


@pytest.mark.parametrize(("scale", "shift"), [(2.0, 0.0), (0.5, 0.7)])
def test_the_correction_undoes_what_was_done_to_a_logit(
    scale: float, shift: float, logits: tuple[Tensor, Tensor]
) -> None:
    measured = measure(*[(logit - shift) / scale for logit in logits])
    assert measured.scale == pytest.approx(scale, rel=0.05)
    assert measured.shift == pytest.approx(shift, abs=0.05)


def test_an_overconfident_logit_predicts_more_than_is_observed(
    logits: tuple[Tensor, Tensor],
) -> None:
    groups = measure(*[3 * logit for logit in logits]).reliability
    assert groups.predicted[0] < groups.observed[0]
    assert groups.predicted[-1] > groups.observed[-1]


def test_the_correction_is_near_none_where_nothing_can_be_learned_from() -> None:
    apart = measure(torch.full((500,), 40.0), torch.full((500,), -40.0))
    assert (apart.scale, apart.shift) == pytest.approx((1, 0), abs=0.01)


class Gaussian(nn.Module):
    """The exact logit of a correlated Gaussian at every level, with an offset that falls to 0 at pure noise."""

    def __init__(self, covariance: Tensor, offset: float = 0.0) -> None:
        super().__init__()
        self.inner = LatentDiscriminator(len(covariance), width=8, depth=1)
        self.inner.set_moments(torch.zeros(len(covariance)), covariance, reference="gaussian")
        self.offset = offset

    def forward(self, latents: Tensor, angles: Tensor | None = None) -> Tensor:
        cos = 1.0 if angles is None else angles.cos()
        return self.inner(latents, angles) + self.offset * cos


def gaussian(dimension: int, nats: float) -> tuple[Codes, Tensor]:
    world = correlated_gaussian(dimension, nats)
    pair = torch.tensor([[1.0, world.correlation], [world.correlation, 1.0]])
    codes = Codes(world.sample(20_000, generator=torch.Generator().manual_seed(5)))
    return codes, torch.block_diag(*[pair] * (dimension // 2))


@pytest.mark.parametrize(("dimension", "nats"), [(2, 1.0), (40, 10.0), (40, 60.0)])
def test_the_integral_over_levels_is_the_divergence(
    dimension: int, nats: float, generator: torch.Generator
) -> None:
    codes, covariance = gaussian(dimension, nats)
    found = kl_over_levels(
        Gaussian(covariance), codes, PriorBoundary(dimension), generator=generator
    )
    assert found == pytest.approx(nats, rel=0.05)


@pytest.mark.parametrize("offset", [0.0, 1.5, -1.5])
def test_the_normaliser_is_found_across_a_chasm(offset: float, generator: torch.Generator) -> None:
    codes, covariance = gaussian(40, 40.0)
    network = Ensemble([Gaussian(covariance, offset)])
    boundary, outline = PriorBoundary(40), fit_gaussian_mixture(codes.means, generator=generator)
    n = samples_for(codes)
    constant = log_mean_ratio(network, boundary, outline, n, generator=generator)
    measured, drawn = calibrate(network, codes, boundary, constant, levels=10, generator=generator)
    assert measured.log_normalising_constant == pytest.approx(
        offset, abs=5 * measured.log_normalising_constant_error
    )
    assert measured.normalising_constant == pytest.approx(
        math.exp(offset), rel=5 * measured.log_normalising_constant_error
    )
    assert measured.log_normalising_constant_error < 0.02
    assert measured.kl == pytest.approx(40 + offset, abs=0.5)
    assert drawn.shape[1] == 40


def test_numbers_survive_json(logits: tuple[Tensor, Tensor]) -> None:
    measured = measure(*logits)
    assert Calibration.from_json(measured.as_json()) == measured
    assert "generalisation_gap" not in measured.numbers()
    with pytest.raises(TypeError):
        Calibration.from_json(measured.as_json() | {"count": 3})


class HeavyTails(nn.Module):
    """The log-ratio of 0.9 N(0, I) + 0.1 N(0, 400 I) to N(0, I), in two dimensions."""

    def forward(self, z: Tensor, angles: Tensor | None = None) -> Tensor:
        wide = math.log(0.1 / 400) + 0.5 * z.square().sum(dim=1) * (1 - 1 / 400)
        return torch.logaddexp(torch.full_like(wide, math.log(0.9)), wide)


@pytest.mark.parametrize(("far", "decides"), [(0.0, False), (60.0, True)])
def test_a_code_that_decides_the_divergence_alone_is_noticed(
    far: float, decides: bool, generator: torch.Generator
) -> None:
    held_out = StandardNormal(2).sample(40, generator=generator)
    held_out[0] += far
    found, _ = calibrate(
        HeavyTails(),
        Codes(held_out),
        PriorBoundary(2),
        LogConstant(0.0, 0.01),
        generator=generator,
    )
    logits = HeavyTails()(held_out)
    assert found.kl_median == pytest.approx(logits.median().item(), abs=0.1)
    assert found.kl_error == pytest.approx(logits.std().item() / 40**0.5, rel=0.1, abs=0.05)
    assert ("a few held-out codes decide" in found.verdict()) == decides


def changed(**changes: float) -> Calibration:
    """The calibration of a good map, changed."""
    good = measure(torch.full((20_000,), 2.0), torch.full((20_000,), -1.0))
    good_numbers = {
        "normalising_constant": 1.0,
        "normalising_constant_error": 0.01,
        "inverse_constant": 1.0,
        "inverse_constant_error": 0.1,
        "kl": 2.0,
    }
    good_numbers |= {
        "log_normalising_constant": 0.0,
        "log_normalising_constant_error": 0.01,
        "effective_share": 0.2,
        "cross_entropy": 0.4,
    }
    return replace(
        good, **{**good_numbers, "scale": 1.0, "shift": 0.0, "samples": 20_000, **changes}
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "the map is calibrated"),
        ({"normalising_constant": math.nan}, "the fit failed"),
        ({"kl": 30.0}, "a single level saturates here"),
        ({"cross_entropy": 0.01}, "a single level saturates here"),
        ({"log_normalising_constant_error": 0.5}, "cannot be measured"),
        ({"log_normalising_constant": -0.5}, "not normalised"),
        ({"scale": 0.6}, "overconfident"),
        (
            {"scale": 0.0, "kl": -0.01, "cross_entropy": math.log(2)},
            "calibrated: KL(q || r) about 0.0 nats",
        ),
        (
            {"levels": 7, "kl": 61.0, "kl_over_levels": 60.0},
            "a single level would saturate, 7 levels do not",
        ),
        ({"levels": 7, "kl": 61.0, "kl_over_levels": 40.0}, "the levels disagree"),
        ({"kl_estimate": 6.0}, "the map is underfitted"),
        ({"kl": 400.0, "levels": 4, "kl_error": 300.0}, "a few held-out codes decide KL(q || r)"),
        ({"kl": 400.0, "levels": 4, "kl_error": 100.0}, "the map is calibrated"),
        ({"kl": 0.5, "kl_error": 0.9}, "the map is calibrated"),
        ({"levels": 7, "effective_share": 1e-4, "kl_over_levels": 2.0}, "the map is calibrated"),
    ],
)
def test_the_verdict_names_what_is_wrong(changes: dict[str, float], sentence: str) -> None:
    found = changed(**changes)
    assert sentence in found.verdict()
    assert found.fault() == (
        None if "the map is calibrated" in found.verdict() else found.verdict()
    )
