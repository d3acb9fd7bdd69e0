"""Measures of maps where the answer is known: the probe's AUC, what D* looks like, and D_x pulled back."""

import math

import pytest
import torch

from latent_atlas.config import Config, MapConfig, ModelConfig, TrainConfig
from latent_atlas.density.base import ExactRatio, StandardNormal
from latent_atlas.density.toys import two_clusters
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.study.decay_profile import (
    STEPS,
    _sentence,
    crossing,
    displaced,
    optimal,
    realness_decay,
)
from latent_atlas.study.discriminator_energy import DiscriminatorEnergy
from latent_atlas.study.fixtures import CORRUPTIONS, corrupted
from latent_atlas.study.image_discriminator import fit_image_discriminator
from latent_atlas.study.metrics import calibration_metrics, query_times

QUICK = MapConfig(width=32, depth=1, steps=400, batch_size=256, check_every=50)


def gaussian_pull(a: float) -> tuple[DiscriminatorEnergy, torch.Tensor]:
    """G(z) = A z as a 2 x 2 image and l_x(x) = -a |x|² / 2; and the precision I + a Aᵀ A of the density it makes."""
    matrix = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    energy = DiscriminatorEnergy(
        lambda z: (z @ matrix.T).unflatten(1, (1, 2, 2)),
        lambda x: -0.5 * a * x.flatten(1).square().sum(dim=1),
        3,
    )
    return energy, torch.eye(3, dtype=torch.float64) + a * matrix.T @ matrix


@pytest.fixture(scope="module")
def world() -> tuple[ExactRatio, LatentMap]:
    """Two clusters against the prior, exactly, and as a probe learns them."""
    population, generator = two_clusters(2, 2.0), torch.Generator().manual_seed(0)
    codes = population.sample(3_000, generator=generator)
    probe = LatentMap.fit(codes, config=QUICK, generator=generator)
    return ExactRatio(population, StandardNormal(2)), probe


def test_the_pulled_back_score_is_the_gradient_by_finite_differences(
    generator: torch.Generator,
) -> None:
    energy, _ = gaussian_pull(0.7)
    z, h = torch.randn(5, 3, generator=generator, dtype=torch.float64), 1e-5
    steps = h * torch.eye(3, dtype=torch.float64)
    numeric = torch.stack(
        [(energy.log_prob(z + e) - energy.log_prob(z - e)) / (2 * h) for e in steps], dim=1
    )
    torch.testing.assert_close(energy.score(z), numeric, rtol=1e-6, atol=1e-8)


def test_a_quadratic_discriminator_pulls_the_prior_to_a_known_gaussian(
    generator: torch.Generator,
) -> None:
    energy, precision = gaussian_pull(2.0)
    z = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(energy.score(z), -z @ precision)
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), precision_matrix=precision
    )
    offsets = energy.log_prob(z) - exact.log_prob(z)
    torch.testing.assert_close(
        offsets, offsets[:1].expand(6)
    )  # the same density up to its constant


def test_draws_of_the_pulled_back_density_have_its_covariance(generator: torch.Generator) -> None:
    from latent_atlas.sampling import draw

    energy, precision = gaussian_pull(0.5)
    single = DiscriminatorEnergy(
        lambda z: energy.decode(z.double()), lambda x: energy.discriminator(x).float(), 3
    )
    points = draw(single, 4_000, "importance", generator=generator).points
    torch.testing.assert_close(
        torch.cov(points.T), torch.linalg.inv(precision).float(), rtol=0.2, atol=0.05
    )


def test_the_probes_auc_is_that_of_the_exact_discriminator(
    world: tuple[ExactRatio, LatentMap],
) -> None:
    exact, probe = world
    generator = torch.Generator().manual_seed(5)
    real = two_clusters(2, 2.0).sample(4_000, generator=generator)
    fake = torch.randn(4_000, 2, generator=generator)
    right, learned = calibration_metrics(exact, real, fake), calibration_metrics(probe, real, fake)
    assert right["auc"] > 0.65
    assert learned["auc"] == pytest.approx(right["auc"], abs=0.01)
    assert learned["kl"] == pytest.approx(right["kl"], abs=0.1)
    assert right["calibration_error"] < 0.03


