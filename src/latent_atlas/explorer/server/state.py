"""The state of the server: an atlas or a run in training, cached values, and the work queues."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.server.interruptible import interruptible
from latent_atlas.explorer.server.limits import Limits
from latent_atlas.explorer.server.uploads import Decoder
from latent_atlas.explorer.server.worker import Unfinished, WorkQueue
from latent_atlas.runs import Run

__all__ = ["Asking", "Explorer"]

T = TypeVar("T")


class Explorer:
    """An atlas, or a run that may still be training.

    Attributes:
        run: The run folder, if there is one.
        demo: Whether the atlas is a synthetic one.
        limits: Bounds of a request.
        quick: Computes what takes milliseconds, and never waits for the rest.
        slow: Computes what can take seconds: planes, paths, samples, codes of images, many codes.
        uploads: Waits for the decoder, so that a large image delays nothing else.
        decoder: Decodes uploaded images.
    """

    def __init__(
        self, atlas: Atlas | None, run: Path | None, *, device: str, demo: bool, limits: Limits
    ) -> None:
        """Arguments: an atlas; or None, and the run whose atlas is loaded once it exists."""
        self.run = None if run is None else Run(run)
        self.demo = demo
        self.limits = limits
        self.quick = WorkQueue(limits.waiting, limits.seconds)
        self.slow = WorkQueue(limits.waiting, limits.seconds)
        self.uploads = WorkQueue(limits.uploads, limits.seconds)
        self.decoder = Decoder()
        self._device = device
        self._known: Known | None = None
        self._once: dict[str, Future[Any]] = {}
        self._loading = threading.Lock()
        if atlas is not None:
            self._hold(atlas)

    @property
    def training(self) -> bool:
        """Whether there is no atlas yet."""
        return self._known is None and not self._finished()

    @property
    def dimension(self) -> int | None:
        """Coordinates of a code; None before there is an atlas."""
        return None if self._known is None else self._known.atlas.map.dimension

    def known(self) -> Known:
        """The atlas with cached values; it is loaded here once its run has finished.

        Raises:
            Unfinished: the run has no map yet.
        """
        with self._loading:
            if self._known is None:
                if not self._finished():
                    raise Unfinished(
                        "this run is still training and has no map yet; watch its losses until it "
                        "has"
                    )
                assert self.run is not None
                self._hold(Atlas.load(self.run.path, device=self._device))
            assert self._known is not None
            return self._known

    def once(self, name: str, work: Callable[[], Any]) -> "Future[Any]":
        """Work of minutes that is done once, in a thread that does not delay the server's end."""
        if name not in self._once:
            self._once[name] = future = Future[Any]()

            def run() -> None:
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)

            threading.Thread(target=run, daemon=True).start()
        return self._once[name]

    def finish(self, seconds: float) -> None:
        """Allow the requests under way so many more seconds; a signal handler may call this."""
        for queue in self._queues():
            queue.finish(seconds)

    def close(self) -> None:
        """Stop working."""
        for queue in self._queues():
            queue.close(wait=False)
        self.decoder.close()
        for queue in self._queues():
            queue.close()

    def check(self) -> None:
        """Work on the atlas calls this between steps: see `WorkQueue.check`."""
        self.quick.check()
        self.slow.check()

    def _queues(self) -> tuple[WorkQueue, ...]:
        return self.quick, self.slow, self.uploads

    def _finished(self) -> bool:
        """Whether the run's last file is there."""
        return self.run is not None and self.run.file("map.safetensors").is_file()

    def _hold(self, atlas: Atlas) -> None:
        """Take the atlas, and begin to compute what the first requests need."""
        about = None if self.run is None else self.run.read_json("manifest.json")
        self._known = Known(interruptible(atlas, self.check), self.check, about)
        self.slow.meanwhile(self._known.pieces())


class Asked:
    """A request, with the explorer that answers it."""

    def __init__(self, request: Request) -> None:
        """Arguments: the request."""
        self.request = request
        self.explorer: Explorer = request.app.state.explorer

    async def of(self, work: Callable[[Known], T], *, slow: bool = False) -> T:
        """The result of work on the atlas, in its turn; slow work waits in a queue of its own."""
        queue = self.explorer.slow if slow else self.explorer.quick
        return await queue.do(lambda: work(self.explorer.known()), self.request)

    async def do(self, work: Callable[[], T]) -> T:
        """Slow work that needs no atlas, in its turn."""
        return await self.explorer.slow.do(work, self.request)


Asking = Annotated[Asked, Depends(Asked)]
"""The argument by which a route reaches the atlas."""
