"""Access by host, origin and token, and the security headers of every answer."""

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK", "STOPPING", "Guard", "hosts_for"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})
STOPPING = "the server is stopping; start it again, and then ask again"
HOST = re.compile(r"([\w.-]{1,253}|\[[\da-f:.]{2,45}\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def hosts_for(address: str) -> frozenset[str] | None:
    """The host names of a server bound to this address, or None if it may have any.

    Without the check, a foreign page could resolve its own name to 127.0.0.1 and read the answers
    (DNS rebinding). Where any name is allowed, the token keeps it out: the cookie belongs to one
    name.
    """
    if address in ANY_ADDRESS:
        return None
    return LOOPBACK | {address.lower()}


class Guard:
    """ASGI middleware in front of everything."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] | None,
        token: str | None,
        framed: bool = False,
    ) -> None:
        """Hold who may ask.

        Arguments:
            hosts: Host names, None for any.
            token: The required token, if any.
            framed: Whether it is the first part of every path, as of a page in a frame, instead of
                a cookie. Nobody else can then make a frame of the page.
        """
        self.app = app
        self.framed = framed
        self._headers = dict(HEADERS)
        if framed:
            policy = HEADERS["content-security-policy"]
            self._headers["content-security-policy"] = policy.partition("; frame-ancestors")[0]
        self.hosts = None if hosts is None else frozenset(hosts)
        self.token = token
        # Cookies know no ports: servers beside each other need different names.
        self.cookie = f"latent-atlas-{hashlib.sha256((token or '').encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        within = self._within(scope["path"]) if self.framed else None
        if within is not None:
            scope = {**scope, "path": within, "raw_path": within.encode()}
        api = scope["path"].startswith("/api/")

        began = False

        async def answer(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                more = self._headers | ({"cache-control": "no-store"} if api else {})
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in more.items()),
                ]
            await send(message)

        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        several = sum(name == b"host" for name, _ in scope["headers"]) > 1
        refusal = (400, "the request names two hosts; name one") if several else None
        refusal = refusal or self._refusal(headers, api=api)
        if refusal is not None:
            await _say(answer, *refusal)
            return
        if self.framed and within is None:
            await _say(answer, 401, "the address lacks its token; call show() again")
            return
        if self.token is not None and within is None and not self._holds_token(headers):
            await self._exchange(scope, answer)
            return
        try:
            await self.app(scope, receive, answer)
        except asyncio.CancelledError:  # the server ends, and this took too long to finish
            if not began:
                await _say(answer, 503, STOPPING)

    def _within(self, path: str) -> str | None:
        """The path behind the token; None if it is not there."""
        assert self.token is not None
        given, slash, rest = path.removeprefix("/").partition("/")
        right = secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode())
        return "/" + rest if right and slash else None

    def _refusal(self, headers: dict[str, str], *, api: bool) -> tuple[int, str] | None:
        """Status and sentence for a request that comes from elsewhere."""
        host = headers.get("host", "")
        name = _name(host)
        if not name or (self.hosts is not None and name not in self.hosts):
            return (
                421,
                "this server does not answer to that name; open the address that it printed",
            )
        foreign = api and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if foreign or headers.get("origin", f"://{host}").partition("://")[2] != host:
            return 403, "a page from elsewhere asked for this, and only the explorer's own page may"
        return None

    def _holds_token(self, headers: dict[str, str]) -> bool:
        """Whether the token is in the header or in the cookie."""
        assert self.token is not None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return secrets.compare_digest(
                given.strip().encode("latin-1", "replace"), self.token.encode()
            )
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(
            cookie.value.encode(), self.token.encode()
        )

    async def _exchange(self, scope: Scope, send: Send) -> None:
        """Turn the token of the address into a cookie, or answer that it is missing or wrong.

        The page then loads the next one by itself: after a redirect from another site, browsers
        would withhold a strict cookie.
        """
        assert self.token is not None
        looks = scope["method"] == "GET" and not scope["path"].startswith("/api/")
        query = parse_qsl(scope["query_string"].decode("latin-1")) if looks else []
        given = dict(query).get("token")
        if given is None or not secrets.compare_digest(
            given.encode("utf-8", "replace"), self.token.encode()
        ):
            wrong = "the token is wrong" if given is not None else "this server asks for a token"
            await _say(
                send, 401, f"{wrong}; open the whole address that `latent-atlas serve` has printed"
            )
            return
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        onwards = f"?{rest}" if rest else "."
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        refresh = f'<meta http-equiv="refresh" content="0; url={onwards}">'
        page = f"<!doctype html><title>Latent Atlas</title>{refresh}"
        await _answer(
            send, 200, page.encode(), "text/html; charset=utf-8", [(b"set-cookie", cookie.encode())]
        )


def _name(host: str) -> str:
    """The name in a Host header, without its port; empty where the header is no host."""
    found = HOST.fullmatch(host)
    return found[1].strip("[]").rstrip(".").lower() if found else ""


async def _say(send: Send, status: int, sentence: str) -> None:
    await _answer(send, status, json.dumps({"detail": sentence}).encode(), "application/json", [])


async def _answer(
    send: Send, status: int, body: bytes, kind: str, more: list[tuple[bytes, bytes]]
) -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
