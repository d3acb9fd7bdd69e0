r"""Whether several processes train what one trains, and what that costs: torchrun and Ray Train against one process.

Claims: two processes log the losses of one to 1e-3, also if a worker is killed twice, if two begin a run that one
finishes, and if Ray starts them; their CPU time together is at most 1.25 times that of one.

    python benchmarks/processes.py                            # about ten minutes on two cores
    python benchmarks/processes.py --steps 24 --source digits # two minutes

Every run is the command that a user types, without its report; a worker is killed from outside.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = (
    "train.precision=32 train.device=cpu train.log_every=4 train.checkpoint_every=8 "
    "train.batch_size=64 map.precision=32 map.steps=50 map.check_every=50"
)
PATIENCE = 3600.0  # seconds for a run


def main() -> None:
    from record import record

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces")
    parser.add_argument("--steps", type=int, default=48)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measured(Path(folder), given.source, given.steps)
    record("processes", results, source=given.source, steps=given.steps, settings=SETTINGS)


def measured(folder: Path, source: str, steps: int) -> dict[str, Any]:
    """All runs, each beside that of one process."""
    settings = [word for one in SETTINGS.split() for word in ("--set", one)]

    def command(name: str) -> list[str]:
        words = ["train", source, "--quick", "--steps", str(steps), *settings]
        return [*words, "--out", str(folder / name)]

    one, two = folder / "one", folder / "two"
    launched(1, command("one"))
    launched(2, command("two"))
    launched(2, command("killed"), restarts=2, meanwhile=killer(folder / "killed", steps))
    launched(2, command("finished"), meanwhile=stopper(folder / "finished", steps), stops=True)
    launched(1, ["train", "--out", str(folder / "finished"), "--resume"])
    start = time.perf_counter()
    launched(1, [*command("ray"), "--ray", "2"])
    seconds = time.perf_counter() - start
    cpu = {run.name: core_seconds(run) for run in (one, two)}
    return {
        "worst_relative_difference": {
            name: worst(one, folder / name) for name in ("two", "killed", "finished", "ray")
        },
        "core_seconds_of_steps": cpu,
        "ratio_of_core_seconds": round(sum(cpu["two"]) / sum(cpu["one"]), 3),
        "restarts_after_kills": len([*(folder / "killed").glob("pid-1-*")]) - 1,
        "ray_wall_seconds": round(seconds),
    }


def launched(
    processes: int,
    words: list[str],
    *,
    restarts: int = 0,
    meanwhile: Callable[[int], None] = lambda launcher: None,
    stops: bool = False,
) -> None:
    """Run a command in processes side by side, and do `meanwhile`, given the launcher's number."""
    launcher = [sys.executable]
    if processes > 1:
        options = [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
        launcher += ["-m", "torch.distributed.run", *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*launcher, __file__, "child", *words], env=env) as process:
        meanwhile(process.pid)
        code = process.wait(PATIENCE)
    if (code != 0) != stops:
        raise SystemExit(f"{' '.join(words)} ended with {code}")


def killer(run: Path, steps: int) -> Callable[[int], None]:
    """Kill the second worker without warning after a third and after two thirds of the run."""

    def kill(launcher: int) -> None:
        for attempt, share in enumerate((1 / 3, 2 / 3)):
            wait_for(run, share * steps)
            os.kill(int((run / f"pid-1-{attempt}").read_text()), signal.SIGKILL)

    return kill


def stopper(run: Path, steps: int) -> Callable[[int], None]:
    """Ask the launcher to stop in the middle of the run."""

    def stop(launcher: int) -> None:
        wait_for(run, steps / 2)
        os.kill(launcher, signal.SIGTERM)

    return stop


def wait_for(run: Path, step: float) -> None:
    """Wait until a run has logged a step."""
    deadline = time.monotonic() + PATIENCE
    while not any(r["step"] >= step for r in records(run)):
        if time.monotonic() > deadline:
            raise SystemExit(f"{run} does not reach step {step}")
        time.sleep(0.05)


def records(run: Path) -> list[dict[str, Any]]:
    """The records of the networks."""
    from latent_atlas.runs import Run

    return [r for r in Run(run).records() if r["phase"] == "model"]


def worst(one: Path, other: Path) -> float:
    """The largest relative difference of a logged loss."""
    first, second = records(one), records(other)
    if [r["step"] for r in first] != [r["step"] for r in second]:
        raise SystemExit(f"{other} has other records than {one}")
    return max(
        abs(a[name] - b[name]) / abs(a[name])
        for a, b in zip(first, second, strict=True)
        for name in a.keys() - {"phase", "step", "steps", "images_per_second"}
    )


def core_seconds(run: Path) -> list[float]:
    """Seconds of CPU time that each process spent in the steps."""
    return [json.loads(path.read_text()) for path in sorted(run.glob("cpu-*"))]


def child(words: list[str]) -> None:
    """The command without its report; it writes its process number and its CPU time into the run."""
    import torch

    from latent_atlas.cli import main as command
    from latent_atlas.cli.commands import train
    from latent_atlas.training import loop

    torch.set_num_threads(1)
    train.write_page = lambda *_: None
    train_model = loop.train_model
    rank, attempt = (os.environ.get(n, "0") for n in ("RANK", "TORCHELASTIC_RESTART_COUNT"))
    out = Path(words[words.index("--out") + 1])

    def timed(*given: Any, **options: Any) -> Any:
        (out / f"pid-{rank}-{attempt}").write_text(str(os.getpid()))
        start = time.process_time()
        try:
            return train_model(*given, **options)
        finally:
            (out / f"cpu-{rank}").write_text(json.dumps(round(time.process_time() - start, 2)))

    loop.train_model = timed
    command(words)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        main()
