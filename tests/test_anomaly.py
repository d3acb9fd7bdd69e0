"""Anomaly scores: the guarantee of their p-values, their parts, and bad arguments."""

import csv
import json
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from sklearn.metrics import roc_auc_score
from torch import Tensor

from latent_atlas.anomaly import AnomalyStatistics, ConformalScorer, conformal, gather
from latent_atlas.anomaly.result import AnomalyTable, fewest
from latent_atlas.codes.codec import reconstruction_errors
from latent_atlas.codes.posterior import Codes
from latent_atlas.density.base import ExactRatio, StandardNormal
from latent_atlas.density.toys import two_clusters
from latent_atlas.errors import UserError
from latent_atlas.evaluation.memorisation import memorisation


def statistics(n: int, random: np.random.Generator, dimension: int = 3) -> AnomalyStatistics:
    """Of images whose errors depend on their codes, as those of real images do."""
    means = random.normal(size=(n, dimension))
    return AnomalyStatistics(
        means=means,
        log_prob=-np.square(means).sum(axis=1) / 2,
        error=np.exp(means[:, 0] + 0.1 * random.normal(size=n)),
        sharpness=0.1 * random.normal(size=n),
        texture=0.1 * random.normal(size=n),
        width=np.exp(0.2 * random.normal(size=n)),
    )


def changed(some: AnomalyStatistics, **columns: np.ndarray) -> AnomalyStatistics:
    return AnomalyStatistics(**{**vars(some), **columns})


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def calibrated(held_out: AnomalyStatistics, *, generator: torch.Generator) -> ConformalScorer:
    """Of a map that was fitted to other codes of the distribution of `statistics`."""
    learned = np.random.default_rng(1).normal(size=(500, held_out.means.shape[1]))
    return ConformalScorer(held_out, learned, generator=generator)


@pytest.mark.parametrize("false_alarm_rate", [0.05, 0.2])
def test_real_images_are_outliers_at_the_promised_rate(false_alarm_rate: float) -> None:
    # One new image per calibration: these are independent, so their count is binomial with p <= the
    # rate.
    trials, held_out = 400, 120
    alarms = 0
    for trial in range(trials):
        random = np.random.default_rng(trial)
        everything = statistics(held_out + 1, random)
        scorer = calibrated(everything[np.arange(held_out)], generator=seeded(trial))
        alarms += int(
            scorer.anomaly(
                everything[np.array([held_out])], false_alarm_rate=false_alarm_rate
            ).is_outlier[0]
        )
    exact = math.floor(false_alarm_rate * (scorer.calibrated_on + 1)) / (scorer.calibrated_on + 1)
    assert binom.cdf(alarms, trials, exact) > 1e-3
    assert binom.sf(alarms - 1, trials, exact) > 1e-3


def test_a_score_depends_on_its_own_image_only() -> None:
    random = np.random.default_rng(0)
    scorer, images = (
        calibrated(statistics(200, random), generator=seeded(0)),
        statistics(30, random),
    )
    order = random.permutation(30)
    whole, shuffled = scorer.anomaly(images), scorer.anomaly(images[order])
    alone = scorer.anomaly(images[np.array([7])])
    np.testing.assert_array_equal(shuffled.p_value, whole.p_value[order])
    np.testing.assert_allclose(shuffled.anomaly_score, whole.anomaly_score[order])
    np.testing.assert_allclose(alone.anomaly_score[0], whole.anomaly_score[7])


def test_an_unlikely_code_and_an_easy_reconstruction_do_not_cancel() -> None:
    random = np.random.default_rng(0)
    scorer, images = (
        calibrated(statistics(400, random), generator=seeded(0)),
        statistics(200, random),
    )
    assert images.error is not None
    # The sum log q - log error is what it was; the vector is not.
    rarer = scorer.anomaly(
        changed(images, log_prob=images.log_prob - 3.0, error=images.error * math.exp(-3.0))
    )
    assert rarer.p_value.mean() < scorer.anomaly(images).p_value.mean() - 0.3


