"""What repetitions allow to be said: against scipy, scikit-learn and counting by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from latent_atlas.config import Config
from latent_atlas.study.comparison import Criterion, compare, number_at
from latent_atlas.study.design import Cell, Design, Effort, Grid
from latent_atlas.study.hypotheses import more_would, verdict
from latent_atlas.study.latent_vs_image_question import latent_vs_image
from latent_atlas.study.statistics import auroc, holm, needed, paired, pairwise, reached, spread

SCORE = Criterion("score", ("score",), "higher", "nats")


def draws(n: int = 9, shift: float = 0.0, seed: int = 0) -> list[float]:
    return (np.random.default_rng(seed).normal(size=n) + shift).tolist()


def test_the_paired_test_is_scipys_and_students() -> None:
    a, b = draws(seed=1), draws(shift=0.4, seed=2)
    found = paired(a, b)
    differences = np.subtract(a, b)
    error = differences.std(ddof=1) / math.sqrt(len(a))
    t = differences.mean() / error
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), df=len(a) - 1))
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    reach = stats.t.ppf(0.975, df=len(a) - 1) * error
    assert (found.low, found.high) == pytest.approx(
        (differences.mean() - reach, differences.mean() + reach)
    )


def test_pairing_sees_what_the_spread_over_repetitions_hides() -> None:
    luck = 10 * np.array(draws())
    assert paired((luck + 0.5 + 0.01 * np.array(draws(seed=3))).tolist(), luck.tolist()).settled


@pytest.mark.parametrize("n", [1, 2])
def test_two_repetitions_settle_nothing(n: int) -> None:
    found = paired(draws(n, shift=100), draws(n))
    assert found.p == 1
    assert not found.settled
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_equal_differences_are_certain_and_none_is_nothing() -> None:
    assert paired([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).settled
    assert paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).p == 1


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_false_alarms_over_all_pairs_are_as_rare_as_promised() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        scores = {name: random.normal(size=6).tolist() for name in "abcd"}
        alarms += any(test.settled for test in pairwise(scores).values())
    assert alarms <= 18  # 5 % of 200, and three standard deviations


@pytest.mark.parametrize("comparisons", [1, 3])
def test_as_many_pairs_are_needed_as_settle_it(comparisons: int) -> None:
    differences = np.array([-1.0, 1.0, 0.2, 0.9, -0.1, 0.6])
    count = needed(paired(differences.tolist(), [0.0] * 6), comparisons)
    assert count is not None

    def p_of(n: int) -> float:
        t = differences.mean() / (differences.std(ddof=1) / math.sqrt(n))
        return float(2 * stats.t.sf(abs(t), n - 1)) * comparisons

    assert p_of(count) < 0.05 <= p_of(count - 1)
    assert needed(paired([1.0, -1.0, 1e-6], [0.0] * 3)) is None
    assert needed(paired([1.0], [0.0])) is None


def test_what_more_repetitions_would_settle_is_said() -> None:
    open_ = compare(SCORE, {"a": {0: 1.0, 1: 2.0, 2: 0.1}, "b": {0: 0.0, 1: 0.2, 2: 0.3}})
    ahead = compare(
        SCORE, {"a": dict(enumerate(draws(shift=9))), "b": dict(enumerate(draws(seed=1)))}
    )
    assert "1 of the 1 open comparisons" in more_would([open_])
    assert "a against b" in more_would([open_])
    assert "No comparison" in more_would([ahead])
    assert more_would([compare(SCORE, {"a": {0: 1.0}, "b": {0: 2.0}})]) == ""


def test_all_pairs_are_tested_both_ways_round() -> None:
    tests = pairwise({"a": draws(), "b": draws(seed=4), "c": draws(seed=5)})
    assert len(tests) == 6
    assert tests["a", "b"].difference == -tests["b", "a"].difference
    assert tests["a", "b"].low == -tests["b", "a"].high


def test_auroc_is_scikit_learns_with_ties_and_infinities() -> None:
    random = np.random.default_rng(0)
    high, low = random.integers(0, 6, 50).astype(float), random.integers(-2, 4, 70).astype(float)
    expected = roc_auc_score([1] * 50 + [0] * 70, np.concatenate([high, low]))
    assert auroc(high, low) == pytest.approx(expected)
    assert auroc(low, high) == pytest.approx(1 - expected)
    low[:7] = -np.inf
    assert auroc(high, low) > expected


def test_a_curve_reaches_its_target_between_two_sizes() -> None:
    assert reached([10, 100, 1000], [0.5, 0.7, 0.9], 0.8) == pytest.approx(100 * math.sqrt(10))
    assert reached([10, 100], [0.95, 0.99], 0.9) == 10
    assert reached([10, 100], [0.5, 0.6], 0.9) is None


def test_a_spread_of_one_has_no_deviation() -> None:
    assert spread([3.0]).deviation == 0
    assert spread([1.0, 2.0, 4.0]).deviation == pytest.approx(np.std([1, 2, 4], ddof=1))


def test_a_contest_compares_on_common_repetitions_only() -> None:
    scores = {
        "a": {0: 1.0, 1: 2.0, 2: 3.0, 3: 9.0},
        "b": {0: 0.0, 1: 1.1, 2: 2.0, 3: None},
        "c": {0: 5.0},
    }
    found = compare(SCORE, scores)
    assert found.values["a"].tolist() == [1.0, 2.0, 3.0]
    assert found.missing == ("c",)
    assert found.best == "a"
    assert found.leaders == ("a",)
    assert "better than b" in found.sentence()
    assert "3 pairs; c left out" in found.sentence()


@pytest.mark.parametrize(("better", "best"), [("higher", "a"), ("lower", "b"), ("", "a")])
def test_the_best_is_the_highest_or_the_lowest(better: str, best: str) -> None:
    scores = {"a": dict(enumerate(draws(shift=5))), "b": dict(enumerate(draws(seed=1)))}
    found = compare(Criterion("score", (), better), scores)
    assert found.best == best
    assert ("best" if better else "highest") in found.sentence()


def test_what_is_not_settled_is_said_to_be_so() -> None:
    scores = {"a": dict(enumerate(draws())), "b": dict(enumerate(draws(seed=1)))}
    found = compare(SCORE, scores)
    assert len(found.leaders) == 2
    assert "not settled against" in found.sentence()
    few = compare(SCORE, {"a": {0: 1.0}, "b": {0: 2.0}})
    assert "untested" in few.sentence()
    assert "nothing was measured" in compare(SCORE, {"a": {0: None}}).sentence()


def test_equal_contestants_are_told_as_such() -> None:
    same = compare(SCORE, {"a": {0: 8.0, 1: 8.0, 2: 8.0}, "b": {0: 8.0, 1: 8.0, 2: 8.0}})
    assert same.sentence() == "score: 8.00 ± 0 nats for all of them (3 pairs)."
    assert len(same.leaders) == 2


def test_a_verdict_recommends_who_leads_and_nobody_where_none_does() -> None:
    ahead = compare(
        SCORE, {"a": dict(enumerate(draws(shift=9))), "b": dict(enumerate(draws(seed=1)))}
    )
    level = compare(SCORE, {"a": dict(enumerate(draws())), "b": dict(enumerate(draws(seed=1)))})
    sentence, default = verdict("mode", [ahead, level], ["a", "b"])
    assert default == "a"
    assert "recommend mode a" in sentence
    assert verdict("mode", [level], ["a", "b"])[1] is None
    assert (
        "needs at least 3"
        in verdict("mode", [compare(SCORE, {"a": {0: 1.0}, "b": {0: 2.0}})], ["a", "b"])[0]
    )
    assert "nothing to compare" in verdict("mode", [ahead], ["a"])[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "word", {}])
def test_what_is_no_number_is_none(value: object) -> None:
    assert number_at({"a": {"b": value}}, ("a", "b")) is None


def test_spaces_are_told_by_what_was_measured_only() -> None:
    design = Design(Config(), Effort(sizes=()), Grid(modes=("separate",)), images=100)
    seen = {
        Cell("sizes", seed, size=100): {
            "z": {"auroc": {"noise": 0.9 + 0.01 * seed}},
            "x": {"auroc": {"noise": 0.5}},
        }
        for seed in range(3)
    }
    answer = latent_vs_image(design, seen).answer[0]
    assert (
        answer == "With all real images D_z is significantly better on 1 and D_x on 0 of 1 tests."
    )
