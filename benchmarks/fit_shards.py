"""A map of a million and of ten million codes in files, by a sample, beside one of all codes of the million in memory.

Claim: the passes over ten million codes take at most 1 µs a code, anonymous memory stays under 1.5 GiB at any number of codes, and
the log-density of other codes is within 0.2 nats of the map fitted to all of a million. CPU seconds of one thread, so that a
busy machine tells the same; each case is a process of its own.

OMP_NUM_THREADS=1 python benchmarks/fit_shards.py            # about five minutes; 1.4 GB of files
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from index import DIMENSION, BentClusters
from latent_atlas import LatentMap
from latent_atlas.codes.sample import sample_codes
from latent_atlas.codes.stream import CodeFiles
from latent_atlas.config import MapConfig
from record import record

PER_FILE = 250_000
HELD_OUT = 0.1
CHECKED = 20_000  # other codes, whose log-density compares the maps
LOG_VARIANCE = -5.0
CLUSTERS = BentClusters(torch.Generator().manual_seed(0))


def write(folder: Path, files: int) -> None:
    """Codes with posteriors and digests, as `latent-atlas encode` writes them."""
    folder.mkdir()
    for i in range(files):
        generator = torch.Generator().manual_seed(i)
        means = population(PER_FILE, seed=i)
        tensors = {
            "means": means.half(),
            "log_variances": torch.full_like(means, LOG_VARIANCE).half(),
            "digests": torch.randint(256, (PER_FILE, 16), generator=generator, dtype=torch.uint8),
        }
        save_file(tensors, folder / f"shard-{i:05d}.safetensors")


def population(n: int, *, seed: int) -> torch.Tensor:
    """Codes of the same clusters for every seed."""
    return CLUSTERS.sample(n, generator=torch.Generator().manual_seed(seed))


def anonymous() -> float:
    """MiB of memory that is not of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def watched(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU seconds of some work, the most anonymous memory meanwhile in MiB, and the result."""
    peak, done = [anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    done.set()
    watcher.join()
    return seconds, peak[0], result


def measured(folder: Path, steps: int, *, whole: bool) -> dict[str, float]:
    """Fit a map to the codes in a folder, by a sample or to all of them."""
    torch.set_num_threads(1)
    files = CodeFiles.find(folder)
    assert files is not None
    generator = torch.Generator().manual_seed(0)
    config = MapConfig(steps=steps, precision="32")
    results: dict[str, float] = {"codes": files.count, "MiB before": anonymous()}
    if whole:
        pieces = [(piece.means.float(), piece.log_variances) for piece in files.pieces()]
        means = torch.cat([means for means, _ in pieces])
        spread = torch.cat([some.float() for _, some in pieces if some is not None])
        fitting, peak, latent_map = watched(
            lambda: LatentMap.fit(means, spread, config=config, generator=generator, warn=False)
        )
    else:
        passing, first, found = watched(lambda: sample_codes(files, HELD_OUT))
        fitting, peak, latent_map = watched(
            lambda: LatentMap.fit_checked(
                found.train, found.held_out, config, shape=files.shape, generator=generator
            )
        )
        results |= {
            "CPU seconds of the passes": passing,
            "microseconds a code": passing / files.count * 1e6,
            "MiB in the passes": first,
            "codes fitted to": len(found.train),
        }
    other = population(CHECKED, seed=10_000)
    calibration = latent_map.calibration
    return results | {
        "CPU seconds of the fit": fitting,
        "MiB in the fit": peak,
        "mean log q of other codes": latent_map.log_prob(other).mean().item(),
        "KL(q || r)": calibration.kl,
        "log E_r[exp l]": calibration.log_normalising_constant,
        "its error": calibration.log_normalising_constant_error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--case", nargs=2, metavar=("FOLDER", "HOW"), help="one of the processes")
    given = parser.parse_args()
    if given.case:
        folder, how = given.case
        print(json.dumps(measured(Path(folder), given.steps, whole=how == "whole")))
        return
    results = {}
    with tempfile.TemporaryDirectory() as place:
        million, ten = Path(place) / "million", Path(place) / "ten"
        write(million, 4)
        write(ten, 40)
        cases = {
            "1 million, by a sample": (million, "sample"),
            "10 million, by a sample": (ten, "sample"),
            "1 million, all in memory": (million, "whole"),
        }
        for name, (folder, how) in cases.items():
            words = [
                sys.executable,
                __file__,
                "--steps",
                str(given.steps),
                "--case",
                str(folder),
                how,
            ]
            output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            results[name] = json.loads(output)
            print(name, results[name], flush=True)
    record("fit_shards", results, steps=given.steps, dimension=DIMENSION, threads=1)


if __name__ == "__main__":
    main()
