"""Train the runs that `travel.py` compares planners on: four collections, three seeds each.

Each takes about five minutes on one CPU core that is free, and what is finished is not trained again.
An interrupted run goes on where it stopped. On faces and icons, which are few, 30 % of the images are held out.

    python benchmarks/travel_runs.py                           # all twelve, about an hour
    python benchmarks/travel_runs.py --only fashion-16 icons --seeds 0
    python benchmarks/travel.py runs/travel/*                  # then the table
"""

import argparse
import subprocess
import sys
from pathlib import Path

from earlier import EARLIER
from icons import FOLDER, fetch_icons
from latent_atlas.runs import Run

COLLECTIONS = {
    "fashion-16": ("fashion-mnist", "--steps=1000"),
    "fashion-64": ("fashion-mnist", "--steps=1000", "--set=model.latent_dim=64"),
    "faces": ("faces", "--steps=1000", "--set=data.held_out=0.3"),
    "icons": (str(FOLDER), "--steps=1000", "--set=data.held_out=0.3", "--channels=4"),
}
COMMON = (
    "--quick",
    *(f"--set={setting}" for setting in EARLIER),
    "--set=map.steps=1500",
    "--device=cpu",
)
RUNS = Path("runs") / "travel"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(COLLECTIONS), choices=list(COLLECTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RUNS, help="folder of the runs")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="S.N=V", help="settings that all runs take besides"
    )
    given = parser.parse_args()
    for seed in given.seeds:
        for name in given.only:
            train(name, seed, given.out / f"{name}-{seed}", given.set)


def train(name: str, seed: int, folder: Path, settings: list[str]) -> None:
    """Train one run, or what is left of it.

    Raises:
        SystemExit: training failed.
    """
    if Run(folder).file("map.safetensors").exists():
        print(f"{folder} is trained", flush=True)
        return
    if name == "icons":
        fetch_icons()
    if Run(folder).file("config.json").exists():
        given = ["--resume"]
    else:
        given = [
            *COLLECTIONS[name],
            *COMMON,
            f"--seed={seed}",
            *(f"--set={one}" for one in settings),
        ]
    command = [sys.executable, "-m", "latent_atlas", "train", *given, f"--out={folder}"]
    print(*command[3:], flush=True)
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{folder} was not trained; run this again to go on with it")


if __name__ == "__main__":
    main()
