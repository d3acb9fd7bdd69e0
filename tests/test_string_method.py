"""Strings: ridges that are known, equal distances, temperature, and what is said of those that do not rest."""

import pytest
import torch
from torch import Tensor

from latent_atlas.density.base import Density, StandardNormal
from latent_atlas.density.toys import Shell, arc, two_clusters
from latent_atlas.errors import UserError
from latent_atlas.travel import PlannerInfo, StringMethod, plan
from latent_atlas.travel.polyline import resample

UNDER = torch.tensor(
    [[[2.0, 0.0]], [[0.0, 1.0]], [[-2.0, 0.0]]]
)  # the ridge of the arc passes (0, 2)


def string(
    density: Density,
    initial: Tensor,
    how: StringMethod | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, PlannerInfo]:
    """The strings that initial paths (steps, n, d) move to."""
    return (how or StringMethod()).plan(
        density, initial[0], initial[-1], frames=17, generator=generator, initial=initial
    )


def test_a_string_finds_the_ridge() -> None:
    shell = Shell(2, radius=2.0, width=0.1)
    points, info = string(shell, UNDER)
    torch.testing.assert_close(points.norm(dim=2), torch.full((17, 1), 2.0), atol=0.01, rtol=0)
    assert info.converged is not None
    assert info.converged.all()


def test_a_string_in_a_straight_valley_is_straight(generator: torch.Generator) -> None:
    bent = torch.tensor([[[-1.5, 0.0]], [[0.3, 0.8]], [[1.5, 0.0]]])
    points = string(two_clusters(2, distance=3.0), bent, StringMethod(tolerance=0.001))[0]
    torch.testing.assert_close(points, resample(bent[[0, -1]], 17), atol=0.01, rtol=0)


def test_nodes_are_equally_far_apart_and_ends_exact(generator: torch.Generator) -> None:
    start, end = arc().sample(12, generator=generator).chunk(2)
    points = string(arc(), torch.stack([start, end]))[0]
    steps = points.diff(dim=0).norm(dim=2)
    assert (steps.max(dim=0).values / steps.min(dim=0).values).median() < 1.1
    assert torch.equal(points[[0, -1]], torch.stack([start, end]))


def test_a_string_that_needs_more_steps_says_so() -> None:
    end = UNDER[-1] + torch.tensor([0.1, 0.3])
    path = plan(arc(), UNDER[0], end, StringMethod(iterations=2))
    assert path.info.converged.tolist() == [False]
    assert path.info.residual > StringMethod().tolerance
    assert path.warnings[0].startswith("the path had not converged after 2 iterations (residual")
    assert "the last one found is given" in path.warnings[0]
    assert "give StringMethod more iterations or a larger tolerance" in path.warnings[0]
    assert "on the command line --set iterations=4" in path.warnings[0]
    assert path.warnings[0].endswith("or use geodesic where clusters are far apart")


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_string_is_the_same_inside_no_grad_and_inference_mode(temperature: float) -> None:
    how = StringMethod(temperature=temperature, iterations=10)
    expected, again = (string(arc(), UNDER, how, generator=_seeded())[0] for _ in range(2))
    assert torch.equal(expected, again)
    with torch.inference_mode():
        assert torch.equal(string(arc(), UNDER + 0, how, generator=_seeded())[0], expected)


def test_at_a_temperature_a_string_follows_the_population(generator: torch.Generator) -> None:
    shell = Shell(2, radius=2.0, width=0.15)
    points, info = string(shell, UNDER, StringMethod(temperature=1.0, iterations=300), generator)
    assert (points.norm(dim=2) - 2).abs().mean() < 0.15  # it starts 0.7 away
    assert info.history is not None
    assert info.history.shape == (301, 1)
    assert torch.equal(points[[0, -1]], UNDER[[0, -1]])


def test_at_a_temperature_a_string_cuts_the_corner_that_the_ridge_goes_round(
    generator: torch.Generator,
) -> None:
    # The mean of the codes within a sector of a wide ring lies inside of the ridge.
    shell = Shell(2, radius=2.0, width=0.5)
    hot, _ = string(shell, UNDER, StringMethod(temperature=1.0, iterations=300), generator)
    cold, _ = string(shell, UNDER)
    assert hot[5:-5].norm(dim=2).mean() < cold[5:-5].norm(dim=2).mean()


def test_a_string_at_a_temperature_needs_a_generator() -> None:
    with pytest.raises(UserError, match="give a generator"):
        plan(StandardNormal(2), torch.zeros(2), torch.ones(2), StringMethod(temperature=1.0))


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
        StringMethod(**settings)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)
