"""How much weight decay D_z needs, by the number of codes.

Claim: the fewer codes, the more weight decay; 2,000 over their number, at most 1, is near the best everywhere. With the
0.01 of before, the map of some 1,500 codes loses up to 0.8 nats of log q on codes that it has not seen.

Half of a run's held-out codes stop the training, and the other half is asked.

    python benchmarks/travel_runs.py --seeds 0            # trains the runs
    python benchmarks/map_decay.py runs/travel/icons-0 runs/travel/faces-0                  # 40 s a fit on one core
    python benchmarks/map_decay.py runs/travel/fashion-16-0 --codes 1500
    python benchmarks/map_decay.py runs/travel/fashion-16-0 --codes 1500 6000 20000 --decays .01 .1 .3 1 3
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from latent_atlas import Atlas, LatentMap
from latent_atlas.config import MapConfig
from record import record

DECAYS = (0.01, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--codes", type=int, nargs="+", default=[0], help="to learn from; 0: all")
    parser.add_argument("--decays", type=float, nargs="+", default=DECAYS)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    path = Path(__file__).parent / "results" / "map_decay.json"
    rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
    known = {(row["run"], row["asked"], row["decay"], row["seed"]) for row in rows}
    for seed in given.seeds:
        for run in given.runs:
            for codes in given.codes:
                for decay in given.decays:
                    if (run.name, codes, decay, seed) not in known:
                        rows.append(measured(run, codes, decay, given.steps, seed))
                        print(rows[-1], flush=True)
                        record("map_decay", {"rows": rows, "gains": gains(rows)}, steps=given.steps)


def gains(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Nats of log q of codes not seen that 1 is ahead of 0.01, by run and number of codes, of each seed."""
    found: dict[str, list[float]] = {}
    by = {(row["run"], row["codes"], row["seed"], row["decay"]): row["not seen"] for row in rows}
    for (run, codes, seed, decay), log_q in by.items():
        before = by.get((run, codes, seed, 0.01))
        if decay == 1 and before is not None:
            found.setdefault(f"{run}, {codes:,} codes", []).append(log_q - before)
    return found


def measured(run: Path, asked: int, decay: float, steps: int, seed: int) -> dict[str, Any]:
    """One fit: log q of codes that it learned from, and of those it has not seen, in nats."""
    parts = Atlas.load(run, device="cpu").codes
    generator = torch.Generator().manual_seed(seed)
    train, held_out = parts["train"], parts["held_out"]
    if asked:
        train = train[torch.randperm(len(train), generator=generator)[:asked]]
    stop, test = held_out.split(0.5, generator=generator)
    learned = LatentMap.fit(
        train.means,
        train.log_variances,
        held_out=stop,
        config=MapConfig(steps=steps, weight_decay=decay),
        generator=generator,
        warn=False,
    )
    log_q = {
        name: learned.log_prob(some.sample_each(generator=generator)).mean().item()
        for name, some in (("seen", train), ("not seen", test))
    }
    about = {"run": run.name, "asked": asked, "codes": len(train), "decay": decay, "seed": seed}
    return {**about, **log_q}


if __name__ == "__main__":
    main()
