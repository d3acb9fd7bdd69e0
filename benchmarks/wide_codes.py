"""Maps of codes of hundreds of coordinates, compared with densities in closed form.

Question: how near are log q and its score to the exact ones at d = 512 and 1,280, and do paths stay on the data? Each
world has six clusters in eight of its coordinates, variances that fall as 1 / i, and a random rotation: with Gaussian noise, with
the heavy tails of a Student t of five degrees of freedom for all coordinates at once, with as many coordinates again that are sums of
the others, and with every code twice. Off-manifold is two-sided: log q outside the middle 95 % of real codes', by the exact
density.

    python benchmarks/wide_codes.py                            # about half an hour on two cores
    python benchmarks/wide_codes.py --dimensions 512 --worlds clusters
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from latent_atlas import LatentMap
from latent_atlas.config import MapConfig
from latent_atlas.travel import plan
from record import record

CLUSTERS, SEPARATED, APART, DEGREES = 6, 8, 3.0, 5
WORLDS = ("clusters", "heavy tails", "rank-deficient", "duplicates")
PLANNERS = ("linear", "slerp", "geodesic", "typical", "flow")
JUDGED, PAIRS = 4_000, 16


@dataclass(frozen=True)
class World:
    """Clusters in a turned, anisotropic space of d coordinates."""

    centres: Tensor
    scales: Tensor
    rotation: Tensor
    heavy: bool

    @classmethod
    def of(cls, dimension: int, heavy: bool, generator: torch.Generator) -> "World":
        centres = torch.zeros(CLUSTERS, dimension)
        centres[:, :SEPARATED] = APART * torch.randn(CLUSTERS, SEPARATED, generator=generator)
        scales = torch.arange(1, dimension + 1) ** -0.5
        rotation = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator))[0]
        return cls(centres, scales, rotation, heavy)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(CLUSTERS, (n,), generator=generator)
        noise = torch.randn(n, len(self.scales), generator=generator)
        if self.heavy:
            chi = torch.randn(n, DEGREES, generator=generator).square().sum(dim=1, keepdim=True)
            noise = noise * (DEGREES / chi).sqrt()
        return ((self.centres[chosen] + noise) * self.scales) @ self.rotation.T

    def log_prob(self, codes: Tensor) -> Tensor:
        y, d = codes @ self.rotation / self.scales, len(self.scales)
        squares = torch.stack([(y - centre).square().sum(dim=1) for centre in self.centres])
        if self.heavy:
            constant = math.lgamma((DEGREES + d) / 2) - math.lgamma(DEGREES / 2)
            constant -= 0.5 * d * math.log(DEGREES * math.pi)
            logs = constant - 0.5 * (DEGREES + d) * (squares / DEGREES).log1p()
        else:
            logs = -0.5 * squares - 0.5 * d * math.log(2 * math.pi)
        return logs.logsumexp(dim=0) - math.log(CLUSTERS) - self.scales.log().sum()

    def score(self, codes: Tensor) -> Tensor:
        z = codes.clone().requires_grad_()
        return torch.autograd.grad(self.log_prob(z).sum(), z)[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dimensions", type=int, nargs="+", default=[512, 1280])
    parser.add_argument("--worlds", nargs="+", default=WORLDS, choices=WORLDS)
    parser.add_argument("--codes-per-dimension", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500, help="of D_z, at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    settings = {k: v for k, v in vars(given).items() if k not in ("dimensions", "worlds")}
    rows = earlier(settings)
    for dimension in given.dimensions:
        for name in given.worlds:
            place = f"{name}, d = {dimension}"
            if place not in rows:
                rows[place] = measured(name, dimension, given)
                print(place, rows[place], flush=True)
                record("wide_codes", {"rows": rows}, **settings)


def earlier(settings: dict[str, int]) -> dict[str, dict[str, float]]:
    """Rows of a call with the same settings."""
    path = Path(__file__).parent / "results" / "wide_codes.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    return before["results"]["rows"] if before.get("settings") == settings else {}


def measured(name: str, dimension: int, given: argparse.Namespace) -> dict[str, float]:
    """One world: the density, its score, and paths."""
    generator = torch.Generator().manual_seed(given.seed)
    own = dimension // 2 if name == "rank-deficient" else dimension
    world = World.of(own, name == "heavy tails", generator)
    sums = torch.eye(own)
    if own < dimension:
        added = torch.randn(own, dimension - own, generator=generator) / own**0.5
        sums = torch.cat([sums, added], dim=1)
    codes = world.sample(given.codes_per_dimension * dimension, generator) @ sums
    if name == "duplicates":
        codes = torch.cat([codes, codes])
    start = time.perf_counter(), time.process_time()
    found = LatentMap.fit(
        codes, generator=generator, config=MapConfig(steps=given.steps), warn=False
    )
    seconds, core_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    judged = world.sample(JUDGED, generator)
    exact, score = world.log_prob(judged), world.score(judged)
    if own < dimension:  # within the span, whose measure the sums have stretched
        exact = exact - 0.5 * torch.linalg.slogdet(sums @ sums.T).logabsdet
    log_prob = found.log_prob(judged @ sums) + across(found, codes, dimension - own)
    gaussian = found.boundary.log_prob(judged @ sums) + across(found, codes, dimension - own)
    row = {
        "exact log q": exact.mean().item(),
        "error of log q": (log_prob - exact).mean().item(),
        "error of a Gaussian's": (gaussian - exact).mean().item(),
        "cosine of the score": cosine_similarity(found.score(judged @ sums) @ sums.T, score)
        .mean()
        .item(),
        "leading coordinates": found.network.members[0].get_buffer("axes").shape[1],
        "seconds": seconds,
        "core seconds": core_seconds,
    }
    low, high = torch.quantile(exact, torch.tensor([0.025, 0.975]))
    for planner in PLANNERS if own == dimension else ():
        a, b = judged[:PAIRS], judged[PAIRS : 2 * PAIRS]
        points = plan(found, a, b, planner, generator=generator).points[1:-1].flatten(0, 1)
        inside = world.log_prob(points)
        row[f"off-manifold, {planner}"] = ((inside < low) | (inside > high)).float().mean().item()
    return row


def across(found: LatentMap, codes: Tensor, lacking: int) -> float:
    """Minus the log-density of the map's narrow Gaussian across the span, at codes in the span."""
    if not lacking:
        return 0.0
    outside = torch.linalg.eigh(codes.double().T.cov()).eigenvectors[:, :lacking].float()
    null = found.network.members[0].get_buffer("null")
    volume = torch.linalg.slogdet(outside.T @ found.boundary.tensors()["factor"] @ null).logabsdet
    return volume.item() + 0.5 * lacking * math.log(2 * math.pi)


if __name__ == "__main__":
    main()
