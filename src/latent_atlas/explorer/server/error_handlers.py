"""Every error as one sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from latent_atlas.errors import UserError
from latent_atlas.explorer.server.security import STOPPING
from latent_atlas.explorer.server.worker import Busy, Gone, Stopping, Unfinished

__all__ = ["add_refusals", "refusal", "refused"]

NAMED = 5  # wrong fields of a request that a sentence names
PLAIN = (bool, int, float, str, type(None))
OTHER = "send what the documentation at /docs says"
EXPECTED = {
    "greater_than_equal": "send {ge} or more",
    "greater_than": "send more than {gt}",
    "less_than_equal": "send {le} or less",
    "less_than": "send less than {lt}",
    "too_short": "send {min_length} or more",
    "too_long": "send {max_length} or fewer",
    "string_too_short": "send {min_length} characters or more",
    "string_too_long": "send {max_length} characters or fewer",
    "finite_number": "send a finite number",
    "int": "send a whole number",
    "float": "send a number",
    "bool": "send true or false",
    "string": "send text",
    "list": "send a list",
    "dict": "send an object",
    "model": "send an object",
    "literal_error": "send {expected}",
}
"""What to send, by the beginning of the type of pydantic's error."""


def refused(why: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """The documentation of refusals by status: JSON with a sentence, at every address."""
    schema = {
        "type": "object",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
    }
    content = {"application/json": {"schema": schema}}
    return {status: {"description": words, "content": content} for status, words in why.items()}


def refusal(status: int, sentence: str, **headers: str) -> Response:
    """The answer that says why there is none."""
    return JSONResponse({"detail": sentence}, status, headers)


def add_refusals(app: FastAPI) -> None:
    """Answer every error with a status and a sentence."""

    @app.exception_handler(UserError)
    async def mistaken(_: Request, error: UserError) -> Response:
        return refusal(409 if isinstance(error, Unfinished) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refusal(422, _sentence(error.errors(), request.headers.get("content-type", "")))

    @app.exception_handler(Busy)
    async def busy(_: Request, __: Busy) -> Response:
        return refusal(
            503, "too many requests are waiting; ask again in a second", **{"retry-after": "1"}
        )

    @app.exception_handler(Stopping)
    async def stopping(_: Request, __: Stopping) -> Response:
        return refusal(503, STOPPING)

    @app.exception_handler(Gone)
    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # the client is gone

    @app.exception_handler(HTTPException)
    async def elsewhere(request: Request, error: HTTPException) -> Response:
        if error.status_code in (404, 405):
            return _of_address(app, request.url.path)
        return refusal(error.status_code, str(error.detail), **(error.headers or {}))

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:  # which the server prints
        return refusal(
            500, "this is a fault of the server; what it printed belongs into a bug report"
        )


def _of_address(app: FastAPI, path: str) -> Response:
    """The answer at an address that there is not, or that takes other requests.

    The page's files take any address, but GET alone, so its 405 may mean either.
    """
    others = {"/": ("get",), app.openapi_url: ("get",)}
    methods = app.openapi()["paths"].get(path, others.get(path))
    if methods is None:
        return refusal(404, "there is nothing at this address")
    allowed = ", ".join(sorted(methods)).upper()
    return refusal(405, f"this address takes {allowed} and no other requests", allow=allowed)


def _sentence(errors: Sequence[Any], content_type: str) -> str:
    """What is wrong with a request: the first thing in words, the others by their places."""
    first, *others = errors
    kind = first["type"]
    if kind == "json_invalid":
        reason = str(first.get("ctx", {}).get("error", "it ends too early")).removesuffix(" at")
        return f"the request is no JSON: {reason}, at character {first['loc'][-1]}"
    if kind in ("model_attributes_type", "missing") and len(first["loc"]) == 1:
        seen = content_type.partition(";")[0][:80] or "none"
        return (
            "the request must be a JSON object, sent with the header content-type: "
            f"application/json; its content-type is {seen}"
        )
    named = list(dict.fromkeys(map(_place, others)))
    more = f"; also wrong: {', '.join(named[:NAMED])}" if named else ""
    left = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{_place(first)} {_wrong(first)}{more}{left}"


def _wrong(error: Any) -> str:
    """What is wrong with a field, and what to send."""
    kind, bounds = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing; send it"
    if kind == "extra_forbidden":
        return "is no field of this request; leave it out"
    words = next((words for start, words in EXPECTED.items() if kind.startswith(start)), OTHER)
    seen = f"is {error['input']!r}"[:80] if isinstance(error.get("input"), PLAIN) else "is refused"
    return f"{seen}; {words.format(**bounds)}"


def _place(error: Any) -> str:
    """The field of a request that an error is about."""
    return ".".join(str(part) for part in error["loc"][1:])[:200] or "the request"
