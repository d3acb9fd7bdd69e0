"""The explorer of an atlas in a notebook, or beside any other process that goes on."""

import importlib.util
import secrets
import socket
import threading
import weakref

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.errors import UserError, require

__all__ = ["EmbeddedExplorer"]

NEEDED = ("fastapi", "uvicorn")
ADDRESS = "127.0.0.1"
PATIENCE = 20.0  # seconds for requests under way


class EmbeddedExplorer:
    """The explorer, served by a thread of this process to this machine alone.

    A random token is the first part of its address: what is shown in a frame of another page, as
    below a notebook's cell, may have no cookies. Of a kernel on another machine, the browser cannot
    reach it.

    Attributes:
        url: Its address.
    """

    def __init__(self, atlas: Atlas, height: int) -> None:
        """Begin to serve; arguments and errors as for `Atlas.show`."""
        require(height >= 1, f"the height is {height}; choose 1 pixel or more")
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"show needs {' and '.join(missing)}; pip install 'latent-atlas[serve]'"
            )
        from latent_atlas.explorer.server.app import make_app
        from latent_atlas.explorer.server.connections import ExplorerServer

        token = secrets.token_urlsafe(24)
        server = ExplorerServer(make_app(atlas, token=token, address=ADDRESS, framed=True))
        listening = socket.create_server((ADDRESS, 0))
        self._height = height
        self.url = f"http://{ADDRESS}:{listening.getsockname()[1]}/{token}/"
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()

        def stop() -> None:
            server.explorer.finish(0.0)
            server.should_exit = True
            thread.join(PATIENCE)

        self._stop = weakref.finalize(atlas, stop)  # which also happens as the process ends

    def close(self) -> None:
        """Stop serving."""
        self._stop()

    def __repr__(self) -> str:
        """What to do with it."""
        if not self._stop.alive:
            return "the explorer is closed; call show() again"
        return f"the explorer is at {self.url} (open it in a browser; close() ends it)"

    def _repr_html_(self) -> str:
        """A frame that shows it."""
        if not self._stop.alive:
            return f"<p>{self!r}</p>"
        size = f'width="100%" height="{self._height}"'
        return f'<iframe src="{self.url}" title="Latent Atlas" {size} style="border: 0"></iframe>'
