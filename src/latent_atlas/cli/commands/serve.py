"""The command `serve`: a run, or a synthetic atlas, in the browser."""

import importlib.util
import re
import secrets
import sys
import threading
import webbrowser
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

__all__ = ["listen", "serve", "url_of"]

NEEDED = ("fastapi", "uvicorn")


def serve(given: Namespace, console: Console) -> None:
    """Serve the explorer until Ctrl-C."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"serve needs {' and '.join(missing)}; pip install latent-atlas[serve]")
    if given.folder is not None and given.demo:
        raise UserError(
            "--demo serves a synthetic atlas, and a run was given; leave one of them out"
        )
    import uvicorn

    token = _token(given)
    with listen(given.host, given.port) as listening:
        app = _app(given, token, console)
        url = url_of(given.host, listening.getsockname()[1], token)
        console.result({"url": url}, f"the explorer is at {url}\nCtrl-C ends it")
        if sys.stdout.isatty() and given.browser and not given.json:
            threading.Timer(0.5, webbrowser.open, [url]).start()
        settings = {
            "log_level": "warning",
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": 2,
        }
        with suppress(KeyboardInterrupt):  # which is how it is ended
            uvicorn.Server(uvicorn.Config(app, **settings)).run(sockets=[listening])


def _token(given: Namespace) -> str | None:
    """The token to ask for: the one given, or a new one where others than this machine can ask.

    Raises:
        UserError: it is too short, or cannot be written in an address.
    """
    from latent_atlas.explorer.server.security import LOOPBACK

    if given.token is None:
        return None if given.host in LOOPBACK else secrets.token_urlsafe(24)
    if not re.fullmatch(r"[\w-]{8,200}", given.token, re.ASCII):
        raise UserError("--token takes 8 letters, digits, - and _ or more; choose another one")
    return given.token


def _app(given: Namespace, token: str | None, console: Console) -> "FastAPI":
    """The application, for a finished run, one that is training, or the synthetic atlas."""
    from latent_atlas.atlas.atlas import Atlas
    from latent_atlas.device import pick_device
    from latent_atlas.explorer.demo.atlas import demo_atlas
    from latent_atlas.explorer.server.app import make_app
    from latent_atlas.runs import Run

    device = given.device or "auto"
    if given.folder is None:
        console.say("no run was given, so a synthetic atlas is made; that takes some seconds")
        return make_app(
            demo_atlas(device=pick_device(device)), token=token, address=given.host, demo=True
        )
    run = Run(Path(given.folder))
    run.config()  # a folder that holds no run is said before the server starts
    atlas = Atlas.load(run.path, device=device) if run.file("map.safetensors").is_file() else None
    if atlas is None:
        console.say(
            f"{run.path} has no map yet, so its training is shown; the map appears when it is there"
        )
    return make_app(atlas, run=run.path, token=token, address=given.host, device=device)


def listen(host: str, port: int) -> "socket.socket":
    """A socket bound to the address.

    Raises:
        UserError: the port is taken or may not be had, or there is no such address.
    """
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # from now on whoever opens the address waits, and is not refused
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{host} port {port} cannot be had ({reason}); choose another --port or --host"
        ) from None
    return listening


def url_of(host: str, port: int, token: str | None) -> str:
    """The address to open."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(
        host, f"[{host}]" if ":" in host else host
    )
    return f"http://{name}:{port}/{'' if token is None else f'?token={token}'}"
