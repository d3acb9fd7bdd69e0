"""Metrics of image sets against closed forms, formulas, other software and repeated draws."""

import numpy as np
import pytest
import torch
from torch import nn

from latent_atlas.errors import UserError
from latent_atlas.evaluation import (
    Number,
    collection_numbers,
    feature_distance,
    frechet_distance,
    half_sampled,
    kernel_distance,
    mean_of,
)
from latent_atlas.geometry.manifold import overlap


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cubic(x: np.ndarray, y: np.ndarray) -> float:
    return (float(x @ y) / len(x) + 1) ** 3


@pytest.mark.parametrize(("n", "m"), [(12, 40), (200, 40), (9, 9)])
def test_frechet_distance_is_its_formula_with_more_and_with_fewer_images_than_features(
    n: int, m: int
) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(n, 20)), random.normal(0.5, 1.5, size=(m, 20))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.clip(np.linalg.eigvals(cov_a @ cov_b).real, 0, None)).sum()
    by_hand = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * roots
    assert frechet_distance(a, b) == pytest.approx(by_hand, rel=1e-4)


class TestKernelDistance:
    def test_it_is_its_formula(self) -> None:
        random = np.random.default_rng(0)
        a, b = random.normal(size=(4, 3)), random.normal(1, 1, size=(5, 3))
        among_a = np.mean([cubic(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
        among_b = np.mean([cubic(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
        across = np.mean([cubic(x, y) for x in a for y in b])
        assert kernel_distance(a, b) == pytest.approx(among_a + among_b - 2 * across)

    def test_its_mean_is_zero_on_one_distribution_however_few_there_are(self) -> None:
        random = np.random.default_rng(0)
        values = np.array([kernel_distance(*random.normal(size=(2, 10, 3))) for _ in range(3000)])
        assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5
        assert (values < 0).any()  # which a biased estimate cannot be

    def test_it_sees_another_mean_and_another_spread(self) -> None:
        random = np.random.default_rng(0)
        a = random.normal(size=(300, 3))
        assert kernel_distance(a, random.normal(0.5, 1, (300, 3))) > 0.3
        assert kernel_distance(a, random.normal(0, 1.5, (300, 3))) > 0.3


class Flatten(nn.Module):
    """Features for torchmetrics: the pixels themselves, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).double()


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_both_distances_are_those_of_torchmetrics() -> None:
    fid, kid = (pytest.importorskip(f"torchmetrics.image.{name}") for name in ("fid", "kid"))
    real = torch.rand(60, 3, 2, 2, generator=seeded(), dtype=torch.float64)
    drawn = torch.rand(60, 3, 2, 2, generator=seeded(1), dtype=torch.float64).square()
    frechet = fid.FrechetInceptionDistance(Flatten(), input_img_size=(3, 2, 2)).set_dtype(
        torch.float64
    )
    kernel = kid.KernelInceptionDistance(Flatten(), subsets=1, subset_size=60)
    for metric in (frechet, kernel):
        metric.update(real, real=True)
        metric.update(drawn, real=False)
    a, b = drawn.flatten(1).numpy(), real.flatten(1).numpy()
    assert frechet_distance(a, b) == pytest.approx(frechet.compute().item(), rel=1e-6)
    assert kernel_distance(a, b) == pytest.approx(kernel.compute()[0].item(), rel=1e-6)


class TestOverlap:
    reference = np.array([[0.0], [1.0], [2.0], [10.0]])
    """With k = 1 the balls reach 1, 1, 1 and 8."""

    def test_it_counts_by_hand(self) -> None:
        images = np.array([[0.5], [1.5], [30.0], [31.0]])  # whose balls reach 1, 1, 1 and 1
        numbers = overlap(images, self.reference, k=1)
        assert numbers.precision == 2 / 4  # 0.5 and 1.5
        assert numbers.recall == 3 / 4  # all but 10
        assert numbers.density == (2 + 2 + 0 + 0) / 4
        assert numbers.coverage == 3 / 4  # nothing is in the ball of 10

    def test_an_outlier_of_the_reference_raises_precision_more_than_density(self) -> None:
        images = np.array([[5.0], [6.0], [7.0], [8.0]])  # in the wide ball of 10 alone
        numbers = overlap(images, self.reference, k=1)
        assert numbers.precision == 1
        assert numbers.density == 1
        assert overlap(images, self.reference, k=2).density == 0.5
        assert numbers.coverage == 1 / 4

    def test_the_same_images_overlap_wholly(self) -> None:
        rows = np.random.default_rng(0).normal(size=(200, 4))
        assert overlap(rows, rows).numbers() | {"density": 1} == {
            "precision": 1,
            "recall": 1,
            "density": 1,
            "coverage": 1,
        }

    def test_real_images_have_density_one(self) -> None:
        a, b = np.random.default_rng(0).normal(size=(2, 2000, 4))
        assert overlap(a, b).density == pytest.approx(1, abs=0.05)

    def test_a_missing_mode_costs_recall_and_coverage_and_no_precision(self) -> None:
        random = np.random.default_rng(0)
        both = np.concatenate([random.normal(size=(300, 4)), random.normal(50, 1, size=(300, 4))])
        numbers = overlap(random.normal(size=(600, 4)), both)
        assert numbers.precision > 0.9
        assert numbers.recall < 0.52
        assert numbers.coverage < 0.52


class TestErrors:
    def test_of_a_mean_it_is_the_textbook_one(self) -> None:
        values = np.random.default_rng(0).normal(size=400)
        assert mean_of(values).error == pytest.approx(values.std(ddof=1) / 20)
        assert mean_of(np.ones(1)) == Number(1.0, None)

    def test_halves_give_the_textbook_error_of_a_difference_of_means(self) -> None:
        random = np.random.default_rng(0)
        a, b = random.normal(0, 1, (400, 1)), random.normal(0, 3, (900, 1))
        numbers = half_sampled(
            lambda a, b: {"d": float(a.mean() - b.mean())}, a, b, rounds=400, generator=seeded()
        )
        assert numbers["d"].value == a.mean() - b.mean()
        assert numbers["d"].error == pytest.approx(np.sqrt(1 / 400 + 9 / 900), rel=0.1)

    def test_said_errors_are_those_of_repeated_draws(self) -> None:
        random, found = np.random.default_rng(0), []
        for seed in range(25):
            a, b = random.normal(0.7, 1, (100, 3)), random.normal(0, 1.3, (100, 3))
            found.append(collection_numbers(a, b, generator=seeded(seed)))
        for name in ("frechet", "kernel", "precision", "density", "coverage"):
            values = np.array([numbers[name].value for numbers in found])
            errors = np.array([numbers[name].error for numbers in found])
            assert 0.6 < errors.mean() / values.std() < 1.7, name
            assert (np.abs(values - values.mean()) < 2 * errors).mean() > 0.85, name

    def test_the_same_seed_says_the_same(self) -> None:
        a, b = np.random.default_rng(0).normal(size=(2, 40, 3))
        assert collection_numbers(a, b, generator=seeded(3)) == collection_numbers(
            a, b, generator=seeded(3)
        )


class TestFeatureDistance:
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

    def test_it_is_a_share_of_the_distance_between_images(self) -> None:
        apart = (4 * 1 + 2 * np.sqrt(2)) / 6
        number = feature_distance(self.square, self.square + np.array([0.3, 0.4]))
        assert number.value == pytest.approx(0.5 / apart)
        assert number.error == pytest.approx(0, abs=1e-12)
        assert feature_distance(self.square, self.square).value == 0

    def test_strangers_are_at_one(self) -> None:
        a, b = np.random.default_rng(0).normal(size=(2, 500, 8))
        number = feature_distance(a, b)
        assert number.error is not None
        assert abs(number.value - 1) < 3 * number.error

    @pytest.mark.parametrize(
        ("images", "rebuilt", "sentence"),
        [(square[:1], square[:1], "two or more images"), (square, square[:3], "there are 4 and 3")],
    )
    def test_what_cannot_be_paired_is_refused(
        self, images: np.ndarray, rebuilt: np.ndarray, sentence: str
    ) -> None:
        with pytest.raises(UserError, match=sentence):
            feature_distance(images, rebuilt)

    def test_identical_images_are_refused(self) -> None:
        with pytest.raises(UserError, match="all 5 images have the same features"):
            feature_distance(np.ones((5, 3)), np.zeros((5, 3)))


@pytest.mark.parametrize(
    ("images", "reference", "sentence"),
    [
        ((1, 4), (40, 4), "needs 12 or more images on each side; there are 1 and 40"),
        ((40, 4), (11, 4), "there are 40 and 11"),
        ((40, 4), (40, 5), "the images have 4 features and the reference 5"),
    ],
)
def test_collections_that_cannot_be_compared_are_refused(
    images: tuple[int, int], reference: tuple[int, int], sentence: str
) -> None:
    random = np.random.default_rng(0)
    with pytest.raises(UserError, match=sentence):
        collection_numbers(
            random.normal(size=images), random.normal(size=reference), generator=seeded()
        )


def test_a_reference_of_one_image_repeated_is_refused_and_images_all_alike_are_judged() -> None:
    varied, same = np.random.default_rng(0).normal(size=(40, 4)), np.ones((40, 4))
    with pytest.raises(UserError, match="all 40 reference images have the same features"):
        collection_numbers(varied, same, generator=seeded())
    collapsed = collection_numbers(same, varied, generator=seeded())
    assert collapsed["recall"].value == 0
    assert collapsed["coverage"].value < 0.5


def test_features_that_are_no_numbers_are_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 4))
    broken = rows.copy()
    broken[3, 2] = np.nan
    with pytest.raises(UserError, match="not finite"):
        collection_numbers(broken, rows, generator=seeded())
    with pytest.raises(UserError, match="two rows or more"):
        kernel_distance(rows[:1], rows)
