"""Two processes with different seeds start to train in one folder at once.

Claim: one trains, the other gets a sentence that names it, and the run equals the winner's alone.

    python benchmarks/reliability/two_processes.py --count 50
"""

import os
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from trials import contents, counted, processes, repeat, train_small

from latent_atlas.errors import UserError


def main() -> None:
    count = counted(__doc__, 50)
    with tempfile.TemporaryDirectory() as place:
        alone = {}
        for seed in (0, 1):
            train_small(Path(place) / f"alone-{seed}", seed)
            alone[seed] = contents(Path(place) / f"alone-{seed}")
        repeat("reliability-two_processes", count, lambda n: both(Path(place) / f"{n}", alone))


def both(folder: Path, alone: dict[int, dict[str, str]]) -> str:
    """Start both; "one wins" if all is as it should be."""
    context = processes()
    barrier, ends = context.Barrier(2), []
    for seed in alone:
        here, there = context.Pipe()
        process = context.Process(target=contend, args=(folder, seed, barrier, there))
        process.start()
        ends.append((process, here, seed))
    told = {}
    for process, here, seed in ends:
        told[seed] = here.recv()
        process.join()
    winners = [seed for seed, (_, said) in told.items() if said is None]
    if len(winners) != 1:
        return f"{len(winners)} win"
    winner = winners[0]
    named = f"process {told[winner][0]} on " in told[1 - winner][1]
    same = contents(folder) == alone[winner]
    return "one wins" if named and same else f"named {named}, equal {same}"


def contend(folder: Path, seed: int, barrier: Barrier, told: Connection) -> None:
    """Train, and tell the process's number and what it was refused with."""
    barrier.wait()
    try:
        train_small(folder, seed)
        told.send((os.getpid(), None))
    except UserError as error:
        told.send((os.getpid(), str(error)))


if __name__ == "__main__":
    main()
