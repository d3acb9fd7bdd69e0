"""make_app: the explorer's server, assembled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from latent_atlas import __version__
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.explorer.server import metadata
from latent_atlas.explorer.server.error_handlers import add_refusals, refused
from latent_atlas.explorer.server.limits import LIMITS, Limits
from latent_atlas.explorer.server.routes import (
    codes,
    embedding,
    export,
    images,
    paths,
    planes,
    training,
)
from latent_atlas.explorer.server.security import Guard, hosts_for
from latent_atlas.explorer.server.state import Explorer
from latent_atlas.explorer.server.static_files import serve_page

__all__ = ["make_app"]

SUBJECTS = (metadata, planes, codes, images, paths, export, embedding, training)
REFUSED = {
    400: "The request asks for something that cannot be; the sentence says what.",
    401: "The token is missing or wrong.",
    403: "A page from elsewhere asked.",
    409: "The run is still training.",
    413: "The body is too large.",
    422: "The request has another form than is documented.",
    503: "Too many requests are waiting; the header Retry-After says when to come back.",
}


def make_app(
    atlas: Atlas | None = None,
    *,
    run: Path | None = None,
    token: str | None = None,
    address: str = "127.0.0.1",
    device: str = "auto",
    demo: bool = False,
    limits: Limits = LIMITS,
) -> FastAPI:
    """A server for one atlas: the page at /, and under /api what it asks.

    Arguments:
        atlas: What to explore; or None, for the atlas that the run will be.
        run: The run folder, whose progress is told; it may still be training.
        token: What every request has to bring, as `Authorization: Bearer` or as the cookie that `/?token=` gives.
        address: Where the server is bound; requests that call it by another name are refused.
        device: Where the run's atlas is to compute.
        demo: Whether the atlas is a synthetic one.
        limits: What one request may ask for.
    """
    explorer = Explorer(atlas, run, device=device, demo=demo, limits=limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        explorer.close()

    app = FastAPI(
        title="Latent Atlas",
        summary="A map of a learned latent space, and the routes through it.",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load their scripts from elsewhere, which the page's policy forbids
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.explorer = explorer
    api = APIRouter(prefix="/api", responses=refused(REFUSED))
    for subject in SUBJECTS:
        api.include_router(subject.routes)
    app.include_router(api)
    add_refusals(app)
    serve_page(app)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=limits.bytes)
    app.add_middleware(Guard, hosts=hosts_for(address), token=token, most=limits.bytes)
    return app
