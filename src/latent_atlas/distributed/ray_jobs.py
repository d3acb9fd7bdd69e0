"""Shards of a job done by Ray actors, on this machine or on a cluster."""

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from latent_atlas.data.shards import Shard
from latent_atlas.errors import require

if TYPE_CHECKING:
    from latent_atlas.distributed.jobs import Executor, Job, Outcome

__all__ = ["actors", "started"]

AHEAD = 2  # shards that an actor is given at a time, so that it does not wait for the next
RETRIES = 3  # of a shard whose actor died
STORE = 100 * 2**20  # bytes of Ray's object store on this machine: shards are only named


class _Worker:
    """An actor that does one shard after the other."""

    def __init__(self, job: "Job") -> None:
        self.job = job

    def do(self, shard: Shard) -> "Outcome":
        """As `Job.do`."""
        return self.job.do(shard)


def actors(count: int, *, gpu: bool = False) -> "Executor":
    """An executor with `count` actors, each on one core.

    An actor that dies is started again, and does its shard again; a shard that ends its actor four
    times stops the job.

    Arguments:
        count: Actors, 1 or more.
        gpu: Whether they share the GPUs that there are.
    """
    require(count >= 1, f"--ray is {count}; choose 1 or more actors")

    def execute(job: "Job", shards: list[Shard]) -> Iterator["Outcome"]:
        if not shards:
            return
        ray = started(count)
        try:
            gpus = ray.cluster_resources().get("GPU", 0.0) if gpu else 0.0
            share = {"num_cpus": 1, "num_gpus": min(1.0, gpus / count)}
            kind = ray.remote(**share, max_restarts=-1, max_task_retries=RETRIES)(_Worker)
            yield from _shared(ray, [kind.remote(job) for _ in range(count)], shards)
        finally:
            ray.shutdown()

    return execute


def started(cpus: int) -> Any:
    """The module ray, connected to the cluster of RAY_ADDRESS, or else to one on this machine.

    The latter listens on 127.0.0.1 alone.

    Arguments:
        cpus: Cores that actors on this machine may have.

    Raises:
        UserError: Ray is not installed.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if "RAY_ADDRESS" not in os.environ:
        # Without this a Ray on Linux listens on all interfaces; it is read when ray is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        require(False, "--ray needs Ray, which is not installed; pip install 'latent-atlas[scale]'")
        raise
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if "RAY_ADDRESS" in os.environ:
        ray.init(**quiet)
    else:
        ray.init(num_cpus=cpus, object_store_memory=STORE, include_dashboard=False, **quiet)
    return ray


def _shared(ray: Any, workers: list[Any], shards: list[Shard]) -> Iterator["Outcome"]:
    """Give each actor the next shard when it has finished one."""
    waiting = iter(shards)
    running: dict[Any, tuple[Any, Shard]] = {}

    def give(worker: Any) -> None:
        if (shard := next(waiting, None)) is not None:
            running[worker.do.remote(shard)] = (worker, shard)

    for worker in workers * AHEAD:
        give(worker)
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        worker, shard = running.pop(done)
        give(worker)
        try:
            yield ray.get(done)
        except ray.exceptions.RayActorError as error:
            yield _died(shard, error)


def _died(shard: Shard, error: Exception) -> "Outcome":
    """The end of a job in which a shard ended its actor again and again."""
    from latent_atlas.distributed.jobs import Outcome

    reason = str(error).partition("\n")[0]
    return Outcome(
        {},
        f"{shard.name} ({shard.place}) ended its process {RETRIES + 1} times ({reason}); if memory "
        "ran out, use fewer actors or smaller archives, and run the same command again",
    )
