"""A tiny atlas behind the explorer's server, and how its answers are read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import torch
from httpx2 import Response
from safetensors.numpy import load
from starlette.testclient import TestClient
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.cli.commands.serve import listen
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder
from latent_atlas.config import Config, MapConfig
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.explorer.server.app import make_app
from latent_atlas.explorer.server.connections import ExplorerServer
from latent_atlas.explorer.server.limits import Limits

__all__ = ["ADDRESS", "arrays", "client_of", "facts", "served", "tiny_atlas"]

ADDRESS = "http://127.0.0.1:8765"
DIMENSION, SIDE = 3, 8
SETTINGS = MapConfig(width=16, depth=1, steps=60, batch_size=128, check_every=30)
MIXING = torch.linalg.qr(
    torch.randn(SIDE * SIDE, DIMENSION, generator=torch.Generator().manual_seed(1))
)[0]


def draw(latents: Tensor) -> Tensor:
    """G(z): grey images (n, 1, 8, 8), linear in z."""
    return (0.5 + 0.2 * latents @ MIXING.T).unflatten(1, (1, SIDE, SIDE))


def recognise(images: Tensor) -> Tensor:
    """E(x): the inverse of G on its image."""
    return (images.flatten(1) - 0.5) @ MIXING / 0.2


@cache
def tiny_atlas() -> Atlas:
    """Two clusters, left and right, in three dimensions; do not change it."""
    generator = torch.Generator().manual_seed(0)
    codes, labels = {}, {}
    for part, count in (("train", 600), ("held_out", 200)):
        labels[part] = torch.arange(count) % 2
        means = 0.4 * torch.randn(count, DIMENSION, generator=generator)
        means[:, 0] += torch.where(labels[part] == 1, 1.2, -1.2)
        codes[part] = Codes(means)
    made = LatentMap.fit(
        codes["train"].means,
        config=SETTINGS,
        held_out=codes["held_out"],
        generator=generator,
        warn=False,
    )
    return Atlas(
        Autoencoder(recognise, draw, (1, SIDE, SIDE), (DIMENSION,), device=made.device),
        made,
        codes,
        Config(map=SETTINGS),
        labels=labels,
        label_names=("left", "right"),
        errors=0.01 * torch.rand(200, 3, generator=generator),
    )


def client_of(
    atlas: Atlas | None = None, *, limits: Limits | None = None, **options: Any
) -> TestClient:
    """A client of a server for an atlas, to be used as a context."""
    app = make_app(atlas, limits=limits or Limits(), **options)
    return TestClient(app, base_url=ADDRESS, raise_server_exceptions=False)


@contextmanager
def served(limits: Limits | None = None) -> Iterator[tuple[int, ExplorerServer]]:
    """A server of the tiny atlas on a free port, in a thread: the port, and the server."""
    server = ExplorerServer(make_app(tiny_atlas(), limits=limits or Limits()))
    with listen("127.0.0.1", 0) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join(60)


def arrays(answer: Response) -> dict[str, np.ndarray]:
    """The arrays of an answer in the safetensors format."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-safetensors"
    return load(answer.content)


def facts(answer: Response) -> Any:
    """The facts that came with its arrays."""
    assert answer.status_code == 200, answer.text
    length = int.from_bytes(answer.content[:8], "little")
    return json.loads(json.loads(answer.content[8 : 8 + length])["__metadata__"]["json"])
