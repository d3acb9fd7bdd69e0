"""Bodies of requests, refused while they arrive: too long, too many values, too slow, too many.

A body is cut before it is parsed, and what a refused one held is dropped. So a request that asks
for nothing sensible costs the server the bytes that it has sent and no more.
"""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latent_atlas.explorer.server.state import Explorer

__all__ = ["TOO_LARGE", "Bodies"]

TOO_LARGE = "the request is larger than this server takes, which /api/atlas says; send less"
FILES = frozenset({"/api/encode"})  # whose bodies are files and not JSON
DIGITS = 15  # of a length that is read at all
WRITTEN = 32  # bytes of JSON that one number takes at most, with its comma


class Bodies:
    """ASGI middleware that bounds each body, and all bodies together."""

    def __init__(self, app: ASGIApp, *, explorer: Explorer) -> None:
        """Arguments: the application, and the explorer whose limits and atlas decide."""
        self.app = app
        self.explorer = explorer
        self.held = 0
        """Bytes of all bodies that have arrived, of requests that are not answered yet."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a body that ends in an exception once it is too much."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        body = _Body(self, receive, is_file=scope["path"] in FILES, length=length)
        try:
            await self.app(scope, body.receive, send)
        finally:
            self.held -= body.size


class _Body:
    """The body of one request, counted as it arrives."""

    def __init__(self, bodies: Bodies, receive: Receive, *, is_file: bool, length: str) -> None:
        self._bodies, self._receive, self._is_file = bodies, receive, is_file
        self._limits = bodies.explorer.limits
        self._values = self._most_values()
        self._most = self._most_bytes()
        # A body without a length, or with a wrong one, is refused once it is too long.
        self._too_long = length.isdecimal() and (len(length) > DIGITS or int(length) > self._most)
        self._ends = asyncio.get_running_loop().time() + self._limits.arrival
        self._commas = self._colons = self._brackets = 0
        self._arrives = True
        self.size = 0

    async def receive(self) -> Message:
        """The next part of the body.

        Raises:
            HTTPException: the body is too large (413), too slow (408), or too much beside the
                others (503).
        """
        if self._too_long:
            raise HTTPException(413, TOO_LARGE)
        message = await self._in_time() if self._arrives else await self._receive()
        if message["type"] == "http.request":
            self._arrives = message.get("more_body", False)
            self._count(message.get("body", b""))
        return message

    async def _in_time(self) -> Message:
        try:
            async with asyncio.timeout_at(self._ends):
                return await self._receive()
        except TimeoutError:
            self._arrives = False
            raise HTTPException(
                408, f"the request took longer than {self._limits.arrival:g} seconds to arrive"
            ) from None

    def _count(self, part: bytes) -> None:
        self.size += len(part)
        self._bodies.held += len(part)
        if self.size > self._most:
            raise HTTPException(413, TOO_LARGE)
        if self._bodies.held > self._limits.held and self.size > self._limits.small:
            raise HTTPException(
                503,
                "too many large requests arrive at once; ask again in a second",
                {"retry-after": "1"},
            )
        if not self._is_file:
            self._count_values(part)

    def _count_values(self, part: bytes) -> None:
        """Refuse JSON of more values, names or lists than any request has, and so all deep nesting.

        Signs within strings are counted as well; `keys` leaves room for them.
        """
        self._commas += part.count(b",")
        self._colons += part.count(b":")
        self._brackets += part.count(b"[") + part.count(b"{")
        limits = self._limits
        for count, most, what in (
            (self._commas, self._values, "values"),
            (self._colons, limits.keys, "names"),
            (self._brackets, limits.codes + limits.keys, "lists"),
        ):
            if count > most:
                raise HTTPException(
                    413,
                    f"the request has more than {most:,} {what}, and none needs as many; send less",
                )

    def _most_values(self) -> int:
        dimension = self._bodies.explorer.dimension
        most = self._limits.values
        if dimension is not None:
            most = min(most, self._limits.codes * dimension)
        return most + self._limits.keys

    def _most_bytes(self) -> int:
        most = self._limits.small + WRITTEN * self._values
        return self._limits.bytes if self._is_file else min(self._limits.bytes, most)
