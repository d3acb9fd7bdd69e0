"""Cut paths: which frame stands for which, and what is measured of it."""

import torch

from latent_atlas.density.base import StandardNormal
from latent_atlas.travel import plan, through_waypoints
from latent_atlas.travel.cut import cut

NORMAL = StandardNormal(2)
A, B = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 0.0])


def test_frames_that_are_not_real_become_the_nearest_that_are() -> None:
    path = plan(NORMAL, A, B, "linear", frames=9)  # at -2, -1.5, ..., 2
    real = torch.tensor([1, 1, 0, 0, 0, 0, 0, 1, 1], dtype=torch.bool)[:, None]
    short = cut(path, NORMAL, real, generator=None)
    assert short.points[:, 0, 0].tolist() == [-2, -1.5, -1.5, -1.5, -1.5, 1.5, 1.5, 1.5, 2]
    assert short.metrics.largest_jump.item() == 3
    assert path.metrics.largest_jump.item() == 0.5
    assert torch.equal(short.metrics.length_ratio, path.metrics.length_ratio)


def test_each_path_is_cut_by_itself_and_keeps_its_ends() -> None:
    ends = torch.stack([A, A + 1]), torch.stack([B, B + 1])
    path = plan(NORMAL, *ends, "linear", frames=5)
    real = torch.tensor([[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]], dtype=torch.bool)
    short = cut(path, NORMAL, real, generator=None)
    assert torch.equal(short.points[:, 1], path.points[:, 1])
    assert short.points[:, 0, 0].tolist() == [-2, -2, -2, 2, 2]


def test_waypoints_stay() -> None:
    stops = torch.stack([A, torch.tensor([0.0, 1.0]), B])
    path = through_waypoints(NORMAL, stops, "linear", frames=9)
    short = cut(path, NORMAL, torch.zeros(9, 1, dtype=torch.bool), generator=None)
    assert path.waypoints is not None
    for number, stop in zip(path.waypoints[:, 0].tolist(), stops, strict=True):
        torch.testing.assert_close(short.points[number, 0], stop)
