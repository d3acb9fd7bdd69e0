"""Constant perceived speed, on features whose stretch is known."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.errors import UserError
from latent_atlas.travel.planners.baselines import linear
from latent_atlas.travel.polyline import arc_lengths
from latent_atlas.travel.reparametrise import reparametrise


def straight_lines(generator: torch.Generator, frames: int = 17) -> Tensor:
    start, end = torch.randn(2, 4, 3, generator=generator)
    return linear(start, end, frames)


def test_frames_follow_the_inverse_of_a_known_stretch() -> None:
    points = linear(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]]), 9)
    found = reparametrise(points, lambda z: z[:, :1].square(), pieces=64)
    torch.testing.assert_close(
        found.points[:, 0, 0], torch.linspace(0, 1, 9).sqrt(), atol=2e-3, rtol=0
    )
    assert found.feature_step.item() == pytest.approx(1 / 8)
    assert found.uneven.item() < 0.01


def test_neighbours_are_equally_far_in_features_that_bend(generator: torch.Generator) -> None:
    def features(z: Tensor) -> Tensor:  # a spiral whose speed and curvature change all the way
        return (1 + 3 * z[:, :1].sigmoid()) * torch.stack(
            [(4 * z[:, 0]).sin(), (4 * z[:, 0]).cos(), z[:, 1]], dim=1
        )

    points = straight_lines(generator)
    found = reparametrise(points, features)
    steps = features(found.points.flatten(0, 1)).unflatten(0, (17, 4)).diff(dim=0).norm(dim=2)
    uneven = steps.max(dim=0).values / steps.mean(dim=0) - 1
    torch.testing.assert_close(found.uneven, uneven)
    assert uneven.max() < 0.02
    before = features(points.flatten(0, 1)).unflatten(0, (17, 4)).diff(dim=0).norm(dim=2)
    assert (before.max(dim=0).values / before.mean(dim=0)).max() > 1.2


def test_the_ends_stay_and_the_path_is_the_same_line(generator: torch.Generator) -> None:
    points = straight_lines(generator).square()
    paced = reparametrise(points, torch.exp).points
    assert torch.equal(paced[0], points[0])
    assert torch.equal(paced[-1], points[-1])
    line = reparametrise(linear(points[0], points[-1], 5), torch.exp).points
    torch.testing.assert_close(arc_lengths(line)[-1], (points[-1] - points[0]).norm(dim=1))


def test_pacing_twice_changes_little(generator: torch.Generator) -> None:
    once = reparametrise(straight_lines(generator), torch.exp, pieces=32).points
    twice = reparametrise(once, torch.exp, pieces=32).points
    torch.testing.assert_close(twice, once, atol=5e-3, rtol=0)


def test_a_path_even_already_stays(generator: torch.Generator) -> None:
    points = straight_lines(generator)
    found = reparametrise(points, lambda z: 3 * z)
    torch.testing.assert_close(found.points, points, atol=1e-5, rtol=1e-5)
    assert found.uneven.max() < 1e-4


def test_features_that_never_change_leave_equal_distances_in_z() -> None:
    points = (
        torch.tensor([0.0, 0.1, 0.5, 1.0])[:, None, None].expand(4, 2, 3)
        * torch.tensor([1.0, 2.0])[:, None]
    )
    found = reparametrise(points, lambda z: z[:, :1] * 0)
    torch.testing.assert_close(found.points, linear(points[0], points[-1], 4))
    assert found.uneven.tolist() == [0, 0]


def test_features_that_stand_still_halfway_get_no_frames_there() -> None:
    points = linear(torch.zeros(1, 1), torch.full((1, 1), 3.0), 7)
    found = reparametrise(
        points, lambda z: z.clamp(max=1) + (z - 2).clamp(min=0), pieces=32
    )  # nothing from 1 to 2
    inner = found.points[1:-1].flatten()
    assert ((inner < 1.02) | (inner > 1.98)).all()
    assert found.uneven.item() < 0.02


def test_journeys_are_paced_by_themselves(generator: torch.Generator) -> None:
    points = straight_lines(generator)
    together = reparametrise(points, torch.exp).points
    alone = reparametrise(points[:, 2:3], torch.exp).points
    torch.testing.assert_close(together[:, 2:3], alone)


def test_a_closed_circle_of_features_is_divided_evenly() -> None:
    turns = torch.linspace(0, 1, 9).square()[:, None, None] * 2 * math.pi
    found = reparametrise(turns, lambda z: torch.cat([z.cos(), z.sin()], dim=1))
    torch.testing.assert_close(
        found.points.flatten(), torch.linspace(0, 2 * math.pi, 9), atol=2e-2, rtol=0
    )
    assert found.uneven.item() < 0.01


def test_bad_requests_get_one_sentence() -> None:
    points = torch.zeros(3, 1, 2)
    with pytest.raises(UserError, match="pieces is 0"):
        reparametrise(points, torch.exp, pieces=0)
    with pytest.raises(UserError, match=r"must map codes \(m, d\) to \(m, f\)"):
        reparametrise(points, lambda z: z.sum(dim=1))
