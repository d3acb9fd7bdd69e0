"""Runs the cells of a study in several processes.

A cell starts when the run that it needs is finished; its numbers are written at once, and a cell
that fails does not stop the others.
"""

import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from latent_atlas.device import pick_device
from latent_atlas.errors import Interrupted, UserError
from latent_atlas.study.design import Cell
from latent_atlas.study.results import StudyResults
from latent_atlas.study.tasks import run_cell
from latent_atlas.training.interrupt import StopRequest, stop_request

__all__ = ["run_cells", "worker_devices"]

PER_GPU = 4  # processes per GPU, since small networks leave it idle between kernel launches
PATIENCE = 60.0  # seconds that processes have to save their state before they are killed
LOST = "its process died, perhaps because memory ran out; try fewer --workers"

Report = Callable[[Cell, str | None, float], None]
"""Called with each cell that ended, its error message if it failed, and the seconds it took."""


def worker_devices(device: str, workers: int | None) -> list[str]:
    """The device of each worker process: one per core, or four per GPU.

    Arguments:
        device: As in `TrainConfig`; "cuda" and "auto" use all GPUs of the machine.
        workers: Number of processes; None chooses it.

    Raises:
        UserError: there is no such device, or fewer than one worker.
    """
    kind = pick_device(device)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if workers is not None and workers < 1:
        raise UserError(f"--workers is {workers}; choose 1 or more")
    if kind.type != "cuda":
        return [kind.type] * (workers or (cores if kind.type == "cpu" else 1))
    cards = [device] if ":" in device else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    count = workers or min(cores, PER_GPU * len(cards))
    return [cards[i % len(cards)] for i in range(count)]


def run_cells(folder: Path, cells: Sequence[Cell], devices: Sequence[str], report: Report) -> None:
    """Run all cells that are not finished yet.

    Arguments:
        folder: The folder of the study.
        cells: The cells, in the order to run them.
        devices: The device of each worker; a single worker is this process itself.
        report: Called with every cell that ended.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; finished cells and the state of runs are saved.
    """
    work = _Queue(StudyResults(folder), [*cells], report)
    with stop_request() as stop:
        while work.waiting and not stop:
            with _executor(len(devices)) as executor:
                try:
                    _distribute(work, executor, [*devices], stop)
                except BrokenProcessPool:
                    continue  # the running cells are reported as failed; new workers do the rest
                finally:
                    if stop:
                        _stop_workers(executor)
    if stop:
        left = sum(not work.study.done(cell) for cell in cells)
        raise Interrupted(
            f"stopped with {left} of {len(cells)} cells to do; the same command goes on from there"
        ) from stop.cause


class _Queue:
    """The cells that wait, and the report of those that ended."""

    def __init__(self, study: StudyResults, cells: list[Cell], report: Report) -> None:
        self.study = study
        self.waiting = [cell for cell in cells if not study.done(cell)]
        self.report = report

    def ready(self) -> Cell | None:
        """The first waiting cell whose run is finished."""
        return next(
            (cell for cell in self.waiting if cell.kind == "run" or self.study.done(cell.run)),
            None,
        )

    def drop_orphans(self, at_work: list[Cell]) -> None:
        """Report the cells whose run has failed, since they can never start."""
        for cell in [*self.waiting]:
            run = cell.run
            if cell != run and not self.study.done(run) and run not in (*self.waiting, *at_work):
                self.waiting.remove(cell)
                reason = self.study.failures([run]).get(run, "it is not part of this study")
                self._fail(cell, f"its run {run.name} failed: {reason}")

    def account(self, cell: Cell, ended: "Future[float]") -> BaseException | None:
        """Report how a cell ended, and return its error; its worker has written the numbers."""
        error = ended.exception()
        if error is None:
            self.report(cell, None, ended.result())
        elif isinstance(error, BrokenProcessPool):
            self._fail(cell, LOST)
        elif not isinstance(error, Interrupted):
            message = (
                str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            )
            self._fail(cell, " ".join(message.split()), "".join(traceback.format_exception(error)))
        return error

    def _fail(self, cell: Cell, sentence: str, trace: str = "") -> None:
        self.study.fail(cell, sentence, trace)
        self.report(cell, sentence, 0.0)


def _distribute(work: _Queue, executor: Executor, free: list[str], stop: StopRequest) -> None:
    """Start cells as devices become free, until no cell waits or a stop is requested.

    Raises:
        BrokenProcessPool: a process died; the running cells are reported as failed.
    """
    at_work: dict[Future[float], tuple[Cell, str]] = {}
    while (work.waiting or at_work) and not stop:
        work.drop_orphans([cell for cell, _ in at_work.values()])
        while free and (cell := work.ready()):
            future = executor.submit(_run_and_write, work.study.path, cell, free[0])
            at_work[future] = cell, free.pop(0)
            work.waiting.remove(cell)
        finished, _ = wait(at_work, timeout=0.2, return_when=FIRST_COMPLETED)
        errors = []
        for future in finished:
            cell, device = at_work.pop(future)
            free.append(device)
            errors.append(work.account(cell, future))
        if any(
            isinstance(error, Interrupted) for error in errors
        ):  # a run that trains here has heard the signal instead
            stop.signal = signal.SIGTERM
        if any(isinstance(error, BrokenProcessPool) for error in errors):
            for future, (cell, _) in at_work.items():
                work.account(cell, future)
            raise BrokenProcessPool


def _run_and_write(folder: Path, cell: Cell, device: str) -> float:
    """Run one cell, write its numbers, and return the seconds it took."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # warnings about small sets are given once, by the study
        numbers = run_cell(folder, cell, device)
    StudyResults(folder).write(cell, numbers)
    return time.perf_counter() - began


class _InProcess(Executor):
    """An executor that runs everything at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Call the function now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _executor(count: int) -> Executor:
    """Worker processes; they are spawned, since forks of a process with threads or a GPU hang."""
    if count == 1:
        return _InProcess()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """Compute with one thread, and leave Ctrl-C to the parent process."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stop_workers(executor: Executor) -> None:
    """Ask every worker to stop, which lets training save its state, and kill those that do not."""
    executor.shutdown(wait=False, cancel_futures=True)
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    deadline = time.monotonic() + PATIENCE
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))
        if child.is_alive():
            child.kill()
