"""The real codes: their values, thumbnails, nearest neighbours and lists."""

import asyncio
import io
import math
from typing import Annotated

from fastapi import APIRouter, Query, Response
from PIL import Image
from torch import Tensor

from latent_atlas.atlas.overview import comparison_of
from latent_atlas.atlas.overview import overview as known_images
from latent_atlas.display import grid, tile
from latent_atlas.errors import UserError
from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.facts import arrays_and_facts
from latent_atlas.explorer.server import schemas
from latent_atlas.explorer.server.limits import FEW, LIMITS
from latent_atlas.explorer.server.safetensors_response import ARRAYS, PNG, Arrays
from latent_atlas.explorer.server.schemas import tensor
from latent_atlas.explorer.server.state import Asking
from latent_atlas.shapes import Labels

__all__ = ["routes"]

routes = APIRouter()
ALL = "means,labels,log_prob,typicality"
FIELDS = f"^({ALL.replace(',', '|')})(,({ALL.replace(',', '|')}))*$"


@routes.get("/codes", responses=ARRAYS, response_class=Arrays)
async def codes(
    asking: Asking,
    part: schemas.Part = "train",
    offset: Annotated[int, Query(ge=0, le=2**40)] = 0,
    count: Annotated[int, Query(ge=1, le=LIMITS.rows)] = 10_000,
    fields: Annotated[
        str, Query(pattern=FIELDS, max_length=80, description="Which arrays, between commas.")
    ] = ALL,
) -> Arrays:
    """Real codes.

    Arrays means (n, d); labels (n), -1 where there is none; and, where the map is a density,
    log_prob (n) in nats and typicality (n), in half precision. Facts: total, the number of all
    codes.
    """
    wanted = fields.split(",")

    def work(known: Known) -> Arrays:
        some = known.parts[part]
        rows = slice(min(offset, some.total), min(offset + count, some.total))
        arrays = {"means": some.codes(rows), "labels": _short(some.labels(rows))}
        if known.has_log_prob and ("log_prob" in wanted or "typicality" in wanted):
            arrays["log_prob"], typicality = some.densities(rows)
            arrays["typicality"] = typicality.half()
        return Arrays(
            {name: arrays[name] for name in wanted if name in arrays}, {"total": some.total}
        )

    return await asking.of(work)


@routes.get("/thumbnails", responses=PNG, response_class=Response)
async def thumbnails(
    asking: Asking,
    indices: Annotated[
        str, Query(max_length=4_000, description="Numbers of codes, between commas: 256 at most.")
    ],
    part: schemas.Part = "train",
    size: Annotated[int, Query(ge=4, le=256, description="Width of each in pixels.")] = 32,
) -> Response:
    """Images of real codes as one picture: row by row in ceil(sqrt(n)) columns, without gaps.

    They are decoded, or of a collection its thumbnails.
    """

    def work(known: Known) -> Response:
        some = known.parts[part]
        numbers = _numbers(indices, some.total)
        images = known.atlas.pictures(some.codes(numbers)).cpu().numpy()
        columns = math.isqrt(len(numbers) - 1) + 1
        file = io.BytesIO()
        Image.fromarray(grid(tile(images, size), columns, 0)).save(file, "PNG", compress_level=1)
        return Response(file.getvalue(), media_type="image/png")

    return await asking.of(work, slow=indices.count(",") >= FEW)


@routes.post("/neighbours", responses=ARRAYS, response_class=Arrays)
async def neighbours(body: schemas.Neighbours, asking: Asking) -> Arrays:
    """The nearest real codes: arrays indices (n, k) and distances (n, k), the nearest first."""

    def work(known: Known) -> Arrays:
        known.check()
        z = tensor(body.codes, known.atlas)
        found = known.atlas.neighbours(z, body.k, part=body.part)
        numbers = known.parts[body.part].numbers(found.rows)
        return Arrays({"indices": numbers, "distances": found.distances})

    return await asking.of(work, slow=len(body.codes) > FEW)


@routes.get("/overview", responses=ARRAYS, response_class=Arrays)
async def overview(asking: Asking) -> Arrays:
    """Images in lists: the rarest and the most typical, duplicates, and the last comparison.

    It takes up to minutes the first time. Arrays codes (n, d) and, where images are shown, images
    (n, h, w, c) in bytes, list after list. Facts: sections, each with its title, sentences and
    lists; of each list the title, names, values, and own, false for images of another set; and
    shown_by, reconstruction or nearest, how such an image is shown beside itself.
    """
    atlas = await asking.of(lambda known: known.atlas)
    lists = asking.explorer.once("overview", lambda: known_images(atlas))
    sections = await asyncio.shield(asyncio.wrap_future(lists))  # others may wait for it as well
    run = asking.explorer.run
    sections = [*sections, *comparison_of(None if run is None else run.path)]
    return Arrays(*arrays_and_facts(atlas, sections))


def _short(labels: Labels) -> Tensor:
    """Class numbers in 16 bits, where they fit."""
    return labels.short() if len(labels) and int(labels.max()) < 2**15 else labels


def _numbers(words: str, total: int) -> list[int]:
    """The numbers written between commas.

    Raises:
        UserError: they are none, too many, or not there.
    """
    parts = words.split(",")
    if len(parts) > LIMITS.thumbnails:
        raise UserError(
            f"{len(parts)} thumbnails were asked for; ask for {LIMITS.thumbnails} at a time"
        )
    numbers = [
        int(part) for part in parts if part.isascii() and part.isdecimal() and int(part) < total
    ]
    if len(numbers) < len(parts):
        raise UserError(f"indices are numbers from 0 to {total - 1} between commas, such as 0,5,2")
    return numbers
