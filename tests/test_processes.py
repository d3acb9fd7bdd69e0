"""Several processes train what one process trains."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import double_steps
from command_line import latent_atlas
from latent_atlas.errors import UserError
from latent_atlas.runs import Run, read_tensors
from latent_atlas.training.processes import ALONE, Processes, _agreed_name, join

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SMALL = (
    "data.limit=200 model.width=4 model.discriminator_width=4 model.latent_dim=3 train.steps=30 "
    "train.batch_size=16 train.adversarial_start=10 train.log_every=10 train.checkpoint_every=8 "
    "train.precision=32 train.device=cpu map.precision=32 map.steps=20 map.width=8 map.depth=1 "
    "map.check_every=20"
)
LOOPBACK_6 = "0" * 24 + "01000000"
MAPPED = "0" * 16 + "FFFF0000"  # before an address of version 4


def command(out: Path, *more: str) -> list[str]:
    """What a user types to train on digits in few steps."""
    settings = [word for one in SMALL.split() for word in ("--set", one)]
    return ["train", "digits", "--out", str(out), *settings, *more]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of that command in one process."""
    run = Run(tmp_path_factory.mktemp("runs") / "alone")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("latent_atlas.cli.commands.train.write_page", lambda *_: None)
        assert latent_atlas(*command(run.path)) == 0
    return run


def assert_same_losses(a: Run, b: Run, tolerance: float, phases: tuple[str, ...]) -> None:
    """The records are of the same steps, and their losses agree."""
    first, second = ([r for r in run.records() if r["phase"] in phases] for run in (a, b))
    assert len(first) > 1
    for x, y in zip(first, second, strict=True):
        assert x.keys() == y.keys()
        for name in x.keys() - {"phase", "images_per_second"}:
            expected = pytest.approx(x[name], rel=tolerance, abs=0.01 * tolerance)
            assert y[name] == expected, (x["step"], name)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
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
    one, two = (Run(tmp_path / str(n)) for n in (1, 2))
    single = torch.Tensor.float
    try:
        double_steps.main(str(one.path))
    finally:
        torch.Tensor.float = single  # pyright: ignore[reportAttributeAccessIssue]
        torch.set_default_dtype(torch.float32)
    side_by_side(2, str(HERE / "double_steps.py"), str(two.path))
    assert_same_losses(one, two, 1e-12, ("model",))
    terms = {"r1", "r2", "isometry", "feature_matching", "latent_discriminator", "latent_fooling"}
    assert terms <= one.records()[-1].keys()
    expected, found = (read_tensors(run.file("state.safetensors"))[0] for run in (one, two))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-9), name


