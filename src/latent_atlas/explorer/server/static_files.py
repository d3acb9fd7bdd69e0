"""The built page from the package's own files, or one plain page that says how to build it."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

__all__ = ["STATIC", "serve_page"]

STATIC = Path(__file__).parent / "static"

UNBUILT = Path(__file__).parent / "unbuilt.html"


def serve_page(app: FastAPI, static: Path = STATIC) -> None:
    """Serve the page's files at /, after everything else."""
    if (static / "index.html").is_file():
        app.mount("/", StaticFiles(directory=static, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    async def unbuilt() -> FileResponse:
        return FileResponse(UNBUILT)
