"""Codes and autoencoders as they go wrong: mapped all the same, or refused in one sentence."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_atlas import Atlas, LatentMap
from latent_atlas.codes.posterior import as_codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder, adapt
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density import StandardNormal
from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel import Walk, plan

CPU = torch.device("cpu")
TINY: dict[str, Any] = {"steps": 2, "width": 4, "depth": 1, "batch_size": 16, "check_every": 2}


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def fitted(means: Tensor, spread: Tensor | None = None, **settings: Any) -> LatentMap:
    with warnings.catch_warnings(action="ignore"):
        return LatentMap.fit(
            means,
            spread,
            config=MapConfig(**(TINY | settings)),
            generator=torch.Generator().manual_seed(0),
        )


@pytest.fixture(scope="module")
def near() -> LatentMap:
    return fitted(normal(300, 2), boundary="gaussian")


@pytest.mark.parametrize(("scale", "offset"), [(1e4, 0.0), (1.0, 1e3), (1e-5, 0.0), (1e12, 1e13)])
def test_codes_far_from_the_prior_have_the_density_that_near_ones_have(
    scale: float, offset: float, near: LatentMap
) -> None:
    z = normal(300, 2)
    far = fitted(scale * z + offset)
    assert far.boundary.name == "gaussian"
    assert "the codes are far from N(0, I)" in far.warnings[-1]
    assert "boundary='gaussian'" in far.warnings[-1]
    expected = near.log_prob(z) - 2 * math.log(scale)
    torch.testing.assert_close(far.log_prob(scale * z + offset), expected, rtol=0, atol=0.02)


def test_codes_near_the_prior_are_compared_with_it() -> None:
    assert fitted(2 * normal(300, 2) + 1).boundary.name == "prior"
    assert fitted(6 * normal(300, 4)).boundary.name == "gaussian"  # 63 nats from it


def test_a_collapsed_posterior_is_told_of() -> None:
    means, spread = normal(300, 8), torch.zeros(300, 8)
    assert as_codes(means, spread)[1] == []
    (collapsed,) = as_codes(0.01 * means, spread)[1]
    assert collapsed.startswith("0 of 8 coordinates are used")
    assert "lower train.kl_weight" in collapsed
    means[:, 3:] *= 0.01
    assert as_codes(means, spread)[1][0].startswith("3 of 8 coordinates are used")


ROW = torch.arange(300) == 7


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (torch.eye(25)[torch.arange(300) % 25], "determine each other, .* they span 24 of 25"),
        (torch.cat([normal(300, 3), normal(300, 3)[:, :1]], 1), "such as numbers 0, 3: they span 3 of 4"),
        (normal(300, 1) * torch.tensor([1.0, 2.0, 3.0]) + 1, "they span 1 of 3"),
        (normal(300, 4) @ normal(4, 40), "they span 4 of 40"),
        (1e20 * normal(300, 2), r"codes go up to .*e\+20 .* divide the codes by their standard"),
        (1e-25 * normal(300, 2), r"standard deviations up to .*e-25, whose squares"),
        (normal(300, 2).double() * 1e-3 + 1e6, "single precision cannot tell apart; subtract the mean"),
        (torch.where(ROW[:, None], 1e30, normal(300, 2)), "1 of 300 codes are over 10,000 times .* at row 7; leave them out"),
    ],
)  # fmt: skip
def test_codes_without_a_density_are_refused(codes: Tensor, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        fitted(codes)


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (torch.eye(40)[torch.arange(300) % 40], "30 codes cannot show .*PCA"),
        (normal(300, 3)[:, [0, 1, 2, 0]], "such as numbers 0, 3: they span 3 of 4"),
        (normal(300, 1) * torch.tensor([1.0, 2.0, 3.0]), "they span 1 of 3, .*PCA"),
        (normal(300, 3) * torch.tensor([1.0, 0.0, 1.0]), "the first is number 1; leave them out"),
        (normal(60, 62), "50 codes cannot show where a population of 62 .*PCA"),
    ],
)
def test_autoencoders_of_such_codes_are_refused(codes: Tensor, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence), warnings.catch_warnings(action="ignore"):
        Atlas.wrap(
            images=(codes / 32 + 0.5).reshape(len(codes), 1, 1, -1),
            encode=lambda x: 32 * (x.flatten(1) - 0.5),
            decode=lambda z: (z / 32 + 0.5).reshape(len(z), 1, 1, -1),
            generator=torch.Generator().manual_seed(0),
            **TINY,
        )


def test_means_on_a_line_are_refused_where_their_posteriors_are_not_used() -> None:
    line = normal(300, 1).expand(300, 2)
    with pytest.raises(UserError, match="they span 1 of 2"):
        fitted(line, torch.zeros(300, 2), z_real="means")
    assert as_codes(line, torch.zeros(300, 2))[1] == []


def test_an_outlier_is_told_of_by_its_row_and_two_clusters_are_none() -> None:
    codes = torch.where(ROW[:, None], 1e3, normal(300, 2))
    assert "1 of 300 codes are over 100 times" in as_codes(codes)[1][0]
    assert "the first at row 7" in as_codes(codes)[1][0]
    assert as_codes(normal(300, 2) + 1e3 * (torch.arange(300) % 2)[:, None])[1] == []


@pytest.mark.parametrize("rate", [1e6, 1e300])
def test_a_map_that_diverges_names_its_loss_and_step(rate: float) -> None:
    with pytest.raises(UserError, match=r"held-out loss went from .* to nan at step 10; lower map"):
        fitted(normal(300, 2), learning_rate=rate, steps=20)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 1, 2), (2, 1, 2)])
def test_latents_of_any_shape_are_flattened_and_restored(shape: tuple[int, ...]) -> None:
    """(n, k, d) of transformers, (n, c, t, h, w) of video, (n, c, h, w) of diffusers."""
    d = math.prod(shape)
    images = torch.rand(60, 1, 1, d, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(action="ignore"):
        atlas = Atlas.wrap(
            images=images,
            encode=lambda x: x.reshape(-1, *shape),
            decode=lambda z: z.reshape(len(z), 1, 1, d) if z.shape[1:] == shape else None,
            generator=torch.Generator().manual_seed(0),
            boundary="gaussian",
            levels=1,
            **TINY,
        )
    codes = atlas.encode(images)
    assert codes.shape == (60, d)
    assert atlas.map.shape == shape
    one, many = codes[0].reshape(shape), codes.reshape(-1, *shape)
    torch.testing.assert_close(atlas.decode(many), images)
    torch.testing.assert_close(atlas.decode(one), images[:1])
    torch.testing.assert_close(atlas.map.log_prob(many), atlas.map.log_prob(codes))
    path = atlas.travel(one, many[1], "linear", frames=3)
    torch.testing.assert_close(path.points[0], codes[:1])


IMAGES = torch.rand(4, 1, 1, 2, generator=torch.Generator().manual_seed(0))


def some_with(images: Tensor) -> Any:
    means = images.flatten(1)
    return (means, means) if means[0, 0] < 0.5 else means


@pytest.mark.parametrize(
    ("encode", "decode", "sentence"),
    [
        (lambda x: x.flatten(1) / 0, lambda z: z, "encode made a code that is not finite"),
        (lambda x: x.flatten(1), lambda z: (0 * z / 0)[:, None, None], "decode made NaN pixels of 1 of 1"),
    ],
)  # fmt: skip
def test_networks_that_make_nan_are_refused(
    encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        adapt(None, IMAGES, encode=encode, decode=decode, device=CPU)


def test_nan_pixels_are_never_returned() -> None:
    model = Autoencoder(
        lambda x: x.flatten(1), lambda z: z.log()[:, None, None], (1, 1, 2), (2,), device=CPU
    )
    assert model.decode([[1.0, 1.0]]).tolist() == [[[[0.0, 0.0]]]]
    with pytest.raises(
        UserError, match="NaN pixels of 1 of 2 codes, the first is number 1, with a coordinate of"
    ):
        model.decode([[1.0, 1.0], [-1.0, 1.0]])


def test_log_variances_of_some_images_only_are_refused() -> None:
    images = torch.tensor([0.2, 0.8, 0.2])[:, None, None, None].expand(3, 1, 1, 2)
    model = Autoencoder(some_with, lambda z: z, (1, 1, 2), (2,), batch=1, device=CPU)
    with pytest.raises(UserError, match="log-variances for 2 of 3 batches; return them for all"):
        model.posterior(images)


def test_a_walk_between_near_copies_has_at_most_all_of_the_way_left() -> None:
    start = torch.tensor([[-2.0, 0.3]])
    path = plan(two_clusters(2, 4.0), start, start + 1e-5, Walk(), frames=5)
    assert 0 < path.metrics.distance_left.item() <= 1
    there = plan(StandardNormal(2), start, -start, Walk(alpha=1e-6, steps=5), frames=5)
    gone = (path.points[0] - path.points[-1]).norm()
    assert gone > 1e-3  # further away than it was
    left = (there.end - there.points[-1]).norm() / (there.end - there.points[0]).norm()
    torch.testing.assert_close(there.metrics.distance_left, left[None])
