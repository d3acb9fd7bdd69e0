"""Importance resampling against the world it draws from."""

import pytest
import torch

from latent_atlas.config import MapConfig
from latent_atlas.density import StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.latentmap import LatentMap
from latent_atlas.sampling import draw
from latent_atlas.toys import two_clusters

WORLD = two_clusters(2, distance=2.4, scale=0.4)


def test_importance_draws_have_the_world_s_moments(generator: torch.Generator) -> None:
    draws = draw(WORLD, 4_000, "importance", generator=generator)
    points = draws.points
    assert points.mean(dim=0).norm().item() < 0.1
    assert points[:, 0].abs().mean().item() == pytest.approx(1.2, abs=0.05)
    assert points[:, 1].std().item() == pytest.approx(0.4, abs=0.03)


def test_the_effective_share_is_one_over_the_mean_squared_weight(generator: torch.Generator) -> None:
    # For q against p, n / Σ w² tends to 1 / E_p[(q / p)²]; by quadrature in two dimensions.
    axis = torch.linspace(-6, 6, 481)
    grid = torch.cartesian_prod(axis, axis)
    prior = StandardNormal(2)
    second = (2 * WORLD.log_prob(grid) - prior.log_prob(grid)).exp().sum().item() * 0.025**2
    share = draw(WORLD, 4_000, "importance", generator=generator).info["effective_share"]
    assert share == pytest.approx(1 / second, rel=0.05)


def test_prior_draws_are_the_prior_s(generator: torch.Generator) -> None:
    points = draw(WORLD, 5_000, "prior", generator=generator).points
    assert points.std().item() == pytest.approx(1, abs=0.03)


def test_bad_requests_get_one_sentence(generator: torch.Generator) -> None:
    with pytest.raises(UserError, match="no sampler 'wish'"):
        draw(WORLD, 5, "wish", generator=generator)
    with pytest.raises(UserError, match="0 samples"):
        draw(WORLD, 0, generator=generator)


def test_importance_proposes_from_the_map_s_own_boundary(generator: torch.Generator) -> None:
    far = WORLD.sample(2_000, generator=generator) + 50
    config = MapConfig(width=16, depth=1, steps=100, boundary="gaussian")
    latent_map = LatentMap.fit(far, config=config, generator=generator)
    draws = draw(latent_map, 500, "importance", generator=generator)
    torch.testing.assert_close(draws.points.mean(dim=0), far.mean(dim=0), atol=0.2, rtol=0)
    assert draws.info["effective_share"] > 0.2
