"""A run while it trains: its losses, the newest picture of what it makes of images, and its map as it grows."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from latent_atlas.errors import UserError
from latent_atlas.explorer.server.error_handlers import refusal, refused
from latent_atlas.explorer.server.safetensors_response import ARRAYS, PNG, Arrays, finite
from latent_atlas.explorer.server.state import Asked, Asking
from latent_atlas.explorer.server.training_map import grown, growth
from latent_atlas.explorer.server.training_preview import newest, sketch

__all__ = ["routes"]

T = TypeVar("T")
routes = APIRouter()
YET = "yet; the run's first checkpoint will give one"


class Progress(BaseModel):
    """How far a run is."""

    training: bool = Field(description="Whether the run has not finished.")
    records: list[dict[str, Any]] = Field(
        description="Of the log, from the one asked for: phase, step, and losses."
    )
    total: int = Field(description="Records that there are.")
    picture: int | None = Field(
        description="Number of the newest picture, which grows; null where there is none."
    )
    map: int | None = Field(description="Number of the newest map, likewise.")


@routes.get("/progress")
async def progress(asking: Asking, since: Annotated[int, Query(ge=0, le=2**40)] = 0) -> Progress:
    """The losses so far, and which picture and map are the newest; nothing where what is explored is no run."""
    run = asking.explorer.run

    def read() -> tuple[list[dict[str, Any]], int | None, int | None]:
        return ([], None, None) if run is None else (run.records(), newest(run), grown(run))

    records, picture, map = await asyncio.to_thread(read)
    return Progress(
        training=asking.explorer.training,
        records=finite(records[since:]),
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
    """The newest picture: held-out images, what becomes of them, and images of draws from the prior."""
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
    """The map as far as it has grown, on the plane in which the codes of held-out examples vary most.

    Arrays xy (n, 2), where these are, labels (n), their class numbers, if there are any; log_prob, realness and
    confusion as of a plane, if there is a D_z by now; origin (d) and axes (2, d). Facts: step of the networks, null
    once they have learned; window, edge, and classes, their names.
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
    except (
        RuntimeError,
        KeyError,
    ) as error:  # torch's, of weights that do not fit, or are not there
        raise UserError(
            "the run's checkpoint is of another version; train the run again"
        ) from error
