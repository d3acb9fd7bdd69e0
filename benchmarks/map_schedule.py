"""How many steps of how many codes D_z should be trained for: schedules beside each other, on exact densities.

Question: which schedule reaches the error of log q of 4,000 steps of 512 codes in the least computing time? The error is
the root mean square of log q against the exact one at fresh draws, in nats; the loss is held out. On the codes of a run,
whose density nobody knows, log q of held-out codes is the measure: more is better, if E_r[exp l] is 1.

python benchmarks/map_schedule.py                 # some minutes a row on one core; goes on where it stopped
python benchmarks/map_schedule.py --worlds "clusters 16" --seeds 0
python benchmarks/map_schedule.py --worlds runs/fashion-16
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from latent_atlas import Atlas, LatentMap
from latent_atlas.config import MapConfig
from latent_atlas.density.base import SamplableDensity
from latent_atlas.density.toys import clusters, ring, two_moons
from record import record

# Steps, batch size and steps between checks.
SCHEDULES = {
    "4000 x 512": (4_000, 512, 100),
    "2000 x 512": (2_000, 512, 50),
    "1000 x 1024": (1_000, 1_024, 50),
    "1000 x 512": (1_000, 512, 50),
    "500 x 1024": (500, 1_024, 50),
}
# Codes to train on; the last is a small collection.
WORLDS = {
    "clusters 16": 60_000,
    "two moons 2": 20_000,
    "clusters 32": 60_000,
    "clusters 2": 20_000,
    "ring 8": 20_000,
    "clusters 32, few": 2_000,
}
FRESH = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), help="or folders of runs")
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), choices=list(SCHEDULES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(__file__).parent / "results" / "map_schedule.json"
    rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
    known = {(row["world"], row["schedule"], row["seed"]) for row in rows}
    for seed in given.seeds:
        for world in given.worlds:
            for schedule in given.schedules:
                if (world, schedule, seed) not in known:
                    rows.append(measured(world, schedule, seed))
                    record("map_schedule", {"rows": rows, "summary": summary(rows)})


def measured(world: str, schedule: str, seed: int) -> dict[str, Any]:
    """One fit of one schedule: its error, its losses and its computing time."""
    density = exact(world) if world in WORLDS else None
    seeded = torch.Generator().manual_seed
    if density is None:
        codes = Atlas.load(world, device="cpu").codes
        train = (codes["train"].means, codes["train"].log_variances)
        fresh = codes["held_out"].sample(FRESH, generator=seeded(100))
    else:
        train = (density.sample(WORLDS[world], generator=seeded(seed)),)
        fresh = density.sample(FRESH, generator=seeded(100 + seed))
    steps, batch_size, check_every = SCHEDULES[schedule]
    config = MapConfig(steps=steps, batch_size=batch_size, check_every=check_every)
    log: list[dict[str, float]] = []
    start = time.process_time()
    latent_map = LatentMap.fit(*train, config=config, generator=seeded(seed), log=log.append)
    seconds = time.process_time() - start
    log_prob = latent_map.log_prob(fresh)
    row = {
        "world": world,
        "schedule": schedule,
        "seed": seed,
        "log q": log_prob.mean().item(),
        "held-out loss": min(entry["held_out_loss"] for entry in log),
        "last step": log[-1]["step"],
        "core seconds": seconds,
        "verdict": latent_map.calibration.verdict(),
    }
    if density is not None:
        error = log_prob - density.log_prob(fresh)
        row["error of log q"] = error.square().mean().sqrt().item()
    return row


def exact(world: str) -> SamplableDensity:
    """The exact density of a world, from its name and dimension."""
    name, dimension = world.removesuffix(", few").rsplit(" ", 1)
    if name == "clusters":
        return clusters(int(dimension), generator=torch.Generator().manual_seed(int(dimension)))
    return {"ring": ring, "two moons": two_moons}[name](int(dimension))


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Means over the seeds, by world and schedule."""
    measures = ("error of log q", "log q", "held-out loss", "core seconds")
    table: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        same = [r for r in rows if (r["world"], r["schedule"]) == (row["world"], row["schedule"])]
        table.setdefault(row["world"], {})[row["schedule"]] = {
            measure: statistics.mean(r[measure] for r in same)
            for measure in measures
            if all(measure in r for r in same)
        }
    return table


if __name__ == "__main__":
    main()
