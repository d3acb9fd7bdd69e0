"""The work queue: one thread computes, a bounded number of requests wait, and work stops
when its client leaves.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from fastapi import Request
from starlette.exceptions import HTTPException

from latent_atlas.errors import UserError

__all__ = ["Busy", "Gone", "Stopping", "Unfinished", "WorkQueue"]

T = TypeVar("T")
LOOK = 1.0  # seconds between looks at work that may have taken too long


class Busy(Exception):
    """Too many requests are waiting."""


class Gone(Exception):
    """The client has left before its answer."""


class Stopping(Exception):
    """The server ends, and what it still works on has had its time."""


class Unfinished(UserError):
    """The run has no map yet."""


class _Job:
    """One piece of work; `check` raises once it should stop."""

    def __init__(self, seconds: float) -> None:
        self.abandoned = False
        self.seconds = seconds
        self.ends = float("inf")

    def begin(self) -> None:
        self.ends = time.monotonic() + self.seconds

    def check(self) -> None:
        """Raise if the client has left, or if the work takes too long."""
        if self.abandoned:
            raise Gone
        if time.monotonic() > self.ends:
            raise UserError(
                f"this took longer than {self.seconds:g} seconds and was stopped; ask for "
                "fewer frames, waypoints or planners, or a smaller image, or try again when the "
                "machine is less busy"
            )


class WorkQueue:
    """Work for one thread, first come, first served.

    A device computes one thing at a time, and threads that share it slow each other down. So few
    threads work on the atlas, and the event loop stays free to refuse requests, to serve files and
    to notice clients that leave.
    """

    def __init__(self, waiting: int, seconds: float) -> None:
        """Arguments: how many requests may wait or be worked on; how long one may compute."""
        self._most = waiting
        self._seconds = seconds
        self._waiting = 0
        self._closed = False
        self._ends = float("inf")
        self._thread = ThreadPoolExecutor(1, "atlas")
        self._current = threading.local()

    @property
    def waiting(self) -> int:
        """Requests that wait for an answer."""
        return self._waiting

    def admit(self) -> None:
        """Refuse more work than may wait.

        Raises:
            Busy: as much waits as may.
            Gone: the server ends.
        """
        if self._closed:
            raise Gone
        if self._waiting >= self._most:
            raise Busy

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those that may wait.

        Raises:
            Busy: there is none.
        """
        self.admit()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def do(self, work: Callable[[], T], request: Request) -> T:
        """Do the work in its turn and return what it returns.

        Raises:
            Busy: too many wait.
            Gone: the client has left before it was done.
            Stopping: the server has ended before it was done.
        """
        with self.place():
            return await self.work(work, request)

    async def work(self, work: Callable[[], T], request: Request) -> T:
        """Do the work of a request that has a place."""
        job = _Job(self._seconds)
        future = self._thread.submit(self._run, job, work)
        answer = asyncio.wrap_future(future)
        left = asyncio.ensure_future(_left(request))
        try:
            while not answer.done():
                await asyncio.wait(
                    {answer, left}, return_when=asyncio.FIRST_COMPLETED, timeout=LOOK
                )
                if left.done() and not answer.done():
                    raise Gone
                if not answer.done():
                    self._check(job)  # work that does not check itself goes on, unheard
            return answer.result()
        finally:
            job.abandoned = True
            left.cancel()
            answer.cancel()  # drops what has not begun
            answer.add_done_callback(_seen)

    def check(self) -> None:
        """Long work calls this between steps; it raises if the client has left or time is up."""
        if self._closed:
            raise Gone
        job = getattr(self._current, "job", None)
        if job is not None:
            self._check(job)

    def finish(self, seconds: float) -> None:
        """Allow what waits and what runs so many more seconds."""
        self._ends = time.monotonic() + seconds

    def _check(self, job: _Job) -> None:
        if time.monotonic() > self._ends:
            raise Stopping
        job.check()

    def meanwhile(self, pieces: Iterator[None]) -> None:
        """Do background work piece by piece, each piece behind all requests that wait by then."""

        def one() -> None:
            if next(pieces, self) is not self:
                self.meanwhile(pieces)

        with suppress(RuntimeError):  # of a queue that was closed
            self._thread.submit(one)

    def close(self, *, wait: bool = True) -> None:
        """Drop what has not begun, and stop what has."""
        self._closed = True
        self._thread.shutdown(wait=wait, cancel_futures=True)

    def _run(self, job: _Job, work: Callable[[], T]) -> T:
        self._current.job = job
        job.begin()
        try:
            self._check(job)
            return work()
        finally:
            self._current.job = None


async def _left(request: Request) -> None:
    """Wait until the client has left, or sends more than it may; its body has been read by now."""
    with suppress(HTTPException):
        while (await request.receive())["type"] != "http.disconnect":
            pass


def _seen(answer: "asyncio.Future[T]") -> None:
    """Retrieve the exception of abandoned work, so that asyncio does not log it."""
    with suppress(asyncio.CancelledError, CancelledError):
        answer.exception()
