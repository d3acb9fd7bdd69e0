"""A run while it trains: its losses, and the newest picture of what it makes of images."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from latent_atlas.errors import UserError
from latent_atlas.web.explorer import Asking
from latent_atlas.web.refusals import refusal
from latent_atlas.web.sketch import newest, sketch
from latent_atlas.web.wire import PNG, finite

__all__ = ["routes"]

routes = APIRouter()


class Progress(BaseModel):
    """How far a run is."""

    training: bool = Field(description="Whether the run has not finished.")
    records: list[dict[str, Any]] = Field(description="Of the log, from the one asked for: phase, step, and losses.")
    total: int = Field(description="Records that there are.")
    picture: int | None = Field(description="Number of the newest picture, which grows; null where there is none.")


@routes.get("/progress")
async def progress(asking: Asking, since: Annotated[int, Query(ge=0, le=2**40)] = 0) -> Progress:
    """The losses so far, and which picture is the newest; nothing where what is explored is no run."""
    run = asking.explorer.run
    records, picture = ([], None) if run is None else await asyncio.to_thread(lambda: (run.records(), newest(run)))
    return Progress(
        training=asking.explorer.training, records=finite(records[since:]), total=len(records), picture=picture
    )


@routes.get("/progress/picture", responses=PNG, response_class=Response)
async def picture(asking: Asking) -> Response:
    """The newest picture: held-out images, what becomes of them, and images of draws from the prior."""
    run = asking.explorer.run
    if run is None or newest(run) is None:
        return refusal(404, "there is no picture yet; the run's first checkpoint will give one")
    try:
        return Response(await asking.do(lambda: sketch(run)), media_type="image/png")
    except RuntimeError as error:  # torch's, of weights that do not fit
        raise UserError("the run's checkpoint is of another version; train the run again") from error
