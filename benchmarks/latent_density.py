"""Held-out log-density of Fashion-MNIST codes: the map, a Gaussian mixture, a neural spline flow and the prior.

Claim: the map's held-out log-density, normalised, is higher than that of the best Gaussian mixture and not below that of
a neural spline flow, and E_r[exp l] is within 5 % of 1 (shown at d = 16; at d = 64 its error is too large to say). All
are fitted to the same samples of the same encoder's codes of the training images; held-out codes are those of the test
images.

    latent-atlas train fashion-mnist --out runs/fashion-16 --steps 1200 --batch-size 64 --set model.width=12
    # the same with --set model.discriminator_width=12; and runs/fashion-64 with --set model.latent_dim=64
    python benchmarks/latent_density.py runs/fashion-16 [RUN ...]
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from baselines import fit_flow, fit_gaussian_mixture
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.config import MapConfig
from latent_atlas.density.base import StandardNormal
from latent_atlas.density_ratio.latent_map import LatentMap
from record import record


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=MapConfig().steps, help="most steps of D_z")
    parser.add_argument(
        "--seconds", type=float, default=180.0, help="fitting time of each baseline"
    )
    parser.add_argument(
        "--draws", type=int, default=200_000, help="codes of the training images, for the baselines"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    results = {}
    for run in given.runs:
        atlas = Atlas.load(run, device="cpu")
        rows = compare(atlas, given)
        results[f"d = {atlas.map.dimension}"] = {
            "codes": len(atlas.codes["train"]),
            "estimators": rows,
        }
        for name, row in rows.items():
            print(run, name, row, flush=True)
    record(
        "latent_density",
        results,
        steps=given.steps,
        seconds=given.seconds,
        draws=given.draws,
        seed=given.seed,
    )


def compare(atlas: Atlas, given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Held-out log q in nats of every estimator on one run's codes."""
    generator = torch.Generator().manual_seed(given.seed)
    learn, check = atlas.codes["train"].split(0.1, generator=generator)
    test = atlas.codes["held_out"].sample(20_000, generator=generator)
    rows: dict[str, dict[str, Any]] = {}
    for name, levels in (("D_z, levels", None), ("D_z, single level", 1)):
        start = time.perf_counter()
        config = MapConfig(levels=levels, steps=given.steps)
        latent_map = LatentMap.fit(
            learn.means, learn.log_variances, config=config, held_out=check, generator=generator
        ).normalised()
        seconds = time.perf_counter() - start
        measured = latent_map.calibration
        said = {
            "E_r[exp l]": measured.normalising_constant,
            "its error": measured.normalising_constant_error,
            "levels": measured.levels,
        }
        with torch.no_grad():
            rows[name] = {
                "log q": latent_map.log_prob(test).mean().item(),
                "seconds": seconds,
                **said,
            }
    train, held_out = (
        codes.sample(n, generator=generator) for codes, n in ((learn, given.draws), (check, 5_000))
    )
    baselines = {"Gaussian mixture": fit_gaussian_mixture, "neural spline flow": fit_flow}
    for name, fit in baselines.items():
        fitted = fit(train, held_out, seconds=given.seconds, generator=generator)
        with torch.no_grad():
            rows[name] = {"log q": fitted.log_prob(test).mean().item(), **fitted.about}
    rows["prior"] = {"log q": StandardNormal(test.shape[1]).log_prob(test).mean().item()}
    return rows


if __name__ == "__main__":
    main()