@pytest.mark.parametrize("factor", [8.0, 1 / 20])
def test_errors_far_from_those_of_similar_images_are_anomalous_on_either_side(
    factor: float,
) -> None:
    random = np.random.default_rng(0)
    scorer, images = (
        calibrated(statistics(600, random), generator=seeded(0)),
        statistics(100, random),
    )
    assert images.error is not None
    found = scorer.anomaly(changed(images, error=images.error * factor))
    assert found.excess_error is not None
    assert (np.sign(found.excess_error) == np.sign(math.log(factor))).all()
    assert found.is_outlier.mean() > 0.9
    # Most errors of this size are common ones among other codes: only the comparison with similar
    # images shows them.
    known = statistics(600, np.random.default_rng(0)).error
    assert known is not None
    assert (
        np.mean((known.min() < images.error * factor) & (images.error * factor < known.max())) > 0.5
    )


def test_images_differ_in_pixels_sharpness_and_texture() -> None:
    image, soft = torch.tensor([[0.0, 0.1], [0.0, 0.0]])[None, None], torch.zeros(1, 1, 2, 2)
    soft[..., 1] = 0.05
    ((error, sharpness, texture),) = reconstruction_errors(
        lambda z: soft, image, torch.zeros(1, 1)
    ).tolist()
    assert error == pytest.approx((0.05**2 + 0.05**2) / 4)
    # Squared gradients: 0.01 at two pixels against 0.0025 at two others.
    assert sharpness == pytest.approx(math.log(4), abs=1e-3)
    edges, others = (math.log((square + 1e-4) / 1e-4) for square in (0.01, 0.0025))
    assert texture == pytest.approx((edges - others) / 2, rel=1e-3)
    same = reconstruction_errors(lambda z: image, image, torch.zeros(1, 1))
    assert same.abs().max() == 0


def test_faint_noise_is_anomalous_where_its_squared_error_is_usual() -> None:
    generator = seeded(0)
    latents = torch.randn(300, 2, generator=generator)

    def decode(z: Tensor) -> Tensor:
        return (0.5 + 0.1 * z[:, :1, None, None]).clamp(0, 1).expand(-1, 1, 8, 8)

    offset = 0.02 * torch.randn(300, 1, 1, 1, generator=generator)
    noise = offset.abs() * torch.randn(300, 1, 8, 8, generator=generator)
    real, noisy = (
        gather(
            StandardNormal(2),
            Codes(latents),
            reconstruction_errors(decode, decode(latents) + some, latents),
        )
        for some in (offset + 0.001 * noise, noise)
    )
    scorer = calibrated(real[np.arange(200)], generator=generator)
    usual, found = (scorer.anomaly(some[np.arange(200, 300)]) for some in (real, noisy))
    assert usual.is_outlier.mean() < 0.15
    assert found.is_outlier.mean() > 0.9
    assert found.excess_error is not None
    assert abs(np.median(found.excess_error)) < 0.5


def test_the_score_is_the_harmonic_mean_p_value_of_its_parts() -> None:
    random = np.random.default_rng(0)
    scorer, images = (
        calibrated(statistics(400, random), generator=seeded(0)),
        statistics(50, random),
    )
    images = changed(images, log_prob=images.log_prob - np.linspace(0, 30, 50))
    found = scorer.anomaly(images)
    parts = (found.excess_error, found.excess_sharpness, found.excess_texture)
    sides = [np.asarray(part) for part in parts]
    above = [found.rarity, found.excess_distance, sides[0]]
    above.append(sum(above) / math.sqrt(3))
    p = [norm.sf(part) for part in above] + [2 * norm.sf(np.abs(part)) for part in sides]
    weights = np.array([1, 1, 1, 1, 0.1, 0.1, 0.1])
    mean = weights.sum() / (weights / np.stack(p, axis=1)).sum(axis=1)
    np.testing.assert_allclose(found.anomaly_score, -np.log(mean))
    assert (found.anomaly_score >= 0).all()


