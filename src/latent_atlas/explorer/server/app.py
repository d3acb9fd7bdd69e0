"""make_app: the explorer's server, assembled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI

from latent_atlas import __version__
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.explorer.server import metadata
from latent_atlas.explorer.server.bodies import Bodies
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
    400: "The request asks for something impossible; the sentence says what.",
    401: "The token is missing or wrong.",
    403: "A page of another origin asked.",
    408: "The body took too long to arrive.",
    409: "The run is still training.",
    413: "The body is too large.",
    422: "The request does not have the documented form.",
    503: "Too many requests are waiting, and the header Retry-After says when to come back; or the "
    "server is stopping.",
}


def make_app(
    atlas: Atlas | None = None,
    *,
    run: Path | None = None,
    token: str | None = None,
    address: str = "127.0.0.1",
    device: str = "auto",
    demo: bool = False,
    framed: bool = False,
    limits: Limits = LIMITS,
) -> FastAPI:
    """A server for one atlas: the page at /, and its requests under /api.

    Arguments:
        atlas: The atlas; None for that of a run that may still be training.
        run: The run folder, whose progress is shown; it may still be training.
        token: Required of every request, as `Authorization: Bearer` or as the cookie that
            `/?token=` sets.
        address: Where the server is bound; requests to another host name are refused.
        device: The device of the run's atlas.
        demo: Whether the atlas is a synthetic one.
        framed: Whether pages from elsewhere may show it in a frame, where cookies may not exist:
            the token is then the first part of every path.
        limits: Bounds of one request.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        explorer.close()

    app = FastAPI(
        title="Latent Atlas",
        summary="A map of a learned latent space, and the routes through it.",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads scripts from another host, which the policy forbids
        redoc_url=None,
        lifespan=lifespan,
    )
    api = APIRouter(prefix="/api", responses=refused(REFUSED))
    for subject in SUBJECTS:
        api.include_router(subject.routes)
    app.include_router(api)
    add_refusals(app)
    serve_page(app)
    app.openapi()  # builds the routes, which the first request would do otherwise
    # Last: its thread and FastAPI's own code would change the same filters of warnings.
    explorer = Explorer(atlas, run, device=device, demo=demo, limits=limits)
    app.state.explorer = explorer
    app.add_middleware(Bodies, explorer=explorer)
    app.add_middleware(Guard, hosts=hosts_for(address), token=token, framed=framed)
    return app
