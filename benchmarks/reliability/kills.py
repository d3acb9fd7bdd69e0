"""A training is killed with SIGKILL at random times and resumed until it finishes.

Claim: its files equal those of the uninterrupted run, bit for bit.

    python benchmarks/reliability/kills.py --count 200
"""

import random
import tempfile
import time
from pathlib import Path

from trials import contents, counted, processes, repeat, train_small

MOST = 5  # kills of one trial


def main() -> None:
    count = counted(__doc__, 200)
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        start = time.perf_counter()
        train_small(whole)
        seconds, right = time.perf_counter() - start, contents(whole)

        def trial(number: int) -> str:
            return killed(Path(place) / f"{number}", right, seconds, random.Random(number))

        repeat("reliability-kills", count, trial)


def killed(folder: Path, right: dict[str, str], seconds: float, chance: random.Random) -> str:
    """Kill and resume one run; whether it equals the uninterrupted one."""
    kills = 0
    while True:
        process = processes().Process(target=train_small, args=(folder,))
        process.start()
        process.join(chance.uniform(0, seconds) if kills < MOST else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    if process.exitcode:
        return "failed"
    found = contents(folder)
    unequal = sorted(name for name in found.keys() | right if found.get(name) != right.get(name))
    left_over = sorted(file.name for file in folder.glob("*.partial"))
    return f"other: {', '.join(unequal + left_over)}" if unequal or left_over else "equal"


if __name__ == "__main__":
    main()