def test_a_run_outlives_a_killed_process_and_a_stop_and_is_finished_by_one(
    alone: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    words = [*launcher, "--max-restarts=1", f"--master-port={free_port()}"]
    words += [str(HERE / "failing_train.py"), *command(run.path)]
    faults = {"KILL_AT": "12", "STOP_AT": "21"}
    done = subprocess.run(
        words, env=ENVIRONMENT | faults, timeout=240, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "another process ended or cannot be reached" in done.stderr  # after SIGKILL
    assert done.stderr.count("each of 2 processes has 8 images") == 2  # and after the restart
    assert done.stderr.count("stopped after step 21 of 30, and saved") == 1  # told once
    assert read_tensors(run.file("state.safetensors"))[1]["step"] == "21"
    assert run.writer() is None
    # A fresh command refuses the folder, and --resume finishes the run in one process.
    assert latent_atlas(*command(run.path)) == 2
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("latent_atlas.cli.commands.train.write_page", lambda *_: None)
        assert latent_atlas("train", "--out", str(run.path), "--resume") == 0
    assert_same_losses(alone, run, 1e-4, ("model", "map"))


def descendants(pid: int) -> set[int]:
    """A process and all that it has started, as far as they live."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    found, more = {pid}, {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


def listening(pids: set[int]) -> dict[str, str]:
    """The sockets on which processes listen: address in hexadecimal digits by inode."""
    opened = set()
    for pid in pids:
        try:
            opened |= {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    places = {row[9]: row[1].partition(":")[0] for row in rows if row[3] == "0A"}
    return {inode: at for inode, at in places.items() if f"socket:[{inode}]" in opened}


def on_loopback(address: str) -> bool:
    """Whether an address of /proc/net/tcp or tcp6 is 127.x.x.x or ::1."""
    version_4 = len(address) == 8 or address.startswith(MAPPED)
    return address == LOOPBACK_6 or (version_4 and address.endswith("7F"))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are read from /proc")
def test_two_workers_of_ray_train_the_same_and_listen_on_loopback_alone(
    alone: Run, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    words = [sys.executable, str(HERE / "failing_train.py"), *command(run.path, "--ray", "2")]
    here = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("RAY_")}
    sockets: dict[str, str] = {}
    with subprocess.Popen(words, env=here, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            sockets |= listening(descendants(process.pid))
            time.sleep(0.3)
        process.kill()
        said = process.stderr.read() if process.stderr else ""
    assert process.returncode == 0, said
    assert "networks: 30 of 30" in said
    assert "map: 20 of 20" in said
    assert_same_losses(alone, run, 1e-4, ("model",))
    assert run.file("map.safetensors").is_file()
    assert not run.file(".ray").exists()
    assert len(sockets) > 2  # of Ray itself and of the workers
    assert all(map(on_loopback, sockets.values())), sockets


def test_a_batch_that_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"16 images cannot be shared equally by 3 .* --batch-size 15"
    ):
        Processes(world_size=3).share_of(16)
    assert Processes(world_size=4).share_of(16) == 4


@pytest.mark.parametrize(
    ("workers", "sentence"),
    [("0", "--ray is 0; choose 1 or more workers"), ("3", "choose --batch-size 15")],
)
def test_a_number_of_workers_that_cannot_be_is_refused(
    workers: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas(*command(tmp_path / "run", "--ray", workers)) == 2
    assert sentence in capsys.readouterr().err


def test_ray_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latent_atlas.distributed.ray_train.find_spec", lambda name: None)
    assert latent_atlas(*command(tmp_path / "run", "--ray", "2")) == 2
    assert "pip install 'latent-atlas[scale]'" in capsys.readouterr().err


def test_a_mistake_is_told_by_the_first_process_and_as_the_cause(tmp_path: Path) -> None:
    sentence = "latent-atlas: no images at 'nowhere'"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, "-m", "latent_atlas", "pack", "nowhere", str(tmp_path / "p")],
        env=ENVIRONMENT,
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if sentence in line]
    assert sum(line.startswith(sentence) for line in told) == 1, done.stderr
    assert any(line.strip().startswith("traceback :") for line in told), done.stderr


def test_a_signal_while_the_map_is_fitted_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latent_atlas.cli.commands.train.write_page", lambda *_: None)
    out = tmp_path / "run"

    def terminated(*arguments: Any, **settings: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr("latent_atlas.training.loop.fit_map", terminated)
        assert latent_atlas(*command(out)) == 143
    assert "--resume keeps the networks and fits the map" in capsys.readouterr().err
    assert (out / "model.safetensors").is_file()
    assert not (out / "map.safetensors").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert latent_atlas("train", "--out", str(out), "--resume") == 0
    assert (out / "map.safetensors").is_file()


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert join() is ALONE
    rows = torch.arange(6)
    assert ALONE.share(rows).tolist() == ALONE.gather(rows).tolist() == rows.tolist()
    assert [ALONE.any(flag) for flag in (False, True)] == [False, True]
    assert ALONE.first(lambda: 5) == 5
    assert not ALONE.noted("anything")
    assert ALONE.total("a count", 3) == 3
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="RANK, MASTER_ADDR, MASTER_PORT is not set; start"):
        join()


def test_processes_agree_on_a_name_although_the_dead_have_left_theirs() -> None:
    store = torch.distributed.HashStore()
    names = []
    for _ in range(2):  # started, and started again with the same store
        with ThreadPoolExecutor(3) as pool:
            names += [[*pool.map(lambda rank: _agreed_name(store, rank, 3), (2, 1, 0))]]
    assert [len(set(found)) for found in names] == [1, 1]
    assert names[0] != names[1]


def test_processes_count_together() -> None:
    store = torch.distributed.HashStore()
    first, second = (Processes(rank, 2, counts=store) for rank in (0, 1))
    assert [first.total("shards", 2), second.total("shards", 5)] == [2, 7]
    assert [first.total("shards", 3), first.total("rows", 1)] == [8, 1]


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_all_rows_between_them(world_size: int) -> None:
    rows = torch.arange(12)
    parts = [Processes(rank, world_size).share(rows) for rank in range(world_size)]
    assert torch.stack(parts, dim=1).flatten().tolist() == rows.tolist()


def test_each_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """On devices that this machine need not have."""
    devices: dict[str, Any] = {
        name: torch.device(name) for name in ("cpu", "cuda", "cuda:1", "mps")
    }
    monkeypatch.setattr("latent_atlas.training.processes.pick_device", devices.__getitem__)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second, third = ({"LOCAL_RANK": str(n)} for n in (1, 2))
    two = Processes(1, 2)
    for environment, name, sentence in (
        (second, "mps", "cannot train on 'mps'"),
        (second, "cuda:1", "choose cuda"),
        (third, "cuda", "more processes than GPUs"),
    ):
        monkeypatch.setenv("LOCAL_RANK", environment["LOCAL_RANK"])
        with pytest.raises(UserError, match=sentence):
            two.device(name)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert two.device("cuda").type == "cuda"
    assert ALONE.device("cuda:1").index == 1