def test_a_code_in_a_gap_that_the_map_does_not_see_is_anomalous() -> None:
    """Codes on two lines with little between; the map is a Gaussian, likeliest there."""

    def lines(n: int, seed: int) -> Tensor:
        z = torch.randn(n, 2, generator=seeded(seed))
        z[:, 0] = z[:, 0].sign() + 0.05 * z[:, 0]
        return z

    held_out, real = (gather(StandardNormal(2), Codes(lines(400, seed))) for seed in (1, 2))
    gap = gather(StandardNormal(2), Codes(lines(400, 3) * torch.tensor([0.0, 1.0])))
    scorer = ConformalScorer(held_out, lines(2_000, 0), generator=seeded(0))
    assert scorer.anomaly(gap).rarity.mean() < 0
    assert scorer.anomaly(gap).is_outlier.mean() > 0.95
    assert scorer.anomaly(real).is_outlier.mean() < 0.1


def test_an_image_that_was_learned_from_is_not_its_own_neighbour() -> None:
    random = np.random.default_rng(3)
    learned, new = random.normal(size=(2, 400, 3))
    scorer = ConformalScorer(statistics(400, random), learned, generator=seeded(0))
    some = statistics(400, random)
    excess = [
        np.median(scorer.anomaly(changed(some, means=means)).excess_distance)
        for means in (learned, new)
    ]
    assert excess[0] == pytest.approx(excess[1], abs=0.3)


def test_detection_by_the_exact_density_is_as_good_as_it_can_be() -> None:
    population, elsewhere = two_clusters(2, 3.0), StandardNormal(2)
    scorer = calibrated(
        gather(population, Codes(population.sample(4000, generator=seeded(0)))), generator=seeded(1)
    )
    real, anomalous = (
        population.sample(3000, generator=seeded(2)),
        4 * elsewhere.sample(3000, generator=seeded(3)),
    )
    found = scorer.anomaly(
        gather(population, Codes(torch.cat([real, anomalous]))), false_alarm_rate=0.1
    )
    truth = np.repeat([0, 1], 3000)
    by_score = roc_auc_score(truth, found.anomaly_score)
    by_density = roc_auc_score(truth, -population.log_prob(torch.cat([real, anomalous])).numpy())
    assert by_score > 0.9
    assert by_score > by_density - 0.03  # the cost of scoring codes at the mode a little
    assert abs(found.is_outlier[:3000].mean() - 0.1) < 0.03


def test_realness_is_that_of_the_discriminator_and_is_left_out_where_there_is_none() -> None:
    population, prior = two_clusters(2, 3.0), StandardNormal(2)
    codes = Codes(population.sample(50, generator=seeded(0)))
    judged = ExactRatio(population, prior)
    found = calibrated(gather(judged, codes), generator=seeded(0)).anomaly(gather(judged, codes))
    ratio = (population.log_prob(codes.means) - prior.log_prob(codes.means)).sigmoid()
    np.testing.assert_allclose(found.realness, ratio.numpy(), rtol=1e-4)
    assert (
        "realness"
        not in calibrated(gather(population, codes), generator=seeded(0))
        .anomaly(gather(population, codes))
        .rows()[0]
    )


def test_the_discriminator_is_asked_once() -> None:
    world = ExactRatio(two_clusters(2, 3.0), StandardNormal(2))
    asked = []
    evaluate = world.logit_and_log_prob
    world.logit_and_log_prob = lambda z: asked.append(len(z)) or evaluate(z)
    world.log_prob = world.logit = None  # pyright: ignore
    found = gather(world, Codes(torch.randn(5_000, 2, generator=seeded(0))))
    assert sum(asked) == 5_000
    assert len(found) == 5_000


@pytest.mark.parametrize("limit", [400, 4_000])
def test_of_many_held_out_images_some_are_drawn(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformal, "MOST", limit)
    random = np.random.default_rng(0)
    everything, new = statistics(2_000, random), statistics(3_000, random)
    scorer = calibrated(everything, generator=seeded(0))
    table = scorer.anomaly(new)
    assert table.calibrated_on == scorer.known()["means"].shape[0] == min(limit, 2_000) // 2
    exact = math.floor(0.05 * (scorer.calibrated_on + 1)) / (scorer.calibrated_on + 1)
    spread = (exact * (1 - exact) * (1 / 3_000 + 1 / scorer.calibrated_on)) ** 0.5
    assert abs(table.is_outlier.mean() - exact) < 4 * spread


