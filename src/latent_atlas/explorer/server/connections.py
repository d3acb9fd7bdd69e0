"""Connections and their end: slow clients are cut, and a stopping server finishes its answers."""

import asyncio
import signal
import socket
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from latent_atlas.explorer.server.state import Explorer

__all__ = ["ExplorerServer"]

MOST = 400  # connections: a process may open about a thousand files
PATIENCE = 10.0  # seconds between two looks at a connection
SLOWEST = 10_000  # bytes of an answer that a client is to take between two looks
GRACE = 8.0  # seconds that requests under way have once the server is told to stop


class ExplorerServer(uvicorn.Server):
    """A server of the explorer. On SIGTERM and Ctrl-C it takes no more connections, gives requests
    under way eight seconds, and returns.

    Attributes:
        explorer: What it serves.
    """

    def __init__(self, app: FastAPI) -> None:
        """Arguments: what `make_app` returns."""
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=round(GRACE) + 2,
            )
        )
        self.explorer: Explorer = app.state.explorer

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C stops at once. The signal is not raised again afterwards."""
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.explorer.finish(0.0 if self.should_exit else GRACE)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the application too after a second Ctrl-C, where uvicorn would not."""
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()


class Connection(H11Protocol):
    """A connection that is cut where its client neither asks nor takes its answer.

    uvicorn itself waits for ever for the end of a request's head, and for a client who does not
    read.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._look: asyncio.TimerHandle | None = None
        self._answered: object = None
        self._buffered = 0
        self.since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take the connection; the one that has been idle for longest makes room for it."""
        super().connection_made(transport)
        self._remember()
        if len(self.connections) > MOST:
            # Those that have never asked go first: who has asked may be about to ask again.
            min(self._idle(), key=lambda one: (one.cycle is not None, one.since)).transport.abort()

    def on_response_complete(self) -> None:
        """Note when the connection has become idle again."""
        self.since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking at it."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _idle(self) -> "list[Connection]":
        """All connections without a request, this one among them."""
        every = cast("set[Connection]", self.connections)
        return [one for one in every if one.is_idle and not one.transport.is_closing()]

    def _remember(self) -> None:
        self._answered, self._buffered = self.cycle, self.transport.get_write_buffer_size()
        self._look = self.loop.call_later(PATIENCE, self._cut_or_wait)

    def _cut_or_wait(self) -> None:
        """Cut the connection if nothing has moved since the last look."""
        buffered = self.transport.get_write_buffer_size()
        unread = buffered > 0 and buffered > self._buffered - SLOWEST
        silent = self.is_idle and self.cycle is self._answered
        if (unread and self._buffered > 0) or (silent and not buffered):
            self.transport.abort()
        else:
            self._remember()
