"""A run while it trains: its losses, its newest reconstructions, and its map so far."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from latent_atlas.errors import UserError
from latent_atlas.explorer.server.error_handlers import refusal, refused
from latent_atlas.explorer.server.safetensors_response import ARRAYS, PNG, Arrays
from latent_atlas.explorer.server.state import Asked, Asking
from latent_atlas.explorer.server.training_map import grown, growth
from latent_atlas.explorer.server.training_preview import newest, sketch
from latent_atlas.runs import json_safe

__all__ = ["routes"]

T = TypeVar("T")
routes = APIRouter()
YET = "yet; the run's first checkpoint will give one"


class Progress(BaseModel):
    """The progress of a run."""

    training: bool = Field(description="Whether the run has not finished.")
    records: list[dict[str, Any]] = Field(
        description="Records of the log from number `since` on: phase, step, and losses."
    )
    total: int = Field(description="Number of all records.")
    picture: int | None = Field(
        description="Number of the newest picture, which grows; null where there is none."
    )
    map: int | None = Field(description="Number of the newest map, likewise.")


@routes.get("/progress")
async def progress(asking: Asking, since: Annotated[int, Query(ge=0, le=2**40)] = 0) -> Progress:
    """The losses so far, and the numbers of the newest picture and map; empty without a run."""
    run = asking.explorer.run

    def read() -> tuple[list[dict[str, Any]], int | None, int | None]:
        return ([], None, None) if run is None else (run.records(), newest(run), grown(run))

    records, picture, map = await asyncio.to_thread(read)
    return Progress(
        training=asking.explorer.training,
        records=json_safe(records[since:]),
        total=len(records),
        picture=picture,
        map=map,
    )


@routes.get(
    "/progress/picture",
    responses=PNG | refused({404: "There is no picture yet."}),
    response_class=Response,
)
async def picture(asking: Asking) -> Response:
    """The newest picture: held-out images, their reconstructions, and prior samples."""
    run = asking.explorer.run
    if run is None or newest(run) is None:
        return refusal(404, f"there is no picture {YET}")
    return Response(await _of_files(asking, lambda: sketch(run)), media_type="image/png")


@routes.get(
    "/progress/map",
    responses=ARRAYS | refused({404: "There is no map yet."}),
    response_class=Arrays,
)
async def map_so_far(asking: Asking) -> Response:
    """The map so far, on the plane in which the codes of held-out examples vary most.

    Arrays xy (n, 2) of these codes; labels (n), if there are any; log_prob, realness and confusion
    as of a plane, if D_z has been trained already; origin (d) and axes (2, d). Facts: step of the
    networks, null once their training is over; window, threshold, and classes, the names of labels.
    """
    run = asking.explorer.run
    if run is None or grown(run) is None:
        return refusal(404, f"there is no map {YET}")
    return await _of_files(asking, lambda: growth(run))


async def _of_files(asking: Asked, work: Callable[[], T]) -> T:
    """What the work makes of a run's files, in its turn.

    Raises:
        UserError: they are of another version.
    """
    try:
        return await asking.do(work)
    except (RuntimeError, KeyError) as error:  # torch's, for weights that do not fit or are missing
        raise UserError(
            "the run's checkpoint is of another version; train the run again"
        ) from error
