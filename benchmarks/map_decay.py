"""How much weight decay D_z needs, by the number of codes.

Claim: the fewer codes, the more weight decay; 2,000 over their number, at most 1, is near the best everywhere. With the
0.01 of before, the map of some 1,500 codes loses up to 0.8 nats of log q on codes that it has not seen.

Half of a run's held-out codes stop the training, and the other half is asked.

    python benchmarks/travel_runs.py --seeds 0            # trains the runs
    python benchmarks/map_decay.py runs/travel/icons-0 runs/travel/faces-0
    python benchmarks/map_decay.py runs/travel/fashion-16-0 --codes 1500 6000 20000         # 40 s a fit on one core
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from latent_atlas import Atlas, LatentMap
from latent_atlas.config import MapConfig
from record import record

DECAYS = (0.01, 0.1, 0.3, 1.0, 3.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--codes", type=int, nargs="+", default=[0], help="to learn from; 0: all")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    path = Path(__file__).parent / "results" / "map_decay.json"
    rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
    for run in given.runs:
        for codes in given.codes:
            rows = [row for row in rows if (row["run"], row["asked"]) != (run.name, codes)]
            for decay in DECAYS:
                rows.append(measured(run, codes, decay, given.steps, given.seed))
                print(rows[-1], flush=True)
                record("map_decay", {"rows": rows}, steps=given.steps, seed=given.seed)


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
    return {"run": run.name, "asked": asked, "codes": len(train), "decay": decay, **log_q}


if __name__ == "__main__":
    main()