def test_typicality_is_the_share_of_held_out_images_that_are_less_likely() -> None:
    random = np.random.default_rng(0)
    held_out, images = statistics(100, random), statistics(20, random)
    found = calibrated(held_out, generator=seeded(0)).anomaly(images)
    expected = (held_out.log_prob[None] < images.log_prob[:, None]).mean(axis=1)
    np.testing.assert_allclose(found.typicality, expected)


def test_a_code_without_density_has_the_highest_score() -> None:
    random = np.random.default_rng(0)
    held_out = statistics(100, random)
    nowhere = changed(held_out, log_prob=np.where(np.arange(100) == 3, -np.inf, held_out.log_prob))
    found = calibrated(nowhere, generator=seeded(0)).anomaly(nowhere[np.arange(5)])
    assert found.p_value.argmin() == 3
    assert np.isfinite(np.delete(found.anomaly_score, 3)).all()
    assert math.isinf(found.anomaly_score[3])


def test_one_image_and_identical_images_are_scored() -> None:
    random = np.random.default_rng(0)
    one = statistics(1, random)
    same = one[np.zeros(40, int)]
    scorer = calibrated(same, generator=seeded(0))
    assert scorer.anomaly(one).p_value[0] == pytest.approx(1, abs=1e-12)
    other = scorer.anomaly(changed(one, log_prob=one.log_prob - 1))
    assert other.is_outlier[0]
    assert np.isfinite(other.anomaly_score[0])


def test_too_few_held_out_images_give_a_sentence_and_a_rate_that_works() -> None:
    random = np.random.default_rng(0)
    scorer, images = (
        calibrated(statistics(18, random), generator=seeded(0)),
        statistics(5, random),
    )
    found = scorer.anomaly(images)
    assert not found.is_outlier.any()
    assert "choose --false-alarm-rate 0.1 or more" in found.sentence()
    far = changed(images, log_prob=images.log_prob - 1000)
    assert scorer.anomaly(far, false_alarm_rate=0.1).is_outlier.all()


def test_a_rate_can_be_had_from_as_many_images_as_it_says() -> None:
    for rate in (0.05, 0.1, 0.01, 0.3):
        assert 1 / (fewest(rate) + 1) <= rate < 1 / fewest(rate)


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, math.nan])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    some = statistics(20, np.random.default_rng(0))
    with pytest.raises(
        UserError, match=r"the false-alarm rate is .*; choose a share between 0 and 1"
    ):
        calibrated(some, generator=seeded(0)).anomaly(some, false_alarm_rate=rate)


def test_nonsense_is_refused_in_one_sentence() -> None:
    some = statistics(20, np.random.default_rng(0))
    with pytest.raises(
        UserError, match="there are 3; give at least 4, for a false-alarm rate of 5 % at least 38"
    ):
        calibrated(some[np.arange(3)], generator=seeded(0))
    with pytest.raises(UserError, match=r"codes must have shape \(n, 3\); these have \(20, 2\)"):
        ConformalScorer(some, some.means[:, :2], generator=seeded(0))
    with pytest.raises(UserError, match="has the statistic 'error'"):
        calibrated(some, generator=seeded(0)).anomaly(
            AnomalyStatistics(some.means, some.log_prob, width=some.width)
        )
    with pytest.raises(UserError, match="no images were given"):
        gather(StandardNormal(2), Codes(torch.empty(0, 2)))
    with pytest.raises(
        UserError, match="1 of 3 images have codes that are not finite, the first is number 1"
    ):
        gather(StandardNormal(1), Codes(torch.tensor([[0.0], [math.nan], [1.0]])))


