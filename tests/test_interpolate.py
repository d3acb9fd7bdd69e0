"""Whole journeys: who plans them, what is kept, and the pace, also where stops stay the frames that they are."""

from typing import Any

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import StandardNormal
from latent_atlas.density.toys import arc
from latent_atlas.errors import UserError
from latent_atlas.travel import (
    Direction,
    Geodesic,
    interpolate,
    plan,
    preserve,
    through_waypoints,
)

NORMAL = StandardNormal(3)
HEIGHT = Direction(torch.tensor([0.0, 0.0, 1.0]), "height")
STOPS = torch.tensor([[[-2.0, 0.5, 0.0]], [[0.0, 2.0, 0.3]], [[2.0, 0.5, 1.0]]])


def stretched(latents: Tensor) -> Tensor:
    """What is perceived changes faster the further to the right."""
    return torch.cat([latents[:, :1].exp(), latents[:, 1:]], dim=1)


def unevenness(points: Tensor) -> Tensor:
    steps = torch.stack([stretched(frame) for frame in points]).diff(dim=0).norm(dim=2)
    return steps.max(dim=0).values / steps.mean(dim=0) - 1


def test_two_stops_are_planned_more_are_toured_and_attributes_are_kept() -> None:
    settings: dict[str, Any] = {"threshold": -8.0, "frames": 9}
    both = STOPS[[0, 2]]
    torch.testing.assert_close(
        interpolate(NORMAL, both, **settings).points, plan(NORMAL, *both, **settings).points
    )
    toured = interpolate(NORMAL, STOPS, closed=True, **settings)
    torch.testing.assert_close(
        toured.points, through_waypoints(NORMAL, STOPS, closed=True, **settings).points
    )
    assert toured.waypoints is not None
    assert len(toured.waypoints) == 4
    back = interpolate(NORMAL, both, closed=True, **settings)
    assert torch.equal(back.points[-1], both[0])
    kept = interpolate(NORMAL, both, keep=[HEIGHT], within=0.2, **settings)
    torch.testing.assert_close(
        kept.points, preserve(NORMAL, *both, [HEIGHT], 0.2, **settings).points
    )
    assert kept.points[..., 2].abs().max() <= 0.2


def test_a_planner_s_own_tolerance_is_not_the_attributes() -> None:
    path = interpolate(
        NORMAL,
        STOPS[[0, 2]],
        keep=[HEIGHT],
        within=0.2,
        planner=Geodesic(tolerance=1e-3, strength=2.0, threshold=-5.0),
        threshold=-5.0,
    )
    assert path.metrics.drift["height"].item() <= 0.2
    assert path.info.residual <= 1e-3


@pytest.mark.parametrize("settings", [{}, {"keep": [HEIGHT], "within": 0.2}])
def test_a_perceived_pace_is_even_and_the_numbers_are_those_of_the_new_frames(
    settings: dict[str, Any],
) -> None:
    settings = {"threshold": -8.0, "frames": 9} | settings
    path = interpolate(NORMAL, STOPS[[0, 2]], features=stretched, **settings)
    assert unevenness(path.points).item() < 0.02
    assert unevenness(interpolate(NORMAL, STOPS[[0, 2]], **settings).points).item() > 0.5
    assert path.metrics.uneven.item() == pytest.approx(unevenness(path.points).item(), abs=1e-5)
    jump = path.points.diff(dim=0).norm(dim=2).max()
    assert path.metrics.largest_jump.item() == pytest.approx(jump.item())
    if "keep" in settings:
        drift = (path.points[..., 2] - path.points[0, :, 2]).abs().max()
        assert path.metrics.drift["height"].item() == pytest.approx(drift.item())


def test_stops_stay_frames_at_a_perceived_pace(generator: torch.Generator) -> None:
    stops = torch.cat([STOPS, STOPS + 0.1 * torch.randn(STOPS.shape, generator=generator)], dim=1)
    path = interpolate(NORMAL, stops, features=stretched, frames=17, threshold=-8.0)
    numbers = path.waypoints
    assert numbers is not None
    for n in range(2):
        assert torch.equal(path.points[numbers[:, n], n], stops[:, n])
        for first, last in zip(numbers[:-1, n].tolist(), numbers[1:, n].tolist(), strict=True):
            assert unevenness(path.points[first : last + 1, n : n + 1]).item() < 0.02
    assert path.metrics.uneven.max() < 0.02
    assert path.metrics.feature_step.shape == (2,)


def test_a_tour_says_what_its_planner_says_of_its_legs() -> None:
    stops = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 9.0]])
    path = through_waypoints(
        arc(), stops, Geodesic(iterations=1, strength=3.0, threshold=-3.0), threshold=-3.0
    )
    assert path.info.converged.shape == (1,)
    assert path.info.converged.item() == 0
    assert any("of 2 legs had not converged" in warning for warning in path.warnings)
    assert any(
        warning.startswith("the end of 1 of 2 legs is off-manifold") for warning in path.warnings
    )


def test_attributes_are_kept_between_two_places_only() -> None:
    with pytest.raises(UserError, match="3 waypoints were given; choose two"):
        interpolate(NORMAL, STOPS, keep=[HEIGHT])
