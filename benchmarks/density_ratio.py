"""D_z between two Gaussians whose log-density ratio is known: how many of 10 to 80 nats it finds.

Claim: with noise levels, D_z finds the mutual information of a correlated Gaussian, which is KL(q || N(0, I)), within
5 %, up to 320 dimensions and 80 nats; a single classifier finds at most about 10 nats. The setting is that of Telescoping
Density-Ratio Estimation (Rhodes et al. 2020). By default D_z starts from the Gaussian with the moments of the codes,
which is the answer itself here, so D_z is measured without that start as well.

    python benchmarks/density_ratio.py                             # about 12 minutes on one CPU core
    python benchmarks/density_ratio.py --dimensions 40 160         # some of it
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from latent_atlas import LatentMap
from latent_atlas.config import MapConfig
from latent_atlas.density.base import SamplableDensity, StandardNormal
from latent_atlas.density.toys import correlated_gaussian
from record import record

NATS_PER_DIMENSION = 0.25
VARIANTS: dict[str, dict[str, Any]] = {
    "single level": {"levels": 1},
    "levels, from nothing": {"reference": "none"},
    "levels": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dimensions", type=int, nargs="*", default=[40, 80, 160, 320])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    rows = []
    for dimension in given.dimensions:
        world = correlated_gaussian(dimension, NATS_PER_DIMENSION * dimension)
        for variant, settings in VARIANTS.items():
            config = MapConfig(steps=given.steps, **settings)
            row = {"d": dimension, "arm": variant, **measure(world, config, given)}
            print(
                {
                    name: round(value, 3) if isinstance(value, float) else value
                    for name, value in row.items()
                }
            )
            rows.append(row)
    out = record(
        "density_ratio", {"rows": rows}, samples=given.samples, steps=given.steps, seed=given.seed
    )
    plot(rows, out.with_suffix(".png"))


def measure(
    world: SamplableDensity, config: MapConfig, given: argparse.Namespace
) -> dict[str, float | None]:
    """Fit one map and compare its log-ratio with the exact one on codes it has not seen."""
    generator = torch.Generator(given.device).manual_seed(given.seed)
    codes, fresh = (world.sample(n, generator=generator) for n in (given.samples, 10_000))
    start = time.perf_counter()
    latent_map = LatentMap.fit(codes, config=config, generator=generator)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        logit = latent_map.logit(fresh).double()
        exact = (
            world.log_prob(fresh.double())
            - StandardNormal(world.dimension).log_prob(fresh.double())
        ).double()
    truth = world.kl_to_prior(generator=generator).nats
    found = logit.mean().item()
    calibration = latent_map.calibration
    return {
        "true nats": truth,
        "nats": found,
        "relative error": found / truth - 1,
        "squared error": (found - truth) ** 2,
        "nats by the gradients over levels": calibration.kl_over_levels,
        "log normaliser": calibration.log_normalising_constant,
        "rms error of each log-ratio": (logit - exact).square().mean().sqrt().item(),
        "levels": calibration.levels,
        "seconds": seconds,
    }


def plot(rows: list[dict[str, Any]], out: Path) -> None:
    """Nats found against true nats, all variants in one figure."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    truth = sorted({row["true nats"] for row in rows})
    axes.plot(truth, truth, color="0.6", linewidth=1, label="exact")
    for variant in VARIANTS:
        mine = sorted((row["true nats"], row["nats"]) for row in rows if row["arm"] == variant)
        axes.plot(*zip(*mine, strict=True), marker="o", label=variant)
    axes.set(xlabel="true KL(q || N(0, I)), nats", ylabel="found, nats")
    axes.legend()
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()
