"""Paths as files: films, film strips, or numbers."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fastapi import APIRouter, Response
from torch import Tensor

from latent_atlas.explorer.cache import Known
from latent_atlas.explorer.server import schemas
from latent_atlas.explorer.server.schemas import tensor
from latent_atlas.explorer.server.state import Asking
from latent_atlas.report.plots.animation import animation, save_animation
from latent_atlas.report.plots.film_strip import Strip, strips_picture
from latent_atlas.report.plots.style import png
from latent_atlas.runs import json_safe

__all__ = ["routes"]

routes = APIRouter()

KINDS = {
    "gif": "image/gif",
    "mp4": "video/mp4",
    "png": "image/png",
    "npz": "application/zip",
    "json": "application/json",
}
FILE = {200: {"description": "The file.", "content": {kind: {} for kind in KINDS.values()}}}
"""How the answer is documented."""


@routes.post("/export", responses={**FILE}, response_class=Response)
async def export(body: schemas.Export, asking: Asking) -> Response:
    """A path as a file: a film .gif or .mp4, a film strip .png, or numbers .npz or .json.

    The .npz has the arrays points (f, d), images (f, c, h, w) in [0, 1] and log_prob (f); the .json
    has points and log_prob.
    """

    @torch.no_grad()
    def work(known: Known) -> Response:
        content = WRITERS[body.format](known, tensor(body.points, known.atlas), body)
        named = f'attachment; filename="path.{body.format}"'
        return Response(
            content, media_type=KINDS[body.format], headers={"content-disposition": named}
        )

    return await asking.of(work, slow=True)


def _film(known: Known, points: Tensor, body: schemas.Export) -> bytes:
    """A film of the frames; its encoder needs a file to write to."""
    images = known.atlas.decode(points).cpu().numpy()
    moving = animation(images, fps=len(points) / body.seconds, bounce=body.bounce)
    with tempfile.TemporaryDirectory() as folder:
        return save_animation(moving, Path(folder) / f"film.{body.format}").read_bytes()


def _strip(known: Known, points: Tensor, body: schemas.Export) -> bytes:
    log_prob = known.atlas.map.log_prob(points).cpu().numpy()
    assert known.threshold is not None  # there is a density
    images = known.atlas.decode(points).cpu().numpy()
    return png(
        strips_picture(
            [Strip(body.name, images, log_prob, log_prob < known.threshold)], known.threshold
        )
    )


def _arrays(known: Known, points: Tensor) -> dict[str, np.ndarray]:
    """Codes, and log-densities and images as far as there are any."""
    arrays = {"points": points.unflatten(1, known.atlas.map.shape)}
    arrays |= {"log_prob": known.atlas.map.log_prob(points)} if known.has_log_prob else {}
    arrays |= {"images": known.atlas.decode(points)} if known.atlas.shown_shape is not None else {}
    return {name: array.cpu().numpy() for name, array in arrays.items()}


def _numbers(known: Known, points: Tensor, body: schemas.Export) -> bytes:
    del body
    with tempfile.TemporaryFile() as file:
        np.savez(file, **_arrays(known, points))  # pyright: ignore[reportArgumentType]
        file.seek(0)
        return file.read()


def _text(known: Known, points: Tensor, body: schemas.Export) -> bytes:
    del body
    arrays = {
        name: array.tolist() for name, array in _arrays(known, points).items() if name != "images"
    }
    return json.dumps(json_safe(arrays), indent=2).encode()


WRITERS: dict[str, Callable[[Known, Tensor, schemas.Export], bytes]] = {
    "gif": _film,
    "mp4": _film,
    "png": _strip,
    "npz": _numbers,
    "json": _text,
}
