"""Samplers on toy distributions that can be sampled exactly: two-sample tests, and the error of log Z.

Claim: with 20,000 samples no test distinguishes sequential Monte Carlo, importance resampling, rejection, MALA, HMC or
the diffusion sampler from exact samples: a permutation test of the energy distance, and Kolmogorov-Smirnov tests of
every coordinate and of log q. The level is 1 % for each row, divided among its tests (Bonferroni). On separated
clusters, and on rings, shells and heavy tails in up to 16 dimensions, the means and the shares of the clusters by
sequential Monte Carlo are within three standard errors of 20,000 independent samples, and its log Z is within three of
its own errors of 0. ULA is a positive control, since its step makes it biased; exact samples are a negative control,
which shows how often the tests fail by chance. If a sampler refuses, the row has its sentence. Rows that the file of
results has are kept.

    python benchmarks/samplers_exact.py                                          # about 25 minutes on one CPU core
    python benchmarks/samplers_exact.py --worlds separated --samplers smc        # these rows, if they are missing
"""

import argparse
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from scipy.stats import ks_2samp
from torch import Tensor

from latent_atlas.density.base import SamplableDensity
from latent_atlas.density.toys import (
    GaussianMixture,
    Shell,
    StudentT,
    clusters,
    correlated_gaussian,
    ring,
    two_moons,
)
from latent_atlas.errors import UserError
from latent_atlas.sampling import (
    HMC,
    MALA,
    SMC,
    ULA,
    Diffusion,
    Importance,
    Rejection,
    Sampler,
    draw,
)
from latent_atlas.shapes import Latents
from record import record

LEVEL = 0.01  # of a row's tests together
ENERGY_DRAWS = 2_000  # of each side whose distances are permuted: all pairs of 20,000 would not fit
PERMUTATIONS = 500
EXACT = "exact draws"
HARD = (EXACT, "smc")  # rows of the worlds of `hard_worlds`, and of those in separate clusters more
APART = ("importance", "mala")


def worlds() -> dict[str, SamplableDensity]:
    """Worlds in 2 and in 8 dimensions; the last has a Gaussian's levels, which `correlated` lacks."""
    scales = torch.linspace(0.4, 1.2, 8)
    return {
        "clusters, d = 2": clusters(2, 3, generator=torch.Generator().manual_seed(1)),
        "moons, d = 2": two_moons(2),
        "correlated, d = 8": correlated_gaussian(8, mutual_information=2.0),
        "shell, d = 8": Shell(8, radius=2.2, width=0.3),
        "clusters, d = 8": clusters(8, generator=torch.Generator().manual_seed(8)),
        "gaussian, d = 8": GaussianMixture(
            torch.ones(1), torch.linspace(-0.5, 0.5, 8)[None], scales[None]
        ),
    }


def hard_worlds() -> dict[str, SamplableDensity]:
    """Clusters far apart, thin rings, shells and heavy tails, in 2 to 16 dimensions."""
    found: dict[str, SamplableDensity] = {}
    for d in (2, 4, 8, 16):
        found[f"separated, d = {d}"] = separated(d)
        found[f"ring, d = {d}"] = ring(d)
        found[f"thin shell, d = {d}"] = Shell(d, radius=3.0, width=0.2)
        found[f"tails, d = {d}"] = StudentT(d, freedom=5.0)
    return found


def separated(d: int) -> GaussianMixture:
    """Five Gaussians with weights from 5 % to 30 %, 5 from the origin and about 12 widths apart."""
    directions = torch.randn(5, d, generator=torch.Generator().manual_seed(d))
    means = 5 * directions / directions.norm(dim=1, keepdim=True)
    weights, scales = [0.1, 0.3, 0.25, 0.05, 0.3], [0.4, 0.5, 0.4, 0.5, 0.45]
    return GaussianMixture(torch.tensor(weights), means, torch.tensor(scales))


