"""Wandering from a code: the walk keeps its density, and the frames stay with the population."""

import math

import pytest
import torch

from latent_atlas.density.base import StandardNormal
from latent_atlas.density.toys import GaussianMixture, two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel.random_walk import random_walk

WORLD = two_clusters(2, distance=4.0, scale=0.4)


def seeded(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_frames_have_the_moments_of_a_gaussian_in_the_long_run() -> None:
    mean, scale = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, 1.0, 2.0])
    world = GaussianMixture(torch.ones(1), mean[None], scale[None])
    path = random_walk(
        world, mean.expand(60, 3), frames=101, stride=5, threshold=-math.inf, generator=seeded()
    )
    frames = path.points[20:].flatten(0, 1)  # 4,860, some 1,500 of which are worth
    assert path.info.projected == 0
    torch.testing.assert_close(
        (frames.mean(dim=0) - mean) / scale, torch.zeros(3), atol=0.12, rtol=0
    )
    torch.testing.assert_close(frames.std(dim=0) / scale, torch.ones(3), atol=0.08, rtol=0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_step_follows_the_density_s_own_scale(scale: float) -> None:
    world = GaussianMixture(torch.ones(1), torch.zeros(1, 8), torch.tensor([scale]))
    path = random_walk(world, torch.zeros(16, 8), frames=9, threshold=-math.inf, generator=seeded())
    assert path.info.acceptance == pytest.approx(0.574, abs=0.1)
    assert 0.5 < path.info.step_size / scale < 1.5


@pytest.mark.parametrize(("width", "repaired"), [(0.0, 0.05), (0.5, 0.0)])
def test_the_first_frame_is_the_start_and_all_are_inside(width: float, repaired: float) -> None:
    start = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]).repeat(10, 1)
    path = random_walk(WORLD, start, frames=30, width=width, generator=seeded())
    assert torch.equal(path.points[0], start)
    assert path.points.shape == (30, 30, 2)
    assert path.metrics.off_manifold.max() == 0
    assert path.info.projected == pytest.approx(repaired, abs=0.02)
    assert path.metrics.distance_left.max() == 0


def test_a_blur_crosses_the_gap_that_the_density_itself_does_not() -> None:
    start = torch.tensor([-2.0, 0.0]).expand(20, 2)

    def crossings(width: float) -> float:
        path = random_walk(WORLD, start, frames=20, width=width, generator=seeded())
        return (path.points[..., 0] > 1).any(dim=0).float().mean().item()

    assert crossings(0.0) < 0.1
    assert crossings(1.0) > 0.8


def test_it_repeats_under_the_same_generator_and_not_under_another() -> None:
    first, again, other = (
        random_walk(WORLD, torch.ones(2), frames=5, generator=seeded(s)).points for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"start": torch.zeros(3)}, r"shape \(n, 2\) or \(2,\); it has \(3,\)"),
        ({"start": torch.tensor([math.inf, 0.0])}, "not finite"),
        ({"frames": 1}, "frames is 1; choose 2 or more"),
        ({"stride": 0}, "stride is 0"),
        ({"tuning": 3}, "tuning is 3"),
        ({"width": 1.0}, "no noise levels"),
    ],
)
def test_bad_walks_get_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {"start": torch.zeros(2)} | change
    with pytest.raises(UserError, match=sentence):
        random_walk(StandardNormal(2), generator=seeded(), **arguments)
