"""Exact worlds are exact: they integrate to one, and sample themselves."""

import math

import pytest
import torch

from latent_atlas.density import ExactMembership, StandardNormal
from latent_atlas.toys import GaussianMixture, arc, two_clusters


@pytest.mark.parametrize("world", [two_clusters(2, distance=3.0), arc()], ids=["two_clusters", "arc"])
def test_a_world_integrates_to_one_and_samples_itself(world: GaussianMixture, generator: torch.Generator) -> None:
    axis = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(axis, axis)
    weights = world.log_prob(grid).exp() * 0.05**2
    assert weights.sum().item() == pytest.approx(1, abs=1e-3)
    draws = world.sample(40_000, generator=generator)
    for power in (1, 2):
        expected = (weights[:, None] * grid**power).sum(dim=0)
        torch.testing.assert_close((draws**power).mean(dim=0), expected, atol=0.05, rtol=0)


def test_two_clusters_are_as_far_apart_as_asked(generator: torch.Generator) -> None:
    draws = two_clusters(5, distance=3.0).sample(20_000, generator=generator)
    assert draws[:, 0].std().item() == pytest.approx(math.sqrt(1.5**2 + 0.25), abs=0.03)


def test_exact_membership_is_undecided_where_both_densities_agree() -> None:
    membership = ExactMembership(StandardNormal(2), StandardNormal(2))
    z = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    torch.testing.assert_close(membership.realness(z), torch.full((2,), 0.5))
    torch.testing.assert_close(membership.confusion(z), torch.ones(2))


def test_confusion_stays_finite_far_away() -> None:
    membership = ExactMembership(two_clusters(2, 4.0), StandardNormal(2))
    confusion = membership.confusion(torch.tensor([[60.0, 0.0]]))
    assert confusion.isfinite().all()
    assert confusion.item() == pytest.approx(0)
