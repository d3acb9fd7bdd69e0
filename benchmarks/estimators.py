"""LatentDensity beside scikit-learn's own density and outlier estimators, on exact worlds.

Claim: it is nearer to the exact density than the mixture that the BIC chooses of 1 to 16 Gaussians, and tells outliers
better than an isolation forest.

All estimators learn from the same samples, of which LatentDensity holds a fifth out. `short` is the mean of the exact
log-density less that of the estimator, over 10,000 other samples: an estimate of KL(world || estimator) in nats.
Outliers are uniform in the box that holds these samples; `false alarms` is the share of these samples that LatentDensity
calls outliers, at a rate of 0.05.

    python benchmarks/estimators.py        # ten seconds a row on one core; goes on where it stopped
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from latent_atlas.density.base import SamplableDensity
from latent_atlas.density.toys import catalogue
from latent_atlas.sklearn import LatentDensity
from record import record

Row = dict[str, Any]
RESULT = Path(__file__).parent / "results" / "estimators.json"
WORLDS = (("moons", 2), ("ring", 2), ("spiral", 4), ("shell", 8))
SIZES = (500, 2_000)
TEST = 10_000
COMPONENTS = (1, 2, 4, 8, 16)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    given = parser.parse_args()
    rows = json.loads(RESULT.read_text())["results"]["rows"] if RESULT.exists() else []
    known = {(row["world"], row["samples"], row["seed"]) for row in rows}
    for seed in given.seeds:
        for name, dimension in WORLDS:
            for size in SIZES:
                world = f"{name}, d = {dimension}"
                if (world, size, seed) in known:
                    continue
                about = {"world": world, "samples": size, "seed": seed}
                rows.append(about | measured(catalogue(dimension)[name], size, seed))
                print(rows[-1], flush=True)
                record("estimators", {"rows": rows})


def measured(world: SamplableDensity, size: int, seed: int) -> Row:
    """The three estimators, fitted to the same samples."""
    generator = torch.Generator().manual_seed(seed)
    train, test = (world.sample(n, generator=generator).numpy() for n in (size, TEST))
    uniform = np.random.default_rng(seed).uniform(test.min(axis=0), test.max(axis=0), test.shape)
    exact = world.log_prob(test).double().numpy().mean()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ours = LatentDensity(random_state=seed).fit(train)
    seconds = time.process_time() - start
    mixtures = [GaussianMixture(k, random_state=seed).fit(train) for k in COMPONENTS]
    mixture = min(mixtures, key=lambda one: one.bic(train))
    forest = IsolationForest(random_state=seed).fit(train)
    both, inside = np.concatenate([test, uniform]), np.arange(2 * TEST) < TEST
    return {
        "short": exact - ours.score(test),
        "short, mixture": exact - mixture.score(test),
        "components": mixture.n_components,
        "AUROC": roc_auc_score(inside, ours.score_samples(both)),
        "AUROC, mixture": roc_auc_score(inside, mixture.score_samples(both)),
        "AUROC, forest": roc_auc_score(inside, forest.score_samples(both)),
        "AUROC, exact": roc_auc_score(inside, world.log_prob(both).numpy()),
        "false alarms": (ours.predict(test) == -1).mean(),
        "steps": ours.n_iter_,
        "core seconds": seconds,
    }


if __name__ == "__main__":
    main()
