"""Numbers against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from latent_atlas.density.base import StandardNormal
from latent_atlas.density.membership import Membership
from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError
from latent_atlas.evaluation import (
    COMPARED,
    EvaluationModel,
    drift,
    frechet_distance,
    plan_rows,
    reconstruction_numbers,
    travel_numbers,
    travel_table,
)
from latent_atlas.evaluation.features import train_classifier
from latent_atlas.geometry.manifold import manifold_of
from latent_atlas.travel.path import LatentPath
from latent_atlas.travel.path_info import PathMetrics, PlannerInfo
from latent_atlas.travel.planners.base import Resources


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
    with pytest.raises(UserError, match="two rows or more"):
        frechet_distance(np.zeros((20, 4)), np.zeros((1, 4)))


def test_reconstruction_numbers_follow_their_definitions() -> None:
    images = torch.zeros(3, 1, 4, 4)
    numbers = reconstruction_numbers(images, torch.full_like(images, 0.1))
    assert numbers["mse"] == pytest.approx(0.01)
    assert numbers["psnr"] == pytest.approx(20)
    assert numbers["images"] == 3


class TestManifold:
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [9.0, 9.0]])

    def test_radii_reach_to_the_kth_neighbour_and_nobody_is_their_own(self) -> None:
        corner = 8 * np.sqrt(2)
        assert manifold_of(self.square, k=1).radii == pytest.approx([1, 1, 1, 1, corner])
        assert manifold_of(self.square, k=3).radii == pytest.approx(
            [np.sqrt(2)] * 4 + [np.hypot(8, 9)]
        )

    def test_it_contains_what_is_within_reach_of_any_centre(self) -> None:
        inside = manifold_of(self.square[:4], k=1).contains(
            np.array([[0.5, 0.5], [0.0, -0.99], [0.0, -1.01], [1.9, 1.0], [1.6, 1.81]])
        )
        assert inside.tolist() == [True, True, False, True, False]

    def test_it_contains_its_own_centres(self) -> None:
        features = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
        assert manifold_of(features).contains(features).all()

    def test_precision_and_recall_see_what_is_added_and_what_is_missing(self) -> None:
        random = np.random.default_rng(0)
        near, far = random.normal(size=(400, 4)), random.normal(50, 1, size=(400, 4))
        both = manifold_of(np.concatenate([near, far]))
        one = manifold_of(near)
        fresh = random.normal(size=(400, 4))
        assert both.contains(fresh).mean() > 0.8  # precision of one mode under both is high,
        assert (
            one.contains(np.concatenate([fresh, far])).mean() < 0.55
        )  # recall of both by one mode is half

    def test_too_few_images_have_no_kth_neighbour(self) -> None:
        with pytest.raises(UserError, match="needs more than 3 images; there are 3"):
            manifold_of(self.square[:3])


def path_of(*frames: float, end: float | None = None) -> LatentPath:
    """One path on a line."""
    points = torch.tensor(frames)[:, None, None]
    there = points[-1] if end is None else torch.tensor([[end]])
    return LatentPath(points, there, "by hand", PlannerInfo(), PathMetrics(*torch.zeros(5, 1)))


class TestJudge:
    def test_real_codes_lie_under_the_floor_as_often_as_said(
        self, generator: torch.Generator
    ) -> None:
        normal = StandardNormal(3)
        model = EvaluationModel.on(normal, normal.sample(20_000, generator=generator))
        fresh = normal.sample(20_000, generator=generator)
        points = torch.stack([fresh, fresh, fresh])
        assert model.off_manifold(points).mean().item() == pytest.approx(0.05, abs=0.006)

    def test_the_floor_is_the_quantile_in_closed_form(self, generator: torch.Generator) -> None:
        normal = StandardNormal(2)  # |z|² is exponential: P(|z|² > t) = exp(-t / 2)
        model = EvaluationModel.on(normal, normal.sample(100_000, generator=generator))
        assert model.threshold == pytest.approx(np.log(0.05) - np.log(2 * np.pi), abs=0.03)

    def test_only_inner_frames_are_judged(self) -> None:
        model = EvaluationModel(
            StandardNormal(1), StandardNormal(1).log_prob(torch.tensor([[2.0]])).item()
        )
        assert model.off_manifold(
            path_of(9.0, 0.0, 3.0, 1.0, -9.0).points
        ).tolist() == pytest.approx([1 / 3])

    def test_a_path_of_two_frames_has_nothing_to_judge(self) -> None:
        with pytest.raises(UserError, match="a path of 2 frames"):
            EvaluationModel(StandardNormal(1), 0.0).off_manifold(path_of(0.0, 1.0).points)


def test_drift_is_the_largest_distance_from_the_start() -> None:
    points = path_of(1.0, 4.0, -1.0, 2.0).points
    assert drift(lambda z: z[:, 0], points).tolist() == [3.0]
    assert drift(lambda z: torch.cat([z, -4 * z], dim=1), points).tolist() == [12.0]


def test_every_row_is_planned_between_the_same_codes_and_says_how_long_it_took() -> None:
    start, end = torch.tensor([[-2.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.5], [1.0, 2.0]])
    world, generator = two_clusters(2, 4.0), torch.Generator().manual_seed(0)
    codes = world.sample(50, generator=generator)
    rows = {
        row: planner.completed(world, Resources(codes=codes)) for row, planner in COMPARED.items()
    }
    paths = plan_rows(world, start, end, rows, frames=5, generator=generator)
    assert list(paths) == list(COMPARED)
    for path in paths.values():
        assert path.points.shape == (5, 2, 2)
        assert torch.equal(path.points[0], start)
        assert path.info.seconds > 0


def test_turns_look_like_real_codes_and_straight_lines_do_not(generator: torch.Generator) -> None:
    world = StandardNormal(32)
    codes = torch.randn(400, 32, generator=generator)
    membership = Membership.fit(world, codes, generator=generator)
    rows = {row: COMPARED[row] for row in ("linear", "slerp")}
    found, bare = (
        travel_numbers(world, codes, 40, rows=rows, generator=generator, membership=known)
        for known in (membership, None)
    )
    assert found["slerp"]["non_members"] < 0.15 < 0.4 < found["linear"]["non_members"]
    assert "non_members" not in bare["linear"]


class TestTable:
    """Codes on a line, whose images are two pixels and whose features are ten times these."""

    reconstructions = 10 * np.stack([np.linspace(0, 1, 11), np.linspace(0, 1, 11)], axis=1)

    def table(self, **paths: LatentPath) -> dict[str, dict[str, float]]:
        return travel_table(
            paths,
            evaluation_models={
                "normal": EvaluationModel(
                    StandardNormal(1), StandardNormal(1).log_prob(torch.tensor([[0.45]])).item()
                )
            },
            decode=lambda z: torch.stack([z, z], dim=2)[..., None],
            features=lambda images: 10 * images.flatten(1).numpy(),
            reconstructions=self.reconstructions,
            attributes={"place": lambda z: z[:, 0]},
        )

    def test_numbers_follow_their_definitions(self) -> None:
        path = path_of(0.0, 0.1, 0.2, 0.5, 0.6, 1.0)
        path = replace(path, metrics=replace(path.metrics, length_ratio=torch.tensor([1.25])))
        row = self.table(there=path)["there"]
        assert row["off_manifold normal"] == 0.5
        assert row["precision"] == 1
        assert row["feature_jump"] == pytest.approx(4 * np.sqrt(2), rel=1e-5)
        assert row["length_ratio"] == 1.25
        assert row["drift place"] == 1
        assert row["frechet"] == pytest.approx(
            frechet_distance(
                np.array([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0], [6.0, 6.0]]), self.reconstructions
            ),
            rel=1e-4,
        )
        assert "seconds_per_path" not in row

    def test_frames_that_nothing_real_resembles_cost_precision(self) -> None:
        row = self.table(away=path_of(0.0, 0.5, 7.0, 8.0, 9.0, 1.0))["away"]
        assert row["precision"] == 0.25

    def test_frames_that_are_all_alike_cost_recall(self) -> None:
        spread, alike = (
            path_of(0.0, *frames, 1.0)
            for frames in ((0.1, 0.4, 0.6, 0.9), (0.41, 0.45, 0.55, 0.59))
        )
        table = self.table(spread=spread, alike=alike)
        assert table["spread"]["recall"] == 1
        assert table["alike"]["recall"] == pytest.approx(5 / 11)  # from 0.41 - 0.18 to 0.59 + 0.18

    def test_seconds_are_shared_by_the_journeys(self) -> None:
        path = path_of(0.0, 0.5, 1.0, 0.5)
        path = replace(
            path,
            points=path.points.repeat(1, 4, 1),
            end=path.end.repeat(4, 1),
            info=PlannerInfo(seconds=2.0),
        )
        assert self.table(four=path)["four"]["seconds_per_path"] == 0.5


def test_a_classifier_learns_what_can_be_told_apart_and_names_its_accuracy() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (600,), generator=generator)
    images = torch.randint(0, 100, (600, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images[labels == 1, :, :4] += 120
    model = train_classifier(
        images[:500],
        labels[:500],
        (images[500:], labels[500:]),
        epochs=20,
        generator=torch.Generator().manual_seed(0),
    )
    assert model.accuracy > 0.95
    assert f"{100 * model.accuracy:.1f} %" in model.name
    assert model.features(images[:7]).shape == (7, 128)


def test_a_classifier_needs_two_classes() -> None:
    images, labels = torch.zeros(30, 1, 8, 8, dtype=torch.uint8), torch.zeros(30, dtype=torch.int64)
    with pytest.raises(UserError, match="two or more classes"):
        train_classifier(images, labels, (images, labels), generator=torch.Generator())
