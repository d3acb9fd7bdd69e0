"""Images to codes and back: encode a photo, decode codes, say whether they look real, sample."""

import warnings
from typing import Any

import torch
from fastapi import APIRouter
from torch import Tensor

from latent_atlas.atlas.collection import thumbnails
from latent_atlas.data.decode import Square
from latent_atlas.data.load import square_of
from latent_atlas.errors import UserError
from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.server import schemas
from latent_atlas.explorer.server.limits import FEW
from latent_atlas.explorer.server.planner_options import OFFERED_SAMPLERS
from latent_atlas.explorer.server.safetensors_response import ARRAYS, Arrays, pixels
from latent_atlas.explorer.server.schemas import tensor
from latent_atlas.explorer.server.state import Asking
from latent_atlas.explorer.server.uploads import FORMATS
from latent_atlas.shapes import Images, to_float

__all__ = ["decoded", "routes"]

routes = APIRouter()

IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"An image file, recognised by its content: {', '.join(FORMATS)}.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@routes.post("/encode", responses=ARRAYS, response_class=Arrays, openapi_extra=IMAGE_BODY)
async def encode(asking: Asking) -> Arrays:
    """An image file to its code.

    Arrays code (d), image (h, w, c) as the model sees it and its reconstruction, in bytes; of a
    collection its thumbnail, and without a decoder the nearest image. Facts: shown_by,
    reconstruction or nearest; anomaly, the anomaly scores of the image, or null where there are
    none; warning, the reason; about, how to read them; and off_manifold, whether the code is below
    the density threshold.
    """
    explorer = asking.explorer
    explorer.slow.admit()  # before a body is taken in that would only wait
    with explorer.uploads.place():
        content = await asking.request.body()
        square = await asking.of(_square)
        image = await explorer.uploads.work(
            lambda: explorer.decoder.decode(content, square, explorer.limits), asking.request
        )
    return await asking.of(lambda known: _encoded(known, image), slow=True)


@routes.post("/decode", responses=ARRAYS, response_class=Arrays)
async def decode(body: schemas.Decode, asking: Asking) -> Arrays:
    """Codes to images.

    Arrays images (n, h, w, c) in bytes, log_prob (n) in nats, off_manifold (n), 1 or 0, and
    typicality (n), the share of held-out codes that are less likely.
    """
    return await asking.of(
        lambda known: Arrays(_with_typicality(known, tensor(body.codes, known.atlas))),
        slow=len(body.codes) > FEW,
    )


@routes.post("/membership", responses=ARRAYS, response_class=Arrays)
async def membership(body: schemas.Membership, asking: Asking) -> Arrays:
    """How much codes look like real ones.

    Arrays p_value (n), the share of held-out real codes that look less real, below 0.05 for 5 % of
    these; and parts (n, k), for each statistic the share of real codes at least as far out. Facts:
    names of the statistics. There are none where real codes are few or the map is no density.
    """
    return await asking.of(lambda known: _compared(known, body), slow=True)


@routes.post("/sample", responses=ARRAYS, response_class=Arrays)
async def sample(body: schemas.Sample, asking: Asking) -> Arrays:
    """Samples from the map.

    Arrays points (n, d), images (n, h, w, c) in bytes, log_prob (n) and off_manifold (n). Facts:
    info, the sampler's diagnostics, and warnings.
    """
    return await asking.of(lambda known: _sampled(known, body), slow=True)


def decoded(known: Known, latents: Tensor) -> dict[str, Tensor]:
    """Images of codes, if there is a decoder; log q and off_manifold, if there is a density."""
    arrays: dict[str, Tensor] = {}
    if known.atlas.shown_shape is not None:
        arrays["images"] = pixels(known.atlas.decode(latents))
    if known.has_log_prob:
        with torch.no_grad():
            arrays["log_prob"] = known.atlas.map.log_prob(latents)
        arrays["off_manifold"] = known.off_manifold(arrays["log_prob"])
    return arrays


def _with_typicality(known: Known, latents: Tensor) -> dict[str, Tensor]:
    arrays = decoded(known, latents)
    if "log_prob" in arrays:
        arrays["typicality"] = known.atlas.map.rank(arrays["log_prob"])
    return arrays


def _compared(known: Known, body: schemas.Membership) -> Arrays:
    latents, found = tensor(body.codes, known.atlas), known.atlas.membership
    if found is None:
        return Arrays({}, {"names": []})
    p_value, parts = found.compared(latents)
    columns = torch.stack([*parts.values()], dim=1)
    return Arrays({"p_value": p_value, "parts": columns}, {"names": found.names})


def _square(known: Known) -> Square:
    """What the model takes, or the embedder of the collection."""
    config = known.atlas.config
    if known.atlas.collection is not None:
        return square_of(config.data, config.model.image_size, config.model.channels)
    channels, side, _ = known.atlas.image_shape
    return square_of(config.data, side, channels)


def _encoded(known: Known, uploaded: Images) -> Arrays:
    atlas = known.atlas
    image = place = uploaded.to(atlas.device)
    code = atlas.encode(image)
    if atlas.collection is not None:
        bytes_of = (255 * uploaded).round().to(torch.uint8)
        place, image = code, to_float(thumbnails(bytes_of, atlas.collection.image_shape[-1]))
    facts: dict[str, Any] = {"anomaly": None, "about": None, "off_manifold": None, "warning": None}
    facts["shown_by"] = "reconstruction" if atlas.model is not None else "nearest"
    try:
        table = atlas.anomaly(place, names=("image",))
        facts |= {"anomaly": table.rows()[0], "about": table.about()}
    except UserError as error:  # there is nothing to calibrate with
        facts["warning"] = str(error)
    shown = decoded(known, code)
    if "off_manifold" in shown:
        facts["off_manifold"] = bool(shown["off_manifold"][0])
    arrays = {"code": code[0], "image": pixels(image)[0], "reconstruction": shown["images"][0]}
    return Arrays(arrays, facts)


def _sampled(known: Known, body: schemas.Sample) -> Arrays:
    if body.sampler not in OFFERED_SAMPLERS:
        raise UserError(f"no sampler '{body.sampler}' here; choose {', '.join(OFFERED_SAMPLERS)}")
    if body.width is not None and body.near is None:
        raise UserError("width is a distance from a code; give the code as near")
    atlas = known.atlas
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are in the samples' warnings
        draws = atlas.sample_codes(
            body.n,
            body.sampler,
            temperature=body.temperature,
            near=None if body.near is None else tensor([body.near], atlas)[0],
            width=body.width,
            where=body.conditions(),
            generator=torch.Generator(atlas.device).manual_seed(body.seed),
        )
    return Arrays(
        {"points": draws.points, **decoded(known, draws.points)},
        {"info": draws.info.known(), "warnings": draws.warnings},
    )
