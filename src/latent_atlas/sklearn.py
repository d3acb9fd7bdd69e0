"""The map as a scikit-learn estimator: a density, and a detector of outliers."""

import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from latent_atlas.anomaly.conformal import FALSE_ALARM_RATE, check_rate, is_share
from latent_atlas.boundary.gaussian import GaussianBoundary
from latent_atlas.codes.posterior import WIDE, Codes
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.density.base import Density
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import checked, require
from latent_atlas.sampling.distribution import TorchDistribution
from latent_atlas.shapes import ArrayLike, batched

__all__ = ["LatentDensity"]

FEWEST = 40  # different samples, and two a feature, from which D_z is trained
FOLDS = 40  # in which fewer samples are held out
PIECE = 4_096  # samples evaluated at a time

RandomState = int | np.random.RandomState | None


class LatentDensity(OutlierMixin, DensityMixin, BaseEstimator):
    """The density of samples by a discriminator D_z, log q(x) = l(x) + log r(x): see `LatentMap`.

    Of fewer than 40 different samples, or two a feature, no held-out sample could confirm what D_z
    learns: their density is then the Gaussian of their mean and shrunk covariance.

    An outlier is less likely than the k-th least likely of m held-out samples, with k = α (m + 1)
    rounded down, or 1. So at most a share α of new samples of the same distribution are called
    outliers, or 1 / (m + 1) if that is more. (The held-out samples also decided when training
    stopped.) The `contamination` of other detectors is another share: that of the training samples,
    at which a flexible density is higher than at new ones.

    References:
        Testing for Outliers with Conformal p-values, Bates et al. 2023.

    Attributes:
        density_: q, a `LatentMap`; a Gaussian of few samples.
        offset_: Log-density in nats below which a sample is an outlier.
        n_iter_: Training steps that were taken; 1 of few samples.
        n_features_in_: d, the number of features.
        feature_names_in_: Their names, where X is a DataFrame.

    Examples:
        >>> from sklearn.datasets import make_moons
        >>> x = make_moons(500, noise=0.1, random_state=0)[0]
        >>> q = LatentDensity(max_iter=100, width=16, random_state=0).fit(x)
        >>> q.predict([[0.5, 0.25], [1.0, 0.0], [0.0, 3.0]])
        array([ 1,  1, -1])
    """

    def __init__(
        self,
        *,
        boundary: str = "gaussian",
        levels: int | None = None,
        width: int = 32,
        depth: int = 2,
        batch_size: int = 512,
        max_iter: int = 2_000,
        validation_fraction: float = 0.2,
        false_alarm_rate: float = FALSE_ALARM_RATE,
        random_state: RandomState = None,
    ) -> None:
        """Set the parameters.

        Arguments:
            boundary, levels, width, depth, batch_size: Of the map, as in `config.MapConfig`.
            max_iter: Training steps at most, 1 or more.
            validation_fraction: Share of the samples that is held out, in (0, 1), and at least ten.
            false_alarm_rate: α, the largest share of samples of this distribution that are called
                outliers, in (0, 1).
            random_state: Seed of all randomness, as in scikit-learn.
        """
        self.boundary = boundary
        self.levels = levels
        self.width = width
        self.depth = depth
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.false_alarm_rate = false_alarm_rate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> "LatentDensity":
        """Fit the density of samples X, shape (n, d), n of 2 or more; y is not used.

        Raises:
            ValueError: X is no array of finite numbers, a parameter is out of range, or no map can
                be fitted to such samples; the sentence says why.

        Warns:
            UserWarning: for each of the map's `warnings`.
        """
        check_rate(self.false_alarm_rate)
        share = self.validation_fraction
        require(
            is_share(share), f"validation_fraction is {share!r}; choose a share between 0 and 1"
        )
        config = MapConfig(
            boundary=self.boundary,
            levels=self.levels,
            width=self.width,
            depth=self.depth,
            batch_size=self.batch_size,
            steps=self.max_iter,
        )
        x = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        # A copy of a sample that is trained on would be no held-out sample.
        x = torch.from_numpy(x[np.sort(np.unique(x, axis=0, return_index=True)[1])])
        require(len(x) > 1, f"all samples are equal to {x[0].tolist()}; give different ones")
        generator = self._generator(self.random_state)
        records: list[dict[str, float]] = [{"step": 1.0}]
        if len(x) < max(FEWEST, 2 * min(x.shape[1], WIDE)):
            self.density_, held_out = _gaussian(x, config, generator)
        else:
            train, test = Codes(x).split(share, generator=generator)
            self.density_ = LatentMap.fit(
                train.means, config=config, held_out=test, generator=generator, log=records.append
            )
            held_out = self._log_prob(test.means)
        self.n_iter_ = int(records[-1]["step"])
        k = max(1, int(self.false_alarm_rate * (len(held_out) + 1)))
        self.offset_ = float(np.sort(held_out)[k - 1])
        return self

    def score_samples(self, X: ArrayLike) -> Float[np.ndarray, " n"]:
        """log q(x) in nats of samples X (n, d), shape (n,)."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        return self._log_prob(torch.from_numpy(x))

    def score(self, X: ArrayLike, y: object = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Mean of log q(x) in nats over samples X (n, d), as of `GaussianMixture`; y is unused."""
        return float(self.score_samples(X).mean())

    def decision_function(self, X: ArrayLike) -> Float[np.ndarray, " n"]:
        """log q(x) - `offset_` in nats of samples X (n, d), shape (n,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> Int[np.ndarray, " n"]:
        """-1 for outliers and 1 for the other samples of X (n, d), shape (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @checked
    def sample(
        self, n_samples: int = 1, random_state: RandomState = None
    ) -> Float[np.ndarray, "n d"]:
        """Draw samples, shape (n_samples, d), as `sampling.draw` does.

        Arguments:
            n_samples: 1 or more.
            random_state: Seed; None is another one each time.

        Raises:
            ValueError: n_samples is less than 1.
        """
        check_is_fitted(self)
        require(n_samples >= 1, f"n_samples is {n_samples}; choose 1 or more")
        q = TorchDistribution(self.density_, generator=self._generator(random_state))
        return q.sample((n_samples,)).double().numpy()

    @staticmethod
    def _generator(random_state: RandomState) -> torch.Generator:
        seed = check_random_state(random_state).randint(2**31 - 1)
        return torch.Generator().manual_seed(int(seed))

    @torch.no_grad()
    def _log_prob(self, x: Float[Tensor, "n d"]) -> Float[np.ndarray, " n"]:
        # In double precision a row's value does not depend on the rows beside it.
        return batched(_in_double(self.density_).log_prob, x, PIECE).numpy()

    def __getstate__(self) -> dict[str, Any]:
        """The parameters, and a map as the bytes of its file."""
        state: dict[str, Any] = {**cast("dict[str, Any]", super().__getstate__())}
        if isinstance(found := state.get("density_"), LatentMap):
            with tempfile.TemporaryDirectory() as folder:
                found.save(file := Path(folder) / "map.safetensors")
                state["density_"] = file.read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What `__getstate__` gave."""
        if isinstance(found := state.get("density_"), bytes):
            with tempfile.TemporaryDirectory() as folder:
                (file := Path(folder) / "map.safetensors").write_bytes(found)
                state = state | {"density_": LatentMap.load(file)}
        super().__setstate__(state)


def _in_double(density: Density) -> Density:
    return density.double() if isinstance(density, LatentMap) else density


def _gaussian(
    x: Float[Tensor, "n d"], config: MapConfig, generator: torch.Generator
) -> tuple[GaussianBoundary, Float[np.ndarray, " n"]]:
    """A Gaussian, and the log-density of each sample by the Gaussian of those of other folds."""
    held_out = np.empty(len(x))
    for rows in np.array_split(np.arange(len(x)), min(FOLDS, len(x))):
        others = x[np.setdiff1d(np.arange(len(x)), rows)]
        fold = GaussianBoundary.fit(others, config, generator=generator)
        held_out[rows] = fold.log_prob(x[rows]).numpy()
    return GaussianBoundary.fit(x, config, generator=generator), held_out
