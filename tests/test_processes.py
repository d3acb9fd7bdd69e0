"""Several processes train what one process trains."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from latent_atlas.runs import Run, read_tensors

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def side_by_side(world_size: int, *words: str) -> None:
    """Run a script in processes that know each other by environment variables alone."""
    shared = {"WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    shared["MASTER_PORT"] = str(free_port())
    started = [
        subprocess.Popen([sys.executable, *words], env=ENVIRONMENT | shared | {"RANK": str(rank)})
        for rank in range(world_size)
    ]
    assert [process.wait(240) for process in started] == [0] * world_size


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """With all terms of the loss at once, of which some are no means over images."""
    for world_size in (1, 2):
        side_by_side(world_size, str(HERE / "double_steps.py"), str(tmp_path / str(world_size)))
    alone, together = (Run(tmp_path / str(n)) for n in (1, 2))
    terms = {"r1", "r2", "isometry", "feature_matching", "latent_discriminator", "latent_fooling"}
    for a, b in zip(alone.records(), together.records(), strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"phase", "images_per_second"}:
            assert b[name] == pytest.approx(a[name], rel=1e-12, abs=1e-14), (a["step"], name)
    assert terms <= alone.records()[-1].keys()
    one, two = (read_tensors(run.file("state.safetensors"))[0] for run in (alone, together))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-9, msg=lambda m: f"{name}: {m}")  # fmt: skip  # noqa: B023