def test_tables_come_back_from_csv_and_json(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = statistics(12, random)
    images.log_prob[5] = -np.inf
    names = tuple(f'strange, "name" {i} é' for i in range(12))
    found = calibrated(statistics(100, random), generator=seeded(0)).anomaly(images, names=names)
    with found.write(tmp_path / "s.CSV").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(names)
    for column in (
        "log_prob",
        "typicality",
        "error",
        "width",
        "rarity",
        "excess_distance",
        "excess_error",
        "anomaly_score",
        "p_value",
    ):
        np.testing.assert_array_equal([float(row[column]) for row in rows], getattr(found, column))
    assert [row["is_outlier"] for row in rows] == [str(one) for one in found.is_outlier]
    told = json.loads(found.write(tmp_path / "s.json").read_text(), parse_constant=pytest.fail)
    assert told["false_alarm_rate"] == 0.05
    outliers = sum(row["is_outlier"] for row in told["rows"])
    assert told["outliers"] == found.is_outlier.sum() == outliers
    assert told["rows"][5]["log_prob"] is None
    assert told["rows"][4]["log_prob"] == images.log_prob[4]
    with pytest.raises(UserError, match=r"is not a \.csv or \.json file"):
        found.write(tmp_path / "s.txt")


def sheets(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4))


def test_copies_of_training_images_are_found_and_real_images_are_none() -> None:
    train, held_out, fresh = sheets(400, 0), sheets(300, 1), sheets(500, 2)
    none = memorisation(fresh, train, held_out)
    assert not none.copies
    assert none.expected == pytest.approx(3 / 301)
    assert abs(none.share - none.expected) < 4 * none.error
    assert abs(none.nearer - 0.5) < 0.1
    copied = fresh.copy()
    copied[:50] = train[100:150] + 1e-4
    some = memorisation(copied, train, held_out)
    assert some.copies
    assert some.share >= 0.1
    np.testing.assert_array_equal(some.neighbours[:50], np.arange(100, 150))
    assert some.verdict().startswith("samples copy training images: 1")


def test_the_count_of_copies_is_tested_exactly_though_the_threshold_is_drawn() -> None:
    # Few held-out images set the threshold: among many samples a binomial test would reject every
    # time.
    alarms = sum(
        memorisation(sheets(400, 3 * i), sheets(200, 3 * i + 1), sheets(9, 3 * i + 2)).copies
        for i in range(60)
    )
    assert alarms <= 1


def test_samples_from_nearer_by_are_said_to_be_nearer_and_no_copies() -> None:
    found = memorisation(0.5 * sheets(300, 2), sheets(400, 0), sheets(300, 1))
    assert found.nearer > 0.6
    assert found.nearer_p < 1e-3


def test_too_few_to_tell_copies_are_said_to_be_too_few() -> None:
    train = sheets(50, 0)
    copies = memorisation(train[:2], train, sheets(8, 1))
    assert copies.share == 1
    assert copies.verdict().startswith("too few samples or held-out images to tell")
    assert memorisation(train[:20], train, sheets(8, 1)).copies


@pytest.mark.parametrize(
    ("outlier", "calibrated_on", "sentence"),
    [
        (True, 50, "the image is an outlier: .* 0.05, .* on 50 held-out images"),
        (False, 50, "the image is no outlier"),
        (False, 2, r"p-values of 2 held-out images are 0.33 or more \(as many again set the scale"),
    ],
)
def test_the_verdict_on_one_image_or_by_few_is_in_words(
    outlier: bool, calibrated_on: int, sentence: str
) -> None:
    one, nothing = np.array([1.0]), dict.fromkeys(("excess_error", "width", "realness", "error"))
    table = AnomalyTable(
        names=("x",),
        is_outlier=np.array([outlier]),
        calibrated_on=calibrated_on,
        false_alarm_rate=0.05,
        **dict.fromkeys(("anomaly_score", "p_value", "log_prob", "typicality"), one),
        **dict.fromkeys(("rarity", "excess_distance"), one),
        **nothing,
    )
    assert re.search(sentence, table.sentence())


def test_memorisation_of_identical_images_and_of_nothing() -> None:
    same = np.zeros((5, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not memorisation(same, same, same).copies
    with pytest.raises(UserError, match=r"samples have shape \(0, 3\)"):
        memorisation(same[:0], same, same)
    with pytest.raises(UserError, match=r"held-out images have shape \(5, 2\)"):
        memorisation(same, same, same[:, :2])
