"""Samplers on toy distributions that can be sampled exactly: two-sample tests, and the error of log Z.

Claim: with 20,000 samples no test distinguishes importance resampling, rejection, MALA, HMC or the diffusion sampler
from exact samples: a permutation test of the energy distance, and Kolmogorov-Smirnov tests of every coordinate and of
log q. The log Z of annealed importance sampling is within three of its standard errors of 0. The level is 1 % for each
row, divided among its tests (Bonferroni). ULA is a positive control, since its step makes it biased; exact samples are
a negative control, which shows how often the tests fail by chance. If a sampler refuses, the row has its sentence.

    python benchmarks/samplers_exact.py                                          # about 15 minutes on one CPU core
    python benchmarks/samplers_exact.py --worlds moons --draws 2000 --seeds 1
"""

import argparse
import time
import warnings
from typing import Any

import torch
from scipy.stats import ks_2samp
from torch import Tensor

from latent_atlas.density.base import SamplableDensity
from latent_atlas.density.toys import (
    GaussianMixture,
    Shell,
    clusters,
    correlated_gaussian,
    two_moons,
)
from latent_atlas.errors import UserError
from latent_atlas.sampling import (
    HMC,
    MALA,
    ULA,
    Diffusion,
    Importance,
    Rejection,
    Sampler,
    draw,
    log_normalising_constant,
)
from latent_atlas.shapes import Latents
from record import record

LEVEL = 0.01  # of a row's tests together
ENERGY_DRAWS = 2_000  # of each side whose distances are permuted: all pairs of 20,000 would not fit
PERMUTATIONS = 500
EXACT = "exact draws"


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


def samplers(n: int) -> dict[str, Sampler]:
    """Samplers by the name of their row; as many chains as samples."""
    return {
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
    rows, constants = [], []
    for name, world in worlds().items():
        if given.worlds and not any(word in name for word in given.worlds):
            continue
        for seed in range(given.seeds):
            generator = torch.Generator().manual_seed(seed)
            constants.append({"world": name, "seed": seed, **log_constant(world, generator)})
            print(constants[-1], flush=True)
            for row, sampler in ((EXACT, None), *samplers(given.draws).items()):
                if given.samplers and not any(word in row for word in given.samplers):
                    continue
                found = p_values_of(world, sampler, given.draws, generator)
                rows.append({"world": name, "sampler": row, "seed": seed, **found})
                print(rows[-1], flush=True)
    settings = {
        "draws": given.draws,
        "seeds": given.seeds,
        "level": LEVEL,
        "permutations": PERMUTATIONS,
    }
    record("samplers_exact", {"rows": rows, "normalisers": constants}, **settings)


def log_constant(world: SamplableDensity, generator: torch.Generator) -> dict[str, Any]:
    """log Z of a density that is normalised, and how many standard errors from 0 it is."""
    start = time.perf_counter()
    found = log_normalising_constant(world, generator=generator)
    numbers = {
        "log Z": found.nats,
        "error": found.error,
        "within": abs(found.nats) < 3 * found.error,
    }
    return {
        **numbers,
        "effective_share": found.effective_share,
        "seconds": time.perf_counter() - start,
    }


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
            "p": {name: float(p) for name, p in p_values.items()}, **info}  # fmt: skip


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