def samplers(n: int) -> dict[str, Sampler]:
    """Samplers by the name of their row; as many chains as samples."""
    return {
        "smc": SMC(),
        "importance": Importance(proposals=1_000),  # so many that hardly any sample repeats
        "rejection": Rejection(),
        "mala": MALA(chains=n),
        "hmc": HMC(chains=n, warmup=50, thin=1),
        "diffusion": Diffusion(),
        "diffusion, flow alone": Diffusion(moves=0),
        "diffusion, churn": Diffusion(moves=0, churn=1.0, steps=128),
        "ula": ULA(chains=n),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", nargs="*", help="parts of their names")
    parser.add_argument("--samplers", nargs="*", help="parts of their names")
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    rows = known()
    done = {(row["world"], row["sampler"], row["seed"]) for row in rows}
    settings = {
        "draws": given.draws,
        "seeds": given.seeds,
        "level": LEVEL,
        "permutations": PERMUTATIONS,
    }
    for world, name, seed in wanted(given):
        if (world, name, seed) in done:
            continue
        density = (worlds() | hard_worlds())[world]
        sampler = None if name == EXACT else samplers(given.draws)[name]
        generator = torch.Generator().manual_seed(seed)
        found = p_values_of(density, sampler, given.draws, generator)
        rows.append({**found, "world": world, "sampler": name, "seed": seed})
        record("samplers_exact", {"rows": rows}, **settings)


def known() -> list[dict[str, Any]]:
    """The rows that the file of results has."""
    file = Path(__file__).parent / "results" / "samplers_exact.json"
    return json.loads(file.read_text())["results"]["rows"] if file.exists() else []


def wanted(given: argparse.Namespace) -> list[tuple[str, str, int]]:
    """World, sampler and seed of the rows that were asked for."""
    names = {world: (EXACT, *samplers(given.draws)) for world in worlds()}
    names |= {world: HARD + APART * ("separated" in world) for world in hard_worlds()}
    return [
        (world, sampler, seed)
        for world, some in names.items()
        for sampler in some
        for seed in range(given.seeds)
        if not given.worlds or any(word in world for word in given.worlds)
        if not given.samplers or any(word in sampler for word in given.samplers)
    ]


def p_values_of(
    world: SamplableDensity,
    sampler: Sampler | None,
    n: int,
    generator: torch.Generator,
) -> dict[str, Any]:
    """The p-values of one row; it passes if the smallest, times the number of tests, is above the level."""
    real = world.sample(n, generator=generator)
    start, info = time.perf_counter(), {}
    if sampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the row has the diagnostics
            try:
                draws = draw(world, n, sampler, generator=generator)
            except UserError as refusal:
                return {"refused": str(refusal)}
        points, info = draws.points, draws.info.known()
    else:
        points = world.sample(n, generator=generator)
    seconds = time.perf_counter() - start
    p_values = {"log q": ks_2samp(world.log_prob(points), world.log_prob(real)).pvalue}
    p_values |= {
        f"z_{i}": ks_2samp(points[:, i], real[:, i]).pvalue for i in range(world.dimension)
    }
    p_values["energy"] = energy_test(points[:ENERGY_DRAWS], real[:ENERGY_DRAWS], generator)
    smallest = min(p_values.values()) * len(p_values)
    return {"passes": bool(smallest > LEVEL), "smallest p, times tests": float(smallest), "seconds": seconds,
            "p": {name: float(p) for name, p in p_values.items()}, **deviations(world, points, real), **info}  # fmt: skip


def deviations(world: SamplableDensity, points: Latents, real: Latents) -> dict[str, float]:
    """Largest errors of the means and of the clusters' shares, in standard errors of independent samples."""
    if not isinstance(world, GaussianMixture):  # the others are symmetric
        return {"mean": in_errors(points, torch.zeros(world.dimension), real)}
    found = {"mean": in_errors(points, world.weights @ world.means, real)}
    if len(world.weights) == 1:
        return found
    part = world.responsibilities(points)
    return found | {"shares": in_errors(part, world.weights, world.responsibilities(real))}


def in_errors(values: Tensor, exact: Tensor, real: Tensor) -> float:
    """The largest |mean - exact| of any column, in standard errors by the deviations of exact samples."""
    errors = real.std(dim=0) / math.sqrt(len(values))
    return ((values.mean(dim=0) - exact).abs() / errors).max().item()


def energy_test(points: Latents, real: Latents, generator: torch.Generator) -> float:
    """p-value of the energy distance 2 E|x - y| - E|x - x'| - E|y - y'|, by permutation.

    References:
        Testing for Equal Distributions in High Dimension, Székely and Rizzo 2004.
    """
    both = torch.cat([points, real]).double()
    distances = torch.cdist(both, both)
    sides = torch.cat([torch.ones(len(points)), -torch.ones(len(real))]).double()
    orders = [torch.randperm(len(both), generator=generator) for _ in range(PERMUTATIONS)]
    signs = torch.stack([sides, *(sides[order] for order in orders)], dim=1)
    statistics: Tensor = -(signs * (distances @ signs)).sum(dim=0)  # the distance but for a factor
    return ((statistics[1:] >= statistics[0]).sum().item() + 1) / (PERMUTATIONS + 1)


if __name__ == "__main__":
    main()
