"""Numbers against closed forms."""

import numpy as np
import pytest
import torch

from latent_atlas.errors import UserError
from latent_atlas.evaluation import frechet_distance, reconstruction_numbers
from latent_atlas.features import train_classifier


def test_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    random = np.random.default_rng(0)
    a = random.normal(0, 1, (200_000, 2))
    b = random.normal((3, 0), (2, 0.5), (200_000, 2))
    # |3|² + (1 - 2)² + (1 - 1/2)², for diagonal covariances
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 0.25, rel=0.02)


def test_frechet_distance_of_a_set_to_itself_is_zero_even_where_features_are_dead() -> None:
    features = np.random.default_rng(0).normal(size=(50, 8))
    features[:, 3] = 0
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_is_symmetric() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(60, 4)), random.normal(1, 2, (80, 4))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


def test_a_single_row_has_no_spread_to_compare() -> None:
    with pytest.raises(UserError, match="two or more rows"):
        frechet_distance(np.zeros((20, 4)), np.zeros((1, 4)))


def test_reconstruction_numbers_follow_their_definitions() -> None:
    images = torch.zeros(3, 1, 4, 4)
    numbers = reconstruction_numbers(images, torch.full_like(images, 0.1))
    assert numbers["mse"] == pytest.approx(0.01)
    assert numbers["psnr"] == pytest.approx(20)
    assert numbers["images"] == 3


def test_a_classifier_learns_what_can_be_told_apart_and_names_its_accuracy() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (600,), generator=generator)
    images = torch.randint(0, 100, (600, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images[labels == 1, :, :4] += 120
    judge = train_classifier(
        images[:500], labels[:500], (images[500:], labels[500:]), epochs=20, generator=torch.Generator().manual_seed(0)
    )
    assert judge.accuracy > 0.95
    assert f"{100 * judge.accuracy:.1f} %" in judge.name
    assert judge.features(images[:7]).shape == (7, 128)


def test_a_classifier_needs_two_classes() -> None:
    images, labels = torch.zeros(30, 1, 8, 8, dtype=torch.uint8), torch.zeros(30, dtype=torch.int64)
    with pytest.raises(UserError, match="two or more classes"):
        train_classifier(images, labels, (images, labels), generator=torch.Generator())
