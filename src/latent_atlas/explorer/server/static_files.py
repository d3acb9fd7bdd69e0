"""The built page from the package's own files, or one plain page that says how to build it."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

__all__ = ["STATIC", "serve_page"]

STATIC = Path(__file__).parent / "static"

UNBUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Latent Atlas</title>
<h1>The explorer's page is not built</h1>
<p>This is a checkout of the source, which holds the page's source alone. <code>make page</code> builds it (it needs
Node 20 or newer); then load this page again. What is installed from a wheel has it.</p>
<p>The server works: <a href="api/atlas">api/atlas</a> says what it holds, and
<a href="api/openapi.json">api/openapi.json</a> what it can be asked.</p>
</html>
"""


def serve_page(app: FastAPI, static: Path = STATIC) -> None:
    """Serve the page's files at /, after everything else."""
    if (static / "index.html").is_file():
        app.mount("/", StaticFiles(directory=static, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    async def unbuilt() -> HTMLResponse:
        return HTMLResponse(UNBUILT)
