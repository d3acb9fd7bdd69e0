"""Time `latent-atlas demo`, `demo --glyphs` or `train --quick`, as a user runs it, and record the numbers that it reports.

python benchmarks/demo.py --pictures docs/pictures     # keeps the map and the paths for the README
python benchmarks/demo.py --glyphs
python benchmarks/demo.py --quick fashion-mnist
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, help="folder to copy map.png and travel.png to")
    parser.add_argument(
        "--quick", metavar="SOURCE", help="time `train SOURCE --quick` instead of the demo"
    )
    parser.add_argument("--glyphs", action="store_true", help="time `demo --glyphs`")
    given = parser.parse_args()
    chosen = ["demo"] if given.quick is None else ["train", given.quick, "--quick"]
    chosen += ["--glyphs"] if given.glyphs else []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "demo"
        start = time.perf_counter()
        command = [sys.executable, "-m", "latent_atlas", *chosen, "--out", str(run), "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        if given.pictures is not None:
            for name in ("map.png", "travel.png"):
                shutil.copy(run / name, given.pictures / name)
    told = json.loads(done.stdout)
    results = {
        "seconds": seconds,
        "core_seconds": resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime,
        **{section: told[section] for section in ("reconstruction", "map", "travel")},
    }
    name = "demo-glyphs" if given.glyphs else "demo"
    record(name if given.quick is None else "quick", results)


if __name__ == "__main__":
    main()
