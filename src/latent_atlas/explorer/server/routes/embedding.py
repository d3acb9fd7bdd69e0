"""The codes in two dimensions by PaCMAP, which keeps neighbours but has no inverse."""

import asyncio
import importlib.util

import numpy as np
from fastapi import APIRouter, Response
from jaxtyping import Float

from latent_atlas.errors import UserError
from latent_atlas.explorer.server.error_handlers import refusal, refused
from latent_atlas.explorer.server.limits import EMBEDDED
from latent_atlas.explorer.server.safetensors_response import ARRAYS, Arrays
from latent_atlas.explorer.server.state import Asking

__all__ = ["routes"]

routes = APIRouter()
MISSING = (
    "the layout of codes needs PaCMAP, which is missing here; pip install latent-atlas[embedding]"
)


@routes.get(
    "/embedding",
    responses=ARRAYS | refused({404: "PaCMAP is not installed."}),
    response_class=Arrays,
)
async def embedding(asking: Asking) -> Response:
    """The training codes that are shown, in a layout without an inverse: array xy (n, 2).

    It takes up to minutes the first time, and is the same every time.
    """
    if importlib.util.find_spec("pacmap") is None:
        return refusal(404, MISSING)
    codes = await asking.of(lambda known: known.parts["train"].means.cpu().numpy())
    layout = asking.explorer.once("embedding", lambda: laid_out(codes))
    return Arrays(
        {"xy": await asyncio.shield(asyncio.wrap_future(layout))}
    )  # others may wait for it as well


def laid_out(codes: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
    """The layout of codes.

    References:
        Understanding How Dimension Reduction Tools Work, Wang, Huang, Rudin and Shaposhnik 2021.

    Raises:
        UserError: the codes are too few, or too many for minutes.
    """
    fewest, most = EMBEDDED
    if not fewest <= len(codes) <= most:
        raise UserError(
            f"a layout is of {fewest} to {most:,} codes, and these are {len(codes):,}; look at a "
            "plane"
        )
    import pacmap  # pyright: ignore[reportMissingImports] - an extra, which takes seconds to import

    return pacmap.PaCMAP(n_components=2, random_state=0).fit_transform(codes, init="pca")
