"""Images to codes and back: a dropped photo, places of the map decoded, and new draws."""

import warnings
from typing import Any

import torch
from fastapi import APIRouter
from torch import Tensor

from latent_atlas.data.decode import open_image
from latent_atlas.errors import UserError
from latent_atlas.explorer.server import schemas
from latent_atlas.explorer.server.cache import Known
from latent_atlas.explorer.server.safetensors_response import ARRAYS, Arrays, pixels
from latent_atlas.explorer.server.schemas import tensor
from latent_atlas.explorer.server.state import Asking
from latent_atlas.sampling.registry import SAMPLERS

__all__ = ["EXPLORED", "decoded", "routes"]

routes = APIRouter()
EXPLORED = ("auto", *(name for name in SAMPLERS if name not in ("mixture", "flow")))
"""Samplers offered: those that need not be fitted first, which takes minutes."""

IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An image file of any usual format, which is told by its content.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@routes.post("/encode", responses=ARRAYS, response_class=Arrays, openapi_extra=IMAGE_BODY)
async def encode(asking: Asking) -> Arrays:
    """An image file to its code.

    Arrays code (d), image and reconstruction (h, w, c) in bytes: what the model sees, and what it
    makes of it. Facts: score, how odd the image is and why, or null where that is not known; note,
    why not; about, how to read it; and outside, whether the code is outside the population.
    """
    asking.explorer.queue.admit()  # before a body is taken in that would only wait
    content = await asking.request.body()
    return await asking.of(lambda known: _encoded(known, content))


@routes.post("/decode", responses=ARRAYS, response_class=Arrays)
async def decode(body: schemas.Decode, asking: Asking) -> Arrays:
    """Codes to images: arrays images (n, h, w, c) in bytes, log_prob (n) in nats, outside (n), 1 or 0, and typicality
    (n), the share of held-out codes that are less likely.
    """
    return await asking.of(lambda known: Arrays(_judged(known, tensor(body.codes, known.atlas))))


@routes.post("/sample", responses=ARRAYS, response_class=Arrays)
async def sample(body: schemas.Sample, asking: Asking) -> Arrays:
    """New codes from where the population is: arrays points (n, d), images (n, h, w, c) in bytes, log_prob (n) and
    outside (n). Facts: info, what the sampler says of its work, and notes.
    """
    return await asking.of(lambda known: _sampled(known, body))


def decoded(known: Known, latents: Tensor) -> dict[str, Tensor]:
    """Images of codes, if there is a decoder, and whether they are in the population, if there is a density."""
    arrays: dict[str, Tensor] = {}
    if known.atlas.model is not None:
        arrays["images"] = pixels(known.atlas.decode(latents))
    if known.has_log_prob:
        with torch.no_grad():
            arrays["log_prob"] = known.atlas.map.log_prob(latents)
        arrays["outside"] = known.outside(arrays["log_prob"])
    return arrays


def _judged(known: Known, latents: Tensor) -> dict[str, Tensor]:
    arrays = decoded(known, latents)
    if "log_prob" in arrays:
        arrays["typicality"] = known.atlas.map.rank(arrays["log_prob"])
    return arrays


def _encoded(known: Known, content: bytes) -> Arrays:
    atlas = known.atlas
    channels, side, _ = atlas.image_shape
    image = open_image(content, side, channels, atlas.config.data.fit).to(atlas.device)
    code = atlas.encode(image)
    facts: dict[str, Any] = {"score": None, "about": None, "note": None, "outside": None}
    try:
        table = atlas.anomaly(image, names=("image",))
        facts |= {"score": table.rows()[0], "about": table.about()}
    except UserError as reason:
        facts["note"] = str(reason)
    shown = decoded(known, code)
    if "outside" in shown:
        facts["outside"] = bool(shown["outside"][0])
    arrays = {"code": code[0], "image": pixels(image)[0], "reconstruction": shown["images"][0]}
    return Arrays(arrays, facts)


def _sampled(known: Known, body: schemas.Sample) -> Arrays:
    if body.sampler not in EXPLORED:
        raise UserError(f"no sampler '{body.sampler}' here; choose {', '.join(EXPLORED)}")
    if body.width is not None and body.near is None:
        raise UserError("the width says how near to draw; give a code to draw near to")
    atlas = known.atlas
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the response has the samples' warnings
        draws = atlas.sample_codes(
            body.n,
            body.sampler,
            temperature=body.temperature,
            near=None if body.near is None else tensor([body.near], atlas)[0],
            width=body.width,
            where=body.wishes(),
            generator=torch.Generator(atlas.device).manual_seed(body.seed),
        )
    return Arrays(
        {"points": draws.points, **decoded(known, draws.points)},
        {"info": draws.info.known(), "notes": draws.warnings},
    )
