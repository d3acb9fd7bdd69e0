"""The queue of work: one thread computes, so many requests may wait, and whoever leaves is not computed for."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from fastapi import Request

from latent_atlas.errors import UserError

__all__ = ["Busy", "Gone", "WorkQueue"]

T = TypeVar("T")


class Busy(Exception):
    """As many requests are waiting as may."""


class Gone(Exception):
    """The client has left, so nobody waits for an answer."""


class _Job:
    """One piece of work; it learns that it should stop whenever it calls `check`."""

    def __init__(self, seconds: float) -> None:
        self.abandoned = False
        self.seconds = seconds
        self.ends = float("inf")

    def begin(self) -> None:
        self.ends = time.monotonic() + self.seconds

    def check(self) -> None:
        """Stop here if nobody waits any more, or it has taken too long."""
        if self.abandoned:
            raise Gone
        if time.monotonic() > self.ends:
            raise UserError(
                f"this took longer than {self.seconds:g} seconds and was stopped; ask for fewer frames, stops or "
                "planners, or start again when the machine has less to do"
            )


class WorkQueue:
    """Work for one thread, first come, first served.

    A device computes one thing at a time, and threads that share it slow each other down; so all of the atlas's work
    is done here, and the event loop stays free to refuse, to serve files and to notice who has left.
    """

    def __init__(self, waiting: int, seconds: float) -> None:
        """Arguments: how many requests may wait or be worked on; how long one may compute."""
        self._most = waiting
        self._seconds = seconds
        self._waiting = 0
        self._closed = False
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

    async def do(self, work: Callable[[], T], request: Request) -> T:
        """Do the work in its turn and return what it returns.

        Raises:
            Busy: too many wait.
            Gone: the client has left before it was done.
        """
        self.admit()
        job = _Job(self._seconds)
        self._waiting += 1
        future = self._thread.submit(self._run, job, work)
        answer = asyncio.wrap_future(future)
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Gone
            return answer.result()
        finally:
            self._waiting -= 1
            job.abandoned = True
            left.cancel()
            answer.cancel()  # drops what has not begun
            answer.add_done_callback(_seen)

    def check(self) -> None:
        """Called now and then by long work: it stops there if nobody waits for it, or if it has taken too long."""
        if self._closed:
            raise Gone
        job = getattr(self._current, "job", None)
        if job is not None:
            job.check()

    def meanwhile(self, pieces: Iterator[None]) -> None:
        """Do work that nobody waits for, piece by piece, each behind all requests that are there by then."""

        def one() -> None:
            if next(pieces, self) is not self:
                self.meanwhile(pieces)

        with suppress(RuntimeError):  # of a queue that was closed
            self._thread.submit(one)

    def close(self) -> None:
        """Drop what has not begun, and stop what has."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: _Job, work: Callable[[], T]) -> T:
        self._current.job = job
        job.begin()
        try:
            job.check()
            return work()
        finally:
            self._current.job = None


async def _left(request: Request) -> None:
    """Wait until the client has left; its whole body has been read by now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _seen(answer: "asyncio.Future[T]") -> None:
    """Look at how work ended that nobody waits for, so that asyncio does not complain of it."""
    with suppress(asyncio.CancelledError, CancelledError):
        answer.exception()
