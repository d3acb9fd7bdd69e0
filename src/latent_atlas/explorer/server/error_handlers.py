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

WORDS = {
    404: "there is nothing at this address",
    405: "this address takes other requests than that",
}


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
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return refusal(422, _sentence(error.errors()))

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
    async def elsewhere(_: Request, error: HTTPException) -> Response:
        return refusal(
            error.status_code,
            WORDS.get(error.status_code, str(error.detail)),
            **(error.headers or {}),
        )

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:  # which the server prints
        return refusal(
            500, "this is a fault of the server; what it printed belongs into a bug report"
        )


def _sentence(errors: Sequence[Any]) -> str:
    """The first thing that is wrong with a request, and how many more there are."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{place[:200]}: {first['msg'][:300]}{more}"
