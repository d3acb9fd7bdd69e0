"""Strings: ridges that are known, equal distances, temperature, and what is said of those that do not rest."""

import pytest
import torch

from latent_atlas.density.base import StandardNormal
from latent_atlas.density.toys import Shell, arc, two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel import plan
from latent_atlas.travel.path import resample
from latent_atlas.travel.planners.string_method import String, string

UNDER = torch.tensor(
    [[[2.0, 0.0]], [[0.0, 1.0]], [[-2.0, 0.0]]]
)  # the ridge of the arc passes (0, 2)


def test_a_string_finds_the_ridge() -> None:
    shell = Shell(2, radius=2.0, width=0.1)
    relaxed = string(shell, UNDER)
    torch.testing.assert_close(
        relaxed.points.norm(dim=2), torch.full((17, 1), 2.0), atol=0.01, rtol=0
    )
    assert relaxed.converged.all()


def test_a_string_in_a_straight_valley_is_straight(generator: torch.Generator) -> None:
    bent = torch.tensor([[[-1.5, 0.0]], [[0.3, 0.8]], [[1.5, 0.0]]])
    points = string(two_clusters(2, distance=3.0), bent, String(tolerance=0.001)).points
    torch.testing.assert_close(points, resample(bent[[0, -1]], 17), atol=0.01, rtol=0)


def test_nodes_are_equally_far_apart_and_ends_exact(generator: torch.Generator) -> None:
    start, end = arc().sample(12, generator=generator).chunk(2)
    points = string(arc(), torch.stack([start, end])).points
    steps = points.diff(dim=0).norm(dim=2)
    assert (steps.max(dim=0).values / steps.min(dim=0).values).median() < 1.1
    assert torch.equal(points[[0, -1]], torch.stack([start, end]))


def test_a_string_that_needs_more_steps_says_so() -> None:
    path = plan(arc(), UNDER[0], UNDER[-1] + torch.tensor([0.1, 0.3]), "string", iterations=2)
    assert path.metrics["converged"].tolist() == [0]
    assert path.info["residual"] > String().tolerance
    assert "had not come to rest after 2 iterations" in path.notes[0]


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_string_is_the_same_inside_no_grad_and_inference_mode(temperature: float) -> None:
    how = String(temperature=temperature, iterations=10)
    expected, again = (string(arc(), UNDER, how, generator=_seeded()).points for _ in range(2))
    assert torch.equal(expected, again)
    with torch.inference_mode():
        assert torch.equal(string(arc(), UNDER + 0, how, generator=_seeded()).points, expected)


def test_at_a_temperature_a_string_follows_the_population(generator: torch.Generator) -> None:
    shell = Shell(2, radius=2.0, width=0.15)
    relaxed = string(shell, UNDER, String(temperature=1.0, iterations=300), generator=generator)
    assert (relaxed.points.norm(dim=2) - 2).abs().mean() < 0.15  # it starts 0.7 away
    assert relaxed.history.shape == (301, 1)
    assert torch.equal(relaxed.points[[0, -1]], UNDER[[0, -1]])


def test_at_a_temperature_a_string_cuts_the_corner_that_the_ridge_goes_round(
    generator: torch.Generator,
) -> None:
    # The mean of the codes within a sector of a wide ring lies inside of the ridge.
    shell = Shell(2, radius=2.0, width=0.5)
    hot = string(shell, UNDER, String(temperature=1.0, iterations=300), generator=generator)
    assert (
        hot.points[5:-5].norm(dim=2).mean() < string(shell, UNDER).points[5:-5].norm(dim=2).mean()
    )


def test_a_string_at_a_temperature_needs_a_generator() -> None:
    with pytest.raises(UserError, match="give a generator"):
        plan(StandardNormal(2), torch.zeros(2), torch.ones(2), "string", temperature=1.0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"step": 0.0}, "step is 0.0"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"nodes": 2}, "nodes is 2"),
        ({"iterations": 1}, "iterations is 1"),
        ({"replicas": 0}, "replicas is 0"),
        ({"smoothing": 1.0}, "smoothing is 1.0"),
        ({"widths": (0.0, 0.5)}, "coarse to fine"),
    ],
)
def test_bad_settings_get_one_sentence(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        String(**settings)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)
