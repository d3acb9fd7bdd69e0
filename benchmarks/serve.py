"""Response times of the explorer's server, and whether it loses requests of many clients at once.

Claim: on 2 CPU cores a plane of 256 x 256 pixels of a map of 16-dimensional codes is answered in less than 0.6 s, and
a path by the straight line and the geodesic in less than 0.5 s, medians over different planes and paths; the server adds
little to the time of the atlas itself, asked in this process. 50 clients at once for a minute, each asking again as soon
as it has an answer, lose no request: every one is answered, after a pause where the server says that it is full.

    python benchmarks/serve.py runs/fashion                              # about 3 minutes
    python benchmarks/serve.py runs/fashion --repeats 2 --clients 4 --seconds 2
"""

import argparse
import asyncio
import itertools
import json
import math
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import torch
from torch import Tensor

from latent_atlas import Atlas
from latent_atlas.geometry.planes import chart, fit_window, plane_through
from record import record

PATIENCE = 120.0  # seconds that one answer may take before it counts as lost
TRIES = 60  # times that a client comes back when the server is full
FRAMES = 17


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a finished run with images")
    parser.add_argument(
        "--repeats", type=int, default=20, help="requests of each kind that a median is of"
    )
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long they ask")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    atlas = Atlas.load(given.run, device=given.device)
    generator = torch.Generator().manual_seed(given.seed)
    means = atlas.codes["held_out"].means.cpu()
    triples = means[torch.randint(len(means), (given.repeats + 1, 3), generator=generator)]
    began = time.perf_counter()
    with served(given.run, given.device) as (address, _, started):
        results: dict[str, Any] = {"start": {"listening": started}}
        with httpx2.Client(base_url=address, timeout=PATIENCE) as client:
            results["start"] |= first_look(client, began)
            results["seconds"] = {
                name: medians(ask, triples) for name, ask in questions(client, atlas).items()
            }
        results["crowd"] = asyncio.run(crowd(address, triples, given))
    record("serve", results, **vars(given))


@contextmanager
def served(run: str | Path, device: str) -> Iterator[tuple[str, int, float]]:
    """The server in a process of its own: its address, its number, and how long it took to listen."""
    words = ["serve", str(run), "--port", "0", "--no-browser", "--json", "--device", device]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "latent_atlas", *words], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        printed = "".join(itertools.takewhile(lambda line: line != "}\n", server.stdout))
        try:
            yield json.loads(printed + "}")["url"], server.pid, time.perf_counter() - began
        finally:
            server.terminate()


def first_look(client: httpx2.Client, began: float) -> dict[str, float]:
    """Seconds since the command until what a page first asks for has been answered, one thing after the other."""
    told = {}
    for name, ask in {
        "atlas": lambda: client.get("/api/atlas"),
        "plane": lambda: client.post("/api/plane", json={"arrows": 16}),
        "10,000 codes": lambda: client.get("/api/codes?count=10000"),
    }.items():
        ask().raise_for_status()
        told[name] = time.perf_counter() - began
    return told


def questions(client: httpx2.Client, atlas: Atlas) -> dict[str, Callable[[Tensor], object]]:
    """What is asked of three codes: of the server, and beside it of the atlas in this process."""

    def post(name: str, **body: Any) -> None:
        client.post(f"/api/{name}", json=body).raise_for_status()

    def plane(codes: Tensor) -> None:
        one = plane_through(*codes.to(atlas.device))
        chart(atlas.map, one, fit_window(one.project(codes.to(atlas.device))), 256)

    def travel(codes: Tensor, planners: tuple[str, ...]) -> None:
        for planner in planners:
            atlas.travel(codes[0], codes[1], planner, frames=FRAMES)

    both = ("linear", "geodesic")
    return {
        "plane, 256 x 256": lambda z: post("plane", kind="through", codes=z.tolist(), arrows=16),
        "plane, 256 x 256, by the atlas alone": plane,
        "plane, 256 x 256, a smooth level": lambda z: post(
            "plane", kind="through", codes=z.tolist(), level=0.5
        ),
        "path, linear and geodesic": lambda z: post(
            "travel", waypoints=z[:2].tolist(), planners=both, frames=FRAMES
        ),
        "path, linear and geodesic, by the atlas alone": lambda z: travel(z, both),
        "path, walk": lambda z: post(
            "travel", waypoints=z[:2].tolist(), planners=["walk"], frames=FRAMES
        ),
        "path, auto": lambda z: post(
            "travel", waypoints=z[:2].tolist(), planners=["auto"], frames=FRAMES
        ),
        "projection": lambda z: post("project", start=(2 * z[0]).tolist()),
        "16 samples": lambda z: post("sample", n=16),
        "neighbours of 17 codes": lambda z: post("neighbours", codes=z[:1].expand(17, -1).tolist()),
        "64 thumbnails": lambda z: client.get(
            "/api/thumbnails", params={"indices": ",".join(map(str, range(64)))}
        ).raise_for_status(),
    }


def medians(ask: Callable[[Tensor], object], triples: Tensor) -> dict[str, float]:
    """Median and largest time in seconds; the first is not counted, as it learns what is only learned once."""
    seconds = []
    for codes in triples:
        began = time.perf_counter()
        ask(codes)
        seconds.append(time.perf_counter() - began)
    return {"median": statistics.median(seconds[1:]), "largest": max(seconds[1:])}


async def crowd(address: str, triples: Tensor, given: argparse.Namespace) -> dict[str, float]:
    """Many clients, each asking one thing after the other: how many were answered, and how many were not."""
    told: Counter[str] = Counter()
    seconds: list[float] = []
    ends = time.perf_counter() + given.seconds
    limits = httpx2.Limits(max_connections=given.clients)
    async with httpx2.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits) as client:

        async def one(number: int) -> None:
            for turn in itertools.count(number):
                if time.perf_counter() > ends:
                    return
                codes = triples[turn % len(triples)].tolist()
                began = time.perf_counter()
                told[await answered(client, turn, codes, told)] += 1
                seconds.append(time.perf_counter() - began)

        await asyncio.gather(*(one(number) for number in range(given.clients)))
    answers = told["answered"]
    ordered = sorted(seconds)
    return {
        "clients": given.clients,
        "requests": answers + told["lost"],
        "lost": told["lost"],
        "refused for a while": told["full"],
        "requests per second": answers / given.seconds,
        "median seconds": statistics.median(ordered),
        "95 % within": ordered[math.ceil(0.95 * len(ordered)) - 1],
    }


async def answered(
    client: httpx2.AsyncClient, turn: int, codes: list[list[float]], told: "Counter[str]"
) -> str:
    """One request, asked again where the server says that it is full: "answered", or "lost"."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("travel", {"waypoints": codes[:2], "planners": ["linear", "geodesic"], "frames": FRAMES}),
        ("plane", {"kind": "through", "codes": codes, "resolution": 64}),
        ("decode", {"codes": codes}),
        ("neighbours", {"codes": codes}),
    ]
    address, body = kinds[turn % len(kinds)]
    for _ in range(TRIES):
        try:
            answer = await client.post(f"/api/{address}", json=body)
        except httpx2.HTTPError:
            return "lost"
        if answer.status_code != 503:
            return "answered" if answer.status_code == 200 and answer.content else "lost"
        told["full"] += 1
        await asyncio.sleep(float(answer.headers["retry-after"]))
    return "lost"


if __name__ == "__main__":
    main()
