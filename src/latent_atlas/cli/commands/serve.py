"""The command `serve`: the explorer of a run, or of a synthetic atlas, in the browser."""

import importlib.util
import re
import secrets
import sys
import threading
import webbrowser
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latent_atlas.cli.arguments import add_device, add_nearest, load_atlas
from latent_atlas.cli.console import Console
from latent_atlas.errors import UserError

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

__all__ = ["add_arguments", "listen", "serve", "url_of"]

NEEDED = ("fastapi", "uvicorn")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of `serve`."""
    parser.add_argument(
        "folder",
        metavar="RUN",
        nargs="?",
        help="run folder, also of a run that is still training (default: as with --demo)",
    )
    parser.add_argument(
        "--demo", action="store_true", help="show a synthetic atlas, made in seconds without a run"
    )
    parser.add_argument(
        "--host",
        metavar="H",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only)",
    )
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        default=8765,
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--token",
        metavar="T",
        help="token that visitors must give (default: none on this machine only, else a random "
        "one)",
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="do not open a browser"
    )
    add_nearest(parser)
    add_device(parser)


def serve(given: Namespace, console: Console) -> None:
    """Serve the explorer until Ctrl-C or SIGTERM."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"serve needs {' and '.join(missing)}; pip install 'latent-atlas[serve]'")
    if given.folder is not None and given.demo:
        raise UserError(
            f"--demo shows a synthetic atlas, but the run {given.folder} is named too; leave one "
            "of them out"
        )
    from latent_atlas.explorer.server.connections import ExplorerServer

    token = _token(given)
    with listen(given.host, given.port) as listening:
        app = _app(given, token, console)
        url = url_of(given.host, listening.getsockname()[1], token)
        console.result({"url": url}, f"the explorer is at {url}\npress Ctrl-C to stop it")
        if sys.stdout.isatty() and given.browser and not given.json:
            threading.Timer(0.5, webbrowser.open, [url]).start()
        server = ExplorerServer(app)
        server.explorer.decoder.start()  # while nobody waits for it
        server.run(sockets=[listening])


def _token(given: Namespace) -> str | None:
    """The token to ask visitors for: --token, or a random one if other machines can connect.

    Raises:
        UserError: the token is too short, or has characters that a URL cannot hold.
    """
    from latent_atlas.explorer.server.security import LOOPBACK

    if given.token is None:
        return None if given.host in LOOPBACK else secrets.token_urlsafe(24)
    if not re.fullmatch(r"[\w-]{8,200}", given.token, re.ASCII):
        raise UserError(
            f"--token has {len(given.token)} characters; choose 8 to 200 letters, digits, - and _"
        )
    return given.token


def _app(given: Namespace, token: str | None, console: Console) -> "FastAPI":
    """The web application for a finished run, a run that is training, or the synthetic atlas."""
    from latent_atlas.device import pick_device
    from latent_atlas.explorer.demo.atlas import demo_atlas
    from latent_atlas.explorer.server.app import make_app
    from latent_atlas.runs import Run

    device = given.device or "auto"
    if given.folder is None:
        with console.waiting("making a synthetic atlas; that takes some seconds"):
            synthetic = demo_atlas(device=pick_device(device))
        return make_app(synthetic, token=token, address=given.host, demo=True)
    run = Run(Path(given.folder))
    run.config()  # fails early if the folder holds no run
    atlas = load_atlas(given) if run.file("map.safetensors").is_file() else None
    if atlas is None:
        console.say(f"{run.path} has no map yet: the explorer shows the training, and then the map")
    elif (index := atlas.indices["train"]).unbuilt:
        console.say(f"indexing {len(atlas.codes['train']):,} codes to find neighbours, once")
        index.build()
    return make_app(atlas, run=run.path, token=token, address=given.host, device=device)


def listen(host: str, port: int) -> "socket.socket":
    """A listening socket.

    Raises:
        UserError: the port is taken or forbidden, or this machine has no such address.
    """
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # from now on a visitor waits instead of being refused
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot listen on {host} port {port} ({reason}); choose another --port or --host"
        ) from None
    return listening


def url_of(host: str, port: int, token: str | None) -> str:
    """The URL to open in a browser."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(
        host, f"[{host}]" if ":" in host else host
    )
    return f"http://{name}:{port}/{'' if token is None else f'?token={token}'}"
