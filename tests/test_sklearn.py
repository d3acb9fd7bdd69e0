"""LatentDensity: what scikit-learn asks of an estimator, and how good a density it is."""

import inspect
import pickle
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from latent_atlas.density.toys import ring
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.sklearn import LatentDensity

SMALL: dict[str, Any] = {"max_iter": 20, "width": 8, "depth": 1, "batch_size": 64}
RING = ring(2)
pytestmark = pytest.mark.filterwarnings("ignore:only .* codes:UserWarning")


def ringed(n: int, seed: int) -> np.ndarray:
    """Samples of a ring, shape (n, 2)."""
    return RING.sample(n, generator=torch.Generator().manual_seed(seed)).numpy()


@cache
def fitted() -> LatentDensity:
    """The density of 600 samples of a ring; do not change it."""
    return LatentDensity(max_iter=300, batch_size=256, random_state=0).fit(ringed(600, 1))


# Its data are repeated, constant but for one row, or few.
@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks([LatentDensity(**SMALL)])
def test_it_passes_the_checks_of_scikit_learn(
    estimator: LatentDensity, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They set parameters to what no type allows, and expect that `fit` alone refuses it.
    monkeypatch.setattr(LatentDensity, "__init__", inspect.unwrap(LatentDensity.__init__))
    check(estimator)


def test_it_is_closer_to_the_exact_density_than_a_gaussian_mixture() -> None:
    train, test = ringed(600, 1), ringed(4_000, 2)
    exact = RING.log_prob(test).numpy()
    found = [
        mixture.fit(train) for mixture in (GaussianMixture(k, random_state=0) for k in (1, 2, 4, 8))
    ]
    mixture = min(found, key=lambda one: one.bic(train))
    lost = {q: (exact - q.score_samples(test)).mean() for q in (fitted(), mixture)}
    assert 0 < lost[fitted()] < lost[mixture]
    assert lost[fitted()] == pytest.approx(exact.mean() - fitted().score(test), abs=1e-4)


def test_it_ranks_outliers_better_than_an_isolation_forest() -> None:
    inside = ringed(2_000, 3)
    outside = np.random.default_rng(0).uniform(inside.min(0), inside.max(0), (2_000, 2))
    known = np.r_[np.ones(2_000), np.zeros(2_000)]
    forest = IsolationForest(random_state=0).fit(ringed(600, 1))
    best = roc_auc_score(known, RING.log_prob(np.r_[inside, outside]).numpy())
    ours, theirs = (
        roc_auc_score(known, one.decision_function(np.r_[inside, outside]))
        for one in (fitted(), forest)
    )
    assert theirs < ours < best + 1e-3
    assert ours > best - 0.02


def test_the_threshold_is_calibrated_on_samples_that_are_held_out() -> None:
    # Over the draws of m = 120 held-out samples the rate has the mean 6 / 121 and the deviation 2 %.
    rate = (fitted().predict(ringed(20_000, 4)) == -1).mean()
    assert abs(rate - 6 / 121) < 0.05


@pytest.mark.parametrize("n", [12, 30])
def test_of_few_samples_it_is_a_gaussian_with_a_calibrated_threshold(n: int) -> None:
    generator = np.random.default_rng(0)
    rates = []
    for _ in range(40):
        q = LatentDensity(random_state=0).fit(generator.normal(3.0, 2.0, (n, 1)))
        rates.append((q.predict(generator.normal(3.0, 2.0, (500, 1))) == -1).mean())
    assert 0.2 / (n + 1) < np.mean(rates) < 1 / (n + 1) + 0.01
    assert not isinstance(q.density_, LatentMap)
    assert q.sample(2_000, random_state=0).std() == pytest.approx(2.0, rel=0.5)
    with pytest.raises(ValueError, match="n_samples is 0; choose 1 or more"):
        q.sample(0)
    with pytest.raises(ValueError, match="sample: n_samples is 'x'; give a whole number"):
        q.sample("x")  # pyright: ignore[reportArgumentType]


def test_its_samples_are_of_the_density() -> None:
    drawn = fitted().sample(1_000, random_state=0)
    assert drawn.shape == (1_000, 2)
    np.testing.assert_array_equal(drawn, fitted().sample(1_000, random_state=0))
    assert RING.log_prob(drawn).mean() > RING.log_prob(ringed(4_000, 2)).mean() - 0.5


def test_in_pipelines_and_searches() -> None:
    x = ringed(200, 1) * [1.0, 1e4] + 5.0
    pipeline = make_pipeline(StandardScaler(), LatentDensity(**SMALL, random_state=0))
    assert cross_val_score(pipeline, x, cv=2).shape == (2,)
    grid = {"latentdensity__false_alarm_rate": [0.02, 0.3]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(x)
    assert (search.predict(x) == -1).mean() == pytest.approx(0.02, abs=0.05)


def test_copies_are_the_same() -> None:
    q, x = fitted(), ringed(50, 5)
    again = pickle.loads(pickle.dumps(q))
    np.testing.assert_array_equal(again.decision_function(x), q.decision_function(x))
    assert isinstance(q.__getstate__()["density_"], bytes)  # of a safetensors file
    assert clone(q).get_params() == q.get_params()


def test_columns_keep_their_names() -> None:
    frame = pd.DataFrame(ringed(100, 1), columns=["a", "b"])
    q = LatentDensity(**SMALL).fit(frame)
    assert list(q.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        q.predict(frame.rename(columns={"a": "c"}))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("false_alarm_rate", "x", "the false-alarm rate is 'x'; choose a share"),
        ("validation_fraction", None, "validation_fraction is None; choose a share"),
        ("max_iter", "x", "steps is 'x'; give a whole number"),
        ("boundary", 3, "boundary is 3; give text"),
    ],
)
def test_parameters_of_other_types_are_told_by_fit(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        LatentDensity().set_params(**{name: value}).fit(ringed(50, 1))


@pytest.mark.parametrize(
    ("settings", "x", "sentence"),
    [
        ({"false_alarm_rate": 1.5}, ringed(50, 1), "the false-alarm rate is 1.5; choose a share"),
        ({"validation_fraction": 0.0}, ringed(50, 1), "validation_fraction is 0.0; choose a share"),
        ({"boundary": "sphere"}, ringed(50, 1), "no boundary 'sphere'; choose prior, box"),
        ({"max_iter": 0}, ringed(50, 1), "steps is 0; choose 1 or more"),
        ({}, np.ones((50, 2)), "all samples are equal"),
        ({}, np.c_[ringed(50, 1), np.ones(50)], "1 of 3 dimensions are constant"),
    ],
)
def test_mistakes_are_sentences(settings: dict[str, Any], x: np.ndarray, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        LatentDensity(**settings).fit(x)
    if not settings:
        return
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        LatentDensity().fit(x[:1])
