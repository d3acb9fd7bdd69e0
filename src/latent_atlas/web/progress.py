"""A run while it trains: its losses, and the newest picture of what it draws."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from latent_atlas.web.explorer import Asking
from latent_atlas.web.refusals import refusal
from latent_atlas.web.wire import finite

__all__ = ["routes"]

routes = APIRouter()


class Progress(BaseModel):
    """How far a run is."""

    training: bool
    records: list[dict[str, Any]] = Field(description="Of the log: each with a phase, a step, and losses by name.")
    total: int = Field(description="Records that there are.")
    picture: int | None = Field(description="Number of the newest picture, which grows; null where there is none.")


@routes.get("/progress")
async def progress(asking: Asking, since: int = 0) -> Progress:
    """The losses so far, and which picture is the newest."""
    explorer = asking.explorer
    records = [] if explorer.run is None else await asking.do(explorer.run.records)
    return Progress(
        training=explorer.training, records=finite(records[max(since, 0) :]), total=len(records), picture=None
    )


@routes.get("/progress/picture", response_class=Response)
async def picture(asking: Asking) -> Response:
    """The newest sheet of what the run draws."""
    return refusal(404, "there is no picture yet")
