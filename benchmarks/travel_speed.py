"""Paths per second: geodesics and walks on a learned map, and geodesics compared with stochman on one density.

Claim: on 2 CPU cores a single geodesic of 17 frames on a map of 16-dimensional codes takes less than a second, and many
at once take much less each. In the plane, on the same density and with the same cost, geodesics are found faster than
by stochman 0.3, each with its defaults, and are no longer in the metric that both minimise.

    pip install --no-deps --target /tmp/stochman stochman       # it needs no more than torch, networkx and matplotlib
    PYTHONPATH=/tmp/stochman python benchmarks/travel_speed.py  # about 5 minutes; without stochman ours alone
    python benchmarks/travel_speed.py --batches 1 32 --repeats 1
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from latent_atlas import LatentMap
from latent_atlas.density.base import Density, SamplableDensity
from latent_atlas.density.toys import clusters, two_moons
from latent_atlas.evaluation import EvaluationModel
from latent_atlas.shapes import Points, Values
from latent_atlas.travel import Geodesic, Walk, plan
from latent_atlas.travel.planners.geodesic import cost
from latent_atlas.travel.polyline import resample
from record import record

FRAMES = 17
DIMENSION, CODES = 16, 10_000
STRENGTH, SHARE = (
    1.0,
    0.2,
)  # λ of the cost, and the share of the distribution below its density threshold τ
FINE = 257  # places along a path at which the cost is summed

Planner = Callable[[Tensor, Tensor], Points]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 500])
    parser.add_argument(
        "--steps", type=int, default=300, help="of D_z; how good the map is does not matter here"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    results = {
        f"learned map, d = {DIMENSION}": on_a_map(given),
        "moons, d = 2": on_the_plane(given),
    }
    record("travel_speed", results, frames=FRAMES, **vars(given))


def on_a_map(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Paths per second by batch, for each planner on a learned map."""
    generator = torch.Generator().manual_seed(given.seed)
    world = clusters(DIMENSION, generator=torch.Generator().manual_seed(DIMENSION))
    codes = world.sample(CODES, generator=generator)
    latent_map = LatentMap.fit(codes, steps=given.steps, generator=generator, warn=False)
    rows: dict[str, Planner] = {
        "geodesic": lambda start, end: Geodesic().plan(latent_map, start, end, frames=FRAMES)[0],
        "walk, rule 2": lambda start, end: (
            plan(latent_map, start, end, "walk", frames=FRAMES).points
        ),
        "walk, arriving": lambda start, end: (
            plan(latent_map, start, end, Walk(arrive=True), frames=FRAMES).points
        ),
    }
    return {row: speeds(row, planner, world, given) for row, planner in rows.items()}


def on_the_plane(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Paths per second by batch, and how long the paths are, beside the straight line and stochman."""
    world = two_moons()
    drawn = world.sample(20_000, generator=torch.Generator().manual_seed(given.seed))
    threshold = torch.quantile(world.log_prob(drawn), SHARE).item()
    how = Geodesic(strength=STRENGTH, threshold=threshold)

    def ours(start: Tensor, end: Tensor) -> Points:
        generator = torch.Generator().manual_seed(given.seed)
        return how.plan(world, start, end, frames=FRAMES, generator=generator)[0]

    rows: dict[str, Planner] = {
        "straight line": lambda start, end: plan(world, start, end, "linear", frames=FRAMES).points,
        "geodesic": ours,
    }
    if importlib.util.find_spec("stochman") is None:
        print("stochman is not importable, so ours is measured alone; see the head of this script")
    else:
        rows["stochman"] = partial(by_stochman, world, threshold)
    model = EvaluationModel.on(world, drawn)
    table = {}
    for row, planner in rows.items():
        numbers = speeds(row, planner, world, given)
        points = planner(*ends(world, max(given.batches), given.seed))
        numbers["length in the metric"] = length(points, world, threshold).mean().item()
        numbers["off_manifold"] = model.off_manifold(points).mean().item()
        table[row] = numbers
    return table


def speeds(
    row: str, planner: Planner, world: SamplableDensity, given: argparse.Namespace
) -> dict[str, float]:
    """Paths per second by batch, from the median time."""
    numbers = {}
    for batch in given.batches:
        start, end = ends(world, batch, given.seed)
        planner(start[:1], end[:1])  # what is only done once is not charged to the first
        seconds = []
        for _ in range(given.repeats):
            began = time.perf_counter()
            planner(start, end)
            seconds.append(time.perf_counter() - began)
        numbers[f"paths per second, batch {batch}"] = batch / statistics.median(seconds)
    print(row, {name: round(value, 2) for name, value in numbers.items()}, flush=True)
    return numbers


def ends(world: SamplableDensity, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Start and end of each path, (batch, d) each."""
    drawn = world.sample(2 * batch, generator=torch.Generator().manual_seed(seed + 1))
    return drawn[:batch], drawn[batch:]


@torch.no_grad()
def length(points: Points, density: Density, threshold: float) -> Values:
    """∫ c |dz| along each path, shape (n,)."""
    fine = resample(points, FINE)
    log_probs = density.log_prob(fine.flatten(0, 1)).unflatten(0, fine.shape[:2])
    costs = cost(log_probs, threshold, STRENGTH)
    return ((costs[1:] + costs[:-1]) / 2 * fine.diff(dim=0).norm(dim=2)).sum(dim=0)


def by_stochman(density: Density, threshold: float, start: Tensor, end: Tensor) -> Points:
    """stochman's geodesics in the metric c² I, with its defaults: a cubic spline of 5 nodes, 150 steps of Adam.

    References:
        StochMan, Detlefsen et al. 2021.
    """
    from stochman.curves import CubicSpline  # pyright: ignore[reportMissingImports]
    from stochman.geodesic import geodesic_minimizing_energy  # pyright: ignore[reportMissingImports]
    from stochman.manifold import Manifold  # pyright: ignore[reportMissingImports]

    class Conformal(Manifold):
        def metric(self, points: Tensor) -> Tensor:
            squares = cost(density.log_prob(points), threshold, STRENGTH).square()
            return squares[:, None].expand_as(points)

    curve = CubicSpline(start, end)
    geodesic_minimizing_energy(curve, Conformal())
    with torch.no_grad():
        return curve(torch.linspace(0, 1, FRAMES)).reshape(len(start), FRAMES, -1).transpose(0, 1)


if __name__ == "__main__":
    main()
