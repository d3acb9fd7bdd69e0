"""Geodesics of a decoder: one that bends nothing, and the sphere."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.travel import Pullback, plan
from latent_atlas.travel.planners.decoder_geodesic import image_action
from latent_atlas.travel.polyline import resample


def globe(latents: Tensor) -> Tensor:
    """Latitude and longitude in radians to the unit sphere, as images (n, 1, 1, 3)."""
    latitude, longitude = latents.unbind(dim=1)
    x, y = latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin()
    return torch.stack([x, y, latitude.sin()], dim=1)[:, None, None]


ENDS = torch.tensor(
    [[[math.pi / 4, 0.0]], [[math.pi / 4, math.pi / 2]]]
)  # 60 degrees apart on the great circle


def test_a_linear_decoder_bends_nothing(generator: torch.Generator) -> None:
    weights = torch.randn(2, 5, generator=generator)
    ends = torch.tensor([[[0.0, 1.0]], [[4.0, 0.0]]])
    points = plan(StandardNormal(2), *ends, Pullback(decode=lambda z: z @ weights)).points
    torch.testing.assert_close(points, resample(points[[0, -1]], 17), atol=0.05, rtol=0)


def test_the_way_over_the_sphere_is_a_great_circle() -> None:
    path = plan(StandardNormal(2), *ENDS, Pullback(decode=globe, tolerance=1e-3))
    assert path.info.history is not None
    assert path.info.history[-1].sqrt().item() == pytest.approx(math.pi / 3, rel=0.002)
    assert path.points[8, 0, 0].item() == pytest.approx(
        math.atan(math.sqrt(2)), abs=0.01
    )  # further north
    along = math.sqrt(image_action(resample(ENDS, 17), globe).item())
    assert along == pytest.approx(
        math.cos(math.pi / 4) * math.pi / 2, rel=0.002
    )  # the parallel is longer


def test_plan_takes_the_decoder() -> None:
    path = plan(StandardNormal(2), ENDS[0], ENDS[1], Pullback(decode=globe), frames=9)
    assert path.points.shape == (9, 1, 2)
    assert path.info.converged is not None
    assert path.info.converged.item()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "was given no decode"),
        ({"decode": torch.no_grad()(globe)}, "images without a gradient"),
        ({"decode": globe, "iterations": 0}, "iterations"),
    ],
)
def test_bad_decoders_get_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        plan(StandardNormal(2), ENDS[0], ENDS[1], Pullback(**options))
