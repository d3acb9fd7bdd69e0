"""The processes that train one run together, each on its part of every batch.

A launcher such as torchrun or Ray Train starts them. All hold the same weights: each computes the
gradients of its images, these are averaged over the processes, and every process takes the same
step. What they compute is what one process would compute from the whole batch, to rounding, so a
run may be started by some number of processes and finished by another.

The first process, of rank 0, is the only one that reads and writes the run folder. Jobs on shards
meet here as well, to wait for each other and to count together.
"""

import importlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from latent_atlas.device import pick_device
from latent_atlas.errors import UserError, counted, require

__all__ = ["ALONE", "Lost", "Processes", "Refused", "join"]

T = TypeVar("T")

MEETING = timedelta(minutes=5)  # for all processes to start
# A process may wait for the first while that reads images; a process that died is noticed at once.
SILENCE = timedelta(hours=2)


class Refused(UserError):
    """The first process has raised a UserError, in which it says what was wrong."""


class Lost(UserError):
    """Another process has ended, or cannot be reached any more."""


@dataclass(frozen=True)
class Processes:
    """The processes that train one run, seen from one of them.

    Every process has to call the methods that exchange values, in the same order. With one process
    they return their arguments.

    Attributes:
        rank: The number of this process, from 0.
        world_size: How many processes there are.
        made: Whether `join` made their group, which `leave` then ends.
        store: The launcher's memory, which outlives the processes that it starts again; None
            without one.
        counts: The memory of these processes alone; None for one process, and in a group that
            `join` has not made.
    """

    rank: int = 0
    world_size: int = 1
    made: bool = False
    store: Store | None = None
    counts: Store | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process owns the run folder and speaks to the user."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """The rows of this process, of those of a whole batch: every `world_size`-th."""
        return rows[self.rank :: self.world_size]

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of the whole batch, in the order that `share` takes them from; no gradients."""
        if self.world_size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world_size)]
        with _exchange():
            dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes, for a loss that is no mean over images, such as a ratio.

        Its gradient is passed on unchanged: `average_gradients` takes the mean later, once for all.
        """
        return values if self.world_size == 1 else _Mean.apply(values)

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any of the processes. It travels past the GPU."""
        if self.world_size == 1:
            return flag
        found = torch.tensor(float(flag))
        with _exchange():
            dist.all_reduce(found)
        return found.item() > 0

    @torch.no_grad()
    def average_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of weights by their means over processes, in one message."""
        if self.world_size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = _mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, the only one that calls it.

        Raises:
            UserError: `make` raised it; in the other processes it is `Refused`.
        """
        if self.world_size == 1:
            return make()
        answer: list[Any] = [None, None]
        raised: UserError | None = None
        if self.is_first:
            try:
                answer[0] = make()
            except UserError as error:
                raised, answer[1] = error, str(error)
        with _exchange():
            dist.broadcast_object_list(answer)
        if raised is not None:
            raise raised
        if answer[1] is not None:
            raise Refused(answer[1])
        return answer[0]

    def device(self, name: str) -> torch.device:
        """The device called `name` for this process; each process has a GPU of its own.

        Raises:
            UserError: this machine has no such device, or not one for each process.
        """
        device = pick_device(name)
        if self.world_size == 1:
            return device
        require(
            device.type in ("cpu", "cuda"),
            f"several processes cannot train on '{device.type}'; add --device cpu, or use one",
        )
        if device.type == "cuda":
            gpus = torch.cuda.device_count()
            require(
                torch.device("cuda" if name == "auto" else name).index is None,
                f"train.device is {name}, but each of {self.world_size} processes needs a GPU of "
                "its own; choose cuda",
            )
            require(
                _local_rank() < gpus,
                f"more processes than GPUs were started here ({gpus} GPUs); start {gpus}, or add "
                "--device cpu",
            )
        return device

    def share_of(self, batch_size: int) -> int:
        """How many images of a batch each process has.

        Raises:
            UserError: the processes cannot share a batch of this size equally.
        """
        part, left_over = divmod(batch_size, self.world_size)
        nearest = max(1, part) * self.world_size
        require(
            left_over == 0,
            f"a batch of {batch_size} images cannot be shared equally by {self.world_size} "
            f"processes; choose --batch-size {nearest}, or another number of processes",
        )
        return part

    def note(self, key: str) -> None:
        """Leave a note for the processes that the launcher starts in place of these."""
        if self.store is not None:
            self.store.set(key, "1")

    def noted(self, key: str) -> bool:
        """Whether these processes, or those in whose place they started, have left such a note."""
        return self.store is not None and self.store.check([key])

    def total(self, key: str, count: int) -> int:
        """The sum of what each process has counted last under a key; none waits for another."""
        if self.counts is None:
            return count
        keys = [f"{key} of {rank}" for rank in range(self.world_size)]
        self.counts.set(keys[self.rank], str(count))
        return sum(int(self.counts.get(one)) for one in keys if self.counts.check([one]))

    def leave(self) -> None:
        """End the group, once all processes are here; a group made by others stays."""
        if self.made and dist.is_initialized():
            self.any(False)  # none leaves while another still waits for its message
            dist.destroy_process_group()


