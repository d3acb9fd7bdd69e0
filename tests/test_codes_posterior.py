"""Codes: their moments, their split, and one sentence for whatever no map can be learned from."""

import math

import pytest
import torch

from latent_atlas.codes.posterior import Codes, as_codes
from latent_atlas.errors import UserError


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_spread_codes_are_sampled_afresh(generator: torch.Generator) -> None:
    codes = Codes(torch.zeros(1, 2), torch.full((1, 2), 2 * math.log(3.0)))
    assert codes.sample(20_000, generator=generator).std().item() == pytest.approx(3, rel=0.02)
    assert codes.points().sample(5, generator=generator).abs().sum() == 0


def test_moments_are_those_of_the_draws(generator: torch.Generator) -> None:
    codes = Codes(normal(50, 3) + 2, torch.tensor([0.0, -2.0, 1.0]).repeat(50, 1))
    mean, covariance = codes.moments()
    draws = codes.sample(200_000, generator=generator).double()
    torch.testing.assert_close(draws.mean(dim=0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), covariance, atol=0.06, rtol=0)


def test_a_split_parts_the_images(generator: torch.Generator) -> None:
    codes = Codes(torch.arange(100.0)[:, None], -torch.arange(100.0)[:, None])
    learn, judge = codes.split(0.2, generator=generator)
    assert (len(learn), len(judge)) == (80, 20)
    assert torch.cat([learn.means, judge.means]).sort(dim=0).values.equal(codes.means)
    assert learn.log_variances is not None
    assert learn.log_variances.equal(-learn.means)


def test_spatial_latents_are_flattened_with_their_spread() -> None:
    codes, notes = as_codes(normal(300, 2, 3, 4).double(), normal(300, 2, 3, 4, seed=1).half())
    assert codes.means.shape == (300, 24)
    assert codes.means.dtype == torch.float32
    assert codes.log_variances is not None
    assert codes.log_variances.shape == (300, 24)
    assert notes == []


def test_repeated_codes_are_left_out_and_said_so() -> None:
    different = normal(250, 2)
    codes, notes = as_codes(torch.cat([different, different[:40]]))
    assert codes.means.equal(different)
    assert notes == ["40 of 290 codes repeat others and were left out"]


def test_repeated_means_with_a_spread_are_kept() -> None:
    means = normal(150, 2).repeat(2, 1)
    codes, notes = as_codes(means, torch.zeros_like(means))
    assert len(codes) == 300
    assert notes == []


def test_few_codes_are_said_to_be_few() -> None:
    assert "only 100 codes" in as_codes(normal(100, 2))[1][0]
    assert as_codes(normal(200, 2))[1] == []


@pytest.mark.parametrize(
    ("means", "spread", "sentence"),
    [
        (normal(10, 2), None, "at least 20 different codes; there are 10"),
        (torch.ones(500, 2), None, "at least 20 different codes; there are 1"),
        (normal(50), None, r"shape \(n, d\), or \(n, ...\) of any shape; these have \(50,\)"),
        (torch.zeros(50, 0), None, r"no codes in an array of shape \(50, 0\)"),
        (torch.full((50, 2), math.nan), None, "50 of 50 codes are not finite, the first at row 0"),
        (torch.cat([normal(30, 2), torch.tensor([[0.0, math.inf]])]), None, "1 of 31 .* the first at row 30"),
        (normal(50, 2), torch.full((50, 2), math.nan), "50 of 50 log_variances are not finite"),
        (normal(50, 2), torch.zeros(50, 3), r"log_variances must have the shape of means, \(50, 2\)"),
        (torch.arange(100).reshape(50, 2), None, "codes must be floats; these are int64"),
        (normal(50, 2), torch.zeros(50, 2, dtype=torch.int32), "log_variances must be floats"),
        (normal(50, 3) * torch.tensor([1.0, 1.0, 0.0]), None, "1 of 3 dimensions are constant, the first is number 2"),
        (normal(50, 60), None, "50 codes cannot show where a population of 60 dimensions is"),
    ],
)  # fmt: skip
def test_bad_codes_get_one_sentence(
    means: torch.Tensor, spread: torch.Tensor | None, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        as_codes(means, spread)


def test_a_coordinate_that_varies_only_by_its_spread_is_no_constant() -> None:
    means = torch.cat([normal(300, 2), torch.zeros(300, 1)], dim=1)
    assert as_codes(means, torch.zeros_like(means))[1] == []