def test_an_auc_of_the_same_population_is_one_half(generator: torch.Generator) -> None:
    same = ExactRatio(StandardNormal(3), StandardNormal(3))
    real, fake = torch.randn(2, 500, 3, generator=generator)
    assert calibration_metrics(same, real, fake)["auc"] == pytest.approx(0.5)


def test_realness_falls_along_the_steps_as_predicted(world: tuple[ExactRatio, LatentMap]) -> None:
    exact, probe = world
    real = exact.population.sample(800, generator=torch.Generator().manual_seed(6))
    found = realness_decay(
        probe, exact.population, real, generator=torch.Generator().manual_seed(7)
    )
    assert found["steps"] == list(STEPS)
    assert found["measured"][0] > 0.5 > found["measured"][-1]
    assert found["error"] < 0.05
    assert found["half_measured"] == pytest.approx(found["half_predicted"], abs=0.1)


def test_a_boundary_without_a_density_is_measured_and_not_predicted(
    world: tuple[ExactRatio, LatentMap], generator: torch.Generator
) -> None:
    population = two_clusters(2, 2.0)
    codes = population.sample(500, generator=generator)
    few = MapConfig(width=8, depth=1, steps=20, batch_size=64, check_every=10, boundary="between")
    between = LatentMap.fit(codes, config=few, generator=generator, warn=False)
    found = realness_decay(between, population, codes, generator=generator)
    assert len(found["measured"]) == len(STEPS)
    assert found["predicted"] is None
    assert found["error"] is None
    assert query_times(between, codes).keys() == query_times(world[1], codes).keys()
    said = _sentence("between", [found])
    assert "predicted" not in said
    assert "mean realness" in said


def test_codes_move_by_the_populations_radius(generator: torch.Generator) -> None:
    codes = 3 * torch.randn(2_000, 5, generator=generator) + 7
    away = (displaced(codes, 0.5, generator=generator) - codes).norm(dim=1)
    torch.testing.assert_close(
        away, torch.full_like(away, 0.5 * 3 * math.sqrt(5)), rtol=0.03, atol=0
    )


def test_the_optimal_discriminator_where_a_density_is_zero() -> None:
    none, some = torch.tensor([-math.inf]), torch.tensor([-1.0])
    assert optimal(some, some).item() == 0.5
    assert optimal(some, none).item() == 1
    assert optimal(none, some).item() == 0
    assert optimal(none, none).item() == 0.5


def test_a_crossing_is_the_first_fall_through_a_level() -> None:
    assert crossing((0.0, 1.0, 2.0, 3.0), [0.4, 0.8, 0.4, 0.2], 0.6) == pytest.approx(1.5)
    assert crossing((0.0, 1.0), [0.4, 0.3], 0.5) is None


def test_a_discriminator_of_images_learns_and_stops() -> None:
    generator = torch.Generator().manual_seed(0)
    model = ModelConfig(image_size=8, channels=1, latent_dim=2, width=4, discriminator_width=4)
    config = Config(model=model, train=TrainConfig(batch_size=32))
    real = torch.randint(0, 256, (80, 1, 8, 8), generator=generator, dtype=torch.uint8)
    real[:, :, :4] = 0  # half of every real image is black

    def fakes(n: int, source: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 1, 8, 8, generator=source)

    heard: list[dict[str, float]] = []
    learned = fit_image_discriminator(
        real, fakes, config, 100, generator=generator, log=heard.append
    )
    noise = (255 * fakes(80, generator)).byte()
    assert learned.logit(real).min() > learned.logit(noise).max()
    assert 0 < learned.step <= 100
    assert heard[-1]["held_out_loss"] < 0.2


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corruptions_change_images_and_keep_their_shape(
    kind: str, generator: torch.Generator
) -> None:
    images = torch.randint(0, 256, (5, 3, 8, 8), generator=generator, dtype=torch.uint8)
    spoilt = corrupted(images, kind, generator=generator)
    assert spoilt.shape == images.shape
    assert (spoilt != images).any()
    if kind == "quarter turn":
        assert torch.equal(spoilt.rot90(3, (2, 3)), images)
    if kind == "blur":
        grey = torch.full_like(images, 100)
        assert torch.equal(
            corrupted(grey, kind, generator=generator), grey
        )  # no dark frame from the edges
        assert spoilt.float().std() < images.float().std()
