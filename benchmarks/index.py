"""The search for neighbours among a million codes of 32 dimensions: by an index, and by all distances.

Claim: the index is built in 15 CPU seconds, finds 99.9 % of the ten nearest codes, answers 99 % of single queries within a
millisecond and opens within 50 ms. CPU seconds of one thread, so that a busy machine tells the same.

OMP_NUM_THREADS=1 python benchmarks/index.py            # about two minutes
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from latent_atlas.codes.neighbours import NeighbourIndex, nearest_codes
from record import record

DIMENSION, CLUSTERS, BENT = 32, 50, 8


class BentClusters:
    """Codes on 50 bent sheets of eight dimensions, with some noise."""

    def __init__(self, generator: torch.Generator) -> None:
        self.places = 0.7 * torch.randn(CLUSTERS, DIMENSION, generator=generator)
        self.sheets = 0.375 * torch.randn(CLUSTERS, BENT, DIMENSION, generator=generator)

    def sample(self, n: int, *, generator: torch.Generator) -> torch.Tensor:
        """Shape (n, 32)."""
        codes = 0.08 * torch.randn(n, DIMENSION, generator=generator)
        for part in codes.split(50_000):
            which = torch.randint(CLUSTERS, (len(part),), generator=generator)
            along = torch.randn(len(part), 1, BENT, generator=generator).tanh()
            part += self.places[which] + (along @ self.sheets[which])[:, 0]
        return codes


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of some work, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--neighbours", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    drawn = BentClusters(generator).sample(given.codes + given.queries, generator=generator)
    real, asked, k = drawn[: given.codes], drawn[given.codes :], given.neighbours
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "neighbours.faiss"
        building, _ = timed(NeighbourIndex(real, file).build)
        index = NeighbourIndex(real, file)
        opening, unbuilt = timed(lambda: index.unbuilt)
        assert not unbuilt
        together, found = timed(lambda: index.nearest(asked, k))
        singles = [
            timed(lambda i=i: index.nearest(asked[i : i + 1], k))[0] for i in range(given.singles)
        ]
        size = file.stat().st_size
    exactly, exact = timed(lambda: nearest_codes(asked, real, k))
    exact_singles = [
        timed(lambda i=i: nearest_codes(asked[i : i + 1], real, k))[0] for i in range(20)
    ]
    recall = (found.rows[:, :, None] == exact.rows[:, None]).any(dim=2).float().mean().item()
    quantile = torch.tensor(singles).quantile
    results = {
        "index": {
            "seconds to build": building,
            "microseconds a code": building / given.codes * 1e6,
            "MiB": size / 2**20,
            "ms to open": opening * 1e3,
            f"recall@{k}": recall,
            "ms a query of many": together / given.queries * 1e3,
            "ms a single query, median": quantile(0.5).item() * 1e3,
            "ms a single query, 99 %": quantile(0.99).item() * 1e3,
        },
        "all distances": {
            "ms a query of many": exactly / given.queries * 1e3,
            "ms a single query, median": torch.tensor(exact_singles).median().item() * 1e3,
        },
    }
    record("index", results, **vars(given), dimension=DIMENSION, threads=1)


if __name__ == "__main__":
    main()
