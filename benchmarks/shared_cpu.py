"""Training of D_z on all cores, alone and beside other programs, by how long waiting threads spin.

Question: what does it cost that a thread of OpenMP spins before it sleeps, and what does it save? A step is a hundred short
parallel regions, at whose ends threads wait for each other. Where another program has taken a core, the thread that is
waited for needs the core on which the other one spins. Each row trains the same D_z in a process of its own; beside it run
as many busy loops as there are cores, or none. Rows are measured in turns, and the medians kept.

    python benchmarks/shared_cpu.py            # about three minutes, on cores that nothing else uses
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from record import record

SPINS = {"libgomp's own": None, "10,000 rounds": "10000", "none": "0"}
BUSY = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of all rows")
    parser.add_argument("--steps", type=int, default=40, help="training steps of a measurement")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        print(seconds_of_steps(given.steps) / given.steps)
        return
    rows: dict[str, dict[str, list[float]]] = {
        name: {"alone": [], "beside busy loops": []} for name in SPINS
    }
    for _ in range(given.rounds):
        for name, spins in SPINS.items():
            for beside, times in rows[name].items():
                busy = os.cpu_count() if beside != "alone" else 0
                others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy or 0)]
                try:
                    times.append(1e3 * measured(given.steps, spins))
                finally:
                    for other in others:
                        other.kill()
    medians = {
        name: {beside: statistics.median(times) for beside, times in row.items()}
        for name, row in rows.items()
    }
    record("shared_cpu", medians, rounds=given.rounds, steps=given.steps)


def measured(steps: int, spins: str | None) -> float:
    """Seconds of a step in a process of its own."""
    environment = {n: v for n, v in os.environ.items() if n != "OMP_NUM_THREADS"}
    environment |= {} if spins is None else {"GOMP_SPINCOUNT": spins}
    words = [sys.executable, __file__, "--train", "--steps", str(steps)]
    told = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(told.stdout)


def seconds_of_steps(steps: int) -> float:
    """Seconds in which D_z trains for so many steps in 16 dimensions, after some that warm it up."""
    import torch

    from latent_atlas import LatentMap
    from latent_atlas.config import MapConfig

    seen: list[float] = []
    config = MapConfig(steps=steps + 10, check_every=10, patience=steps, precision="32")
    codes = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0))
    LatentMap.fit(
        torch.cat([codes, codes[:5_000] / 3 + 2]),
        config=config,
        generator=torch.Generator().manual_seed(0),
        log=lambda entry: seen.append(time.perf_counter()),
        warn=False,
    )
    return seen[-1] - seen[0]


if __name__ == "__main__":
    main()
