"""Training by the workers of Ray Train, on this machine or on a cluster.

The workers run the loop of `training.loop`, as processes started by torchrun do. Ray places them,
and starts all of them again if one dies; they then go on from the last checkpoint of the run.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from latent_atlas.data.load import load_images
from latent_atlas.distributed.ray_jobs import started
from latent_atlas.errors import Interrupted, UserError, require
from latent_atlas.runs import Run
from latent_atlas.training.history import Log
from latent_atlas.training.loop import assist
from latent_atlas.training.loop import train as train_run
from latent_atlas.training.processes import Lost, Processes, Refused, join

__all__ = ["check_workers", "train"]

MISSING = "--ray needs Ray Train, which is missing; pip install 'latent-atlas[scale]'"
FAILURES = 3  # times that Ray starts the workers again


def check_workers(workers: int, batch_size: int) -> None:
    """Refuse a number of workers before anything is read.

    Raises:
        UserError: there are none, they cannot share a batch, a launcher made this process, or Ray
            is not installed.
    """
    require(workers >= 1, f"--ray is {workers}; choose 1 or more workers")
    require(
        os.environ.get("WORLD_SIZE", "1") == "1",
        "--ray starts the processes itself; leave out torchrun, or leave out --ray",
    )
    require(find_spec("ray") is not None, MISSING)
    Processes(world_size=workers).share_of(batch_size)


def train(run: Run, workers: int, *, log: Log) -> None:
    """Train the networks of a run with Ray Train, from its last checkpoint, and fit its map.

    The workers read the images and write the run, so on a cluster both have to be on a disk that
    all its machines see. Ray is the cluster at `RAY_ADDRESS`; without this variable it is started
    here and listens on 127.0.0.1 alone.

    Arguments:
        run: A folder that `Run.begin` has made a run; this process does not hold it.
        workers: Processes that share each batch, each with a GPU if the run trains on GPUs.
        log: Called with each record of log.jsonl.

    Raises:
        Interrupted: Ctrl-C; the last checkpoint is kept.
        UserError: Ray is not installed, or training failed; the sentence says why.
    """
    with _ray(workers) as ray:
        from ray.util.queue import Queue

        records = Queue(actor_options={"num_cpus": 0})
        storage = run.file(".ray").absolute()
        trainer = _trainer(run, workers, records, storage, ray)
        Thread(target=_fit, args=(trainer, records), daemon=True).start()
        try:
            while (found := records.get()) is not None:
                if isinstance(found, UserError):
                    raise found
                log(found)
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; --resume goes on from the last checkpoint, if there was one"
            ) from None
        finally:
            shutil.rmtree(storage, ignore_errors=True)


@contextmanager
def _ray(workers: int) -> Iterator[Any]:
    """The module ray, as `ray_jobs.started` gives it, while it is used.

    Raises:
        UserError: Ray is not installed, or what Ray Train needs besides.
    """
    ray = started(_cores(workers) * workers)
    try:
        require(find_spec("pyarrow") is not None, MISSING)  # which ray.train imports
        yield ray
    finally:
        ray.shutdown()  # it ends the workers too


def _cores(workers: int) -> int:
    """Cores of each worker: its part of this machine, and one on a cluster."""
    alone = "RAY_ADDRESS" not in os.environ
    return max(1, (os.cpu_count() or 1) // workers) if alone else 1


def _trainer(run: Run, workers: int, records: Any, storage: Path, ray: Any) -> Any:
    """The workers, as Ray Train is told about them."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    device = run.config().train.device
    gpus = int(ray.cluster_resources().get("GPU", 0))
    return TorchTrainer(
        _work,
        train_loop_config={"folder": str(run.path.absolute()), "records": records},
        torch_config=_launcher(),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=device.startswith("cuda") or (device == "auto" and gpus >= workers),
            resources_per_worker={"CPU": _cores(workers)},
        ),
        run_config=RunConfig(
            name="train",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=FAILURES),
        ),
    )


def _launcher() -> Any:
    """How Ray Train starts a group: it sets what torchrun sets, and `processes.join` does the rest.

    Ray's own way makes a store that listens on all interfaces.
    """
    from ray.train.backend import Backend
    from ray.train.torch import TorchConfig

    class Launcher(Backend):
        share_cuda_visible_devices = True

        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            worker_group.execute(_announce, *worker_group.execute_single(0, _address))

    class LauncherConfig(TorchConfig):
        @property
        def backend_cls(self) -> Any:
            return Launcher

    return LauncherConfig()


def _address() -> tuple[str, int]:
    """Where the first worker can be reached, with a port that is free."""
    import ray.util

    address = ray.util.get_node_ip_address()
    with socket.create_server((address, 0)) as probe:
        return address, probe.getsockname()[1]


def _announce(address: str, port: int) -> None:
    """Set the environment variables that `processes.join` reads."""
    from ray.train import get_context

    context = get_context()
    os.environ |= {
        "RANK": str(context.get_world_rank()),
        "WORLD_SIZE": str(context.get_world_size()),
        "LOCAL_RANK": str(context.get_local_rank()),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }


def _fit(trainer: Any, records: Any) -> None:
    """Train, and tell the end, or why it failed, to `train`."""
    try:
        trainer.fit()
    except Exception as error:
        failures = getattr(error, "worker_failures", {}).values()
        reason = " ".join(str(next(iter(failures), error)).split())[:300]
        records.put(UserError(f"training with Ray failed: {reason}"))
    else:
        records.put(None)


def _work(task: dict[str, Any]) -> None:
    """What each worker does: as a process that torchrun started."""
    processes = join()
    records, run = task["records"], Run(Path(task["folder"]))
    try:
        config = processes.first(lambda: run.source(run.config()))
        m = config.model
        images = load_images(config.data, m.image_size, m.channels)
        if processes.is_first:
            train_run(images, config, run, log=records.put, resume=True, processes=processes)
        else:
            assist(images, config, resume=True, processes=processes)
    except (Lost, Refused):
        raise  # the first worker tells why, or Ray starts all of them again
    except UserError as error:
        records.put(UserError(str(error)))  # they would fail again
        raise
