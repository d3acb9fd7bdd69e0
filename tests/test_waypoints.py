"""Tours: every stop a frame, closed ones back where they began, frames shared by length."""

import math

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import Density
from latent_atlas.density.toys import arc
from latent_atlas.errors import UserError
from latent_atlas.travel import LatentPath, Walk, plan
from latent_atlas.travel.polyline import arc_lengths
from latent_atlas.travel.waypoints import through_waypoints


def stop_frames(path: LatentPath, stops: int) -> Tensor:
    assert path.waypoints is not None
    assert len(path.waypoints) == stops
    return path.waypoints


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("planner", ["linear", "slerp"])
def test_every_stop_of_every_journey_is_a_frame(
    planner: str, closed: bool, generator: torch.Generator
) -> None:
    stops = torch.randn(5, 3, 2, generator=generator)
    path = through_waypoints(arc(), stops, planner, frames=30, closed=closed)
    assert path.points.shape == (30, 3, 2)
    visited = torch.cat([stops, stops[:1]]) if closed else stops
    numbers = stop_frames(path, len(visited))
    assert (numbers.diff(dim=0) >= 1).all()
    assert numbers[0].tolist() == [0, 0, 0]
    assert numbers[-1].tolist() == [29, 29, 29]
    for journey in range(3):
        assert torch.equal(path.points[numbers[:, journey], journey], visited[:, journey])
    assert torch.equal(path.end, visited[-1])


def test_frames_are_shared_by_length_and_legs_keep_an_even_pace() -> None:
    stops = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0], [2.0, 1.0]])
    path = through_waypoints(arc(), stops, "linear", frames=15)
    assert stop_frames(path, 4).flatten().tolist() == [0, 8, 10, 14]
    torch.testing.assert_close(path.points.diff(dim=0).norm(dim=2), torch.full((14, 1), 0.5))
    assert path.metrics.length_ratio.item() == pytest.approx(1)


def test_a_leg_too_short_for_a_frame_of_its_own_has_one() -> None:
    stops = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [9.0, 0.0], [9.0, 1e-3], [9.0, 2e-3]])
    assert stop_frames(
        through_waypoints(arc(), stops, "linear", frames=5), 5
    ).flatten().tolist() == [0, 1, 2, 3, 4]
    assert stop_frames(
        through_waypoints(arc(), stops, "linear", frames=9), 5
    ).flatten().tolist() == [0, 1, 6, 7, 8]


def test_a_leg_is_the_journey_between_its_stops() -> None:
    stops = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0]])
    path = through_waypoints(arc(), stops, "slerp", frames=33)
    torch.testing.assert_close(path.points.norm(dim=2), torch.full((33, 1), 2.0), rtol=2e-3, atol=0)
    leg = plan(arc(), stops[0], stops[1], "slerp", frames=17)
    torch.testing.assert_close(path.points[:17], leg.points, atol=1e-3, rtol=0)
    assert arc_lengths(path.points)[-1].item() == pytest.approx(2 * math.pi, rel=2e-3)


def test_a_tour_does_not_depend_on_the_others_in_its_batch(generator: torch.Generator) -> None:
    stops = torch.randn(4, 3, 2, generator=generator)
    together, alone = (
        through_waypoints(arc(), stops, "slerp", frames=21),
        through_waypoints(arc(), stops[:, 1], "slerp", frames=21),
    )
    torch.testing.assert_close(together.points[:, 1:2], alone.points)
    torch.testing.assert_close(together.metrics.off_manifold[1:2], alone.metrics.off_manifold)


def test_a_walk_that_arrives_makes_a_tour_and_one_that_stops_short_does_not() -> None:
    stops = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0]])
    path = through_waypoints(arc(), stops, Walk(arrive=True), frames=9)
    assert torch.equal(path.points[stop_frames(path, 3)[:, 0], 0], stops)
    with pytest.raises(
        UserError, match=r"planner 'walk' stops \d+% of the way short of a waypoint"
    ):
        through_waypoints(arc(), stops, "walk", frames=9)


def test_without_a_floor_the_lowest_of_a_journey_s_stops_is_it() -> None:
    class Hill(Density):
        dimension = 1

        def log_prob(self, latents: Tensor) -> Tensor:
            return -latents.square().sum(dim=1)

    stops = torch.tensor([[[-1.0], [0.0]], [[2.0], [0.5]], [[1.0], [0.2]]])
    assert through_waypoints(Hill(), stops, "linear", frames=9).metrics.off_manifold.tolist() == [
        0,
        0,
    ]
    assert (
        through_waypoints(
            Hill(), stops, "linear", frames=9, threshold=-0.5
        ).metrics.off_manifold.min()
        == 0
    )
    assert (
        through_waypoints(
            Hill(), stops, "linear", frames=9, threshold=-0.5
        ).metrics.off_manifold.max()
        > 0.5
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"waypoints": torch.zeros(1, 2)}, "needs 2 waypoints or more; 1 was given"),
        ({"waypoints": torch.zeros(2)}, "shape"),
        (
            {"waypoints": torch.tensor([[0.0, 0], [1, 0], [1, 0]])},
            "waypoints 1 and 2 follow each other",
        ),
        (
            {"waypoints": torch.tensor([[0.0, 0], [1, 0], [0, 0]]), "closed": True},
            "waypoints 2 and 0 follow each other",
        ),
        ({"frames": 2}, "2 frames cannot show 3 waypoints"),
        ({"frames": 3, "closed": True}, "3 frames cannot show 4 waypoints"),
        ({"planner": "teleport"}, "no planner 'teleport'"),
    ],
)
def test_bad_tours_get_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {
        "waypoints": torch.tensor([[0.0, 0], [1, 0], [1, 1]]),
        "planner": "linear",
        "frames": 9,
    } | change
    with pytest.raises(UserError, match=sentence):
        through_waypoints(arc(), **arguments)