ALONE = Processes()
"""One process, without a launcher."""


def join(patience: timedelta = SILENCE) -> Processes:
    """Meet the processes that the launcher started, as its environment variables announce them.

    These are `RANK`, `WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT` and `LOCAL_RANK`, as torchrun,
    Kubernetes operators and others set them. Tensors on the CPU travel by gloo, those on GPUs by
    NCCL. A group that is there already, such as Ray Train's, is used as it is.

    Arguments:
        patience: How long a process waits for the message of another that lives.

    Raises:
        UserError: a variable is missing, or the others do not come within five minutes.
    """
    if dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    of_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if world_size == 1 and not of_launcher:
        return ALONE
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    require(
        not missing,
        f"WORLD_SIZE is {world_size}, but {', '.join(missing)} is not set; start the processes "
        "with torchrun, or unset WORLD_SIZE",
    )
    rank = int(os.environ["RANK"])
    with _exchange():
        store = _store(made_here=rank == 0 and not of_launcher)
        counts = None
        if world_size > 1:
            counts = PrefixStore(_agreed_name(store, rank, world_size), store)
            _make_group(counts, rank, world_size, patience)
    return Processes(rank, world_size, world_size > 1, store if of_launcher else None, counts)


def _agreed_name(store: Store, rank: int, world_size: int) -> str:
    """A name for the group, which no group before it had.

    The launcher's store still holds what processes wrote that have died since, and the launchers of
    several machines count restarts each for itself. So the first process answers every greeting,
    until all others have confirmed its answer, which the dead do not.

    Raises:
        RuntimeError: the others do not come in time.
    """
    own, until = uuid4().hex, time.monotonic() + MEETING.total_seconds()
    if rank > 0:
        store.set(f"greeting of {rank}", own)
        name = store.get(f"answer to {own}").decode()
        store.set(f"{own} knows {name}", "1")
        return name
    missing = set(range(1, world_size))
    while missing:
        for other in [n for n in missing if store.check([f"greeting of {n}"])]:
            greeting = store.get(f"greeting of {other}").decode()
            store.set(f"answer to {greeting}", own)
            if store.check([f"{greeting} knows {own}"]):
                missing.remove(other)
        if time.monotonic() > until:
            raise RuntimeError(f"{counted(len(missing), 'process', 'processes')} did not start")
        time.sleep(0.02)
    return own


def _store(*, made_here: bool) -> Store:
    """The launcher's key-value store, or one of the first process where the launcher has none."""
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    options: dict[str, Any] = {"timeout": MEETING, "wait_for_workers": False}
    if made_here:
        options["is_master"] = True
        if _on_loopback():  # else it would listen on all interfaces
            options["master_listen_fd"] = socket.create_server(place).detach()
    return PrefixStore("latent-atlas", TCPStore(*place, **options))


def _on_loopback() -> bool:
    """Whether all processes are on this machine."""
    return os.environ["MASTER_ADDR"] == "localhost" or os.environ["MASTER_ADDR"].startswith("127.")


def _make_group(store: Store, rank: int, world_size: int, patience: timedelta) -> None:
    """Make the process group, with a GPU for each process where there are GPUs."""
    # Its functions have the group of their import as a default argument. Imported later, by an
    # optimiser, they would keep this group alive, whose threads abort Python when it ends.
    importlib.import_module("torch.distributed.nn")
    backend = "gloo"
    if _on_loopback():  # else messages go by the interface that the machine's name stands for
        names = [name for _, name in socket.if_nameindex()]
        loopback = next((name for name in names if name.startswith("lo")), "lo")
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", loopback)
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        # Training needs one for each process, see `Processes.device`; jobs on shards may share.
        torch.cuda.set_device(_local_rank() % torch.cuda.device_count())
    settings: dict[str, Any] = {"rank": rank, "world_size": world_size, "timeout": patience}
    dist.init_process_group(backend, store=store, **settings)


def _local_rank() -> int:
    """The number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


class _Mean(torch.autograd.Function):
    """The mean over processes, with the identity as its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _mean(values.detach().clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return slopes[0]


def _mean(values: Tensor) -> Tensor:
    """Replace values by their means over processes, and return them."""
    with _exchange():
        dist.all_reduce(values)
    return values.div_(dist.get_world_size())


@contextmanager
def _exchange() -> Iterator[None]:
    """Report a process that does not answer as one sentence.

    Raises:
        Lost: it has ended, or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:  # of gloo, NCCL and the store alike
        # Without the place in the source of gloo, and without its guesses.
        reason = re.sub(r"^\[[^]]*\] ", "", str(error).strip()).partition(". ")[0][:200]
        raise Lost(
            f"another process ended or cannot be reached ({reason}); if nothing starts them again, "
            "run the same command again, which goes on from what is there: train with --resume"
        ) from error
