"""Whether the explorer's server answers a client while others flood it with requests that are costly to refuse.

Goal: while 8 clients send nothing but bodies of 16 MB, a million rows, deep nesting, images of 1 x 50,000,000 pixels,
JPEG 2000, large planes, many samples, bodies that never end, Host headers of others and connections that say nothing,
another client that asks for facts and for the image of a code is answered within a second each time; no answer is a
500; the memory stays bounded; and on SIGTERM the server ends with exit code 0 and without a traceback. All clients run
on the machine of the server and at its priority, so they take processors from it.

    python benchmarks/reliability/floods.py                          # a synthetic atlas, one minute
    python benchmarks/reliability/floods.py runs/fashion --seconds 300
"""

import argparse
import io
import itertools
import json
import multiprocessing
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import httpx2
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))
from record import record

FORK = multiprocessing.get_context("fork")
PATIENCE = 120.0  # seconds after which an answer is lost
LARGE = 16 * 10**6  # bytes


class Flood(NamedTuple):
    """A request that is costly to refuse."""

    address: str
    body: bytes
    host: str | None = None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help="a finished run (default: --demo)")
    parser.add_argument("--clients", type=int, default=8, help="that flood")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    with served(given.run) as (address, server, complaints):
        quiet = Cheap(address).ask(5.0)
        told, ends = FORK.Queue(), FORK.Event()
        kinds = list(floods().items())
        clients = [
            FORK.Process(target=flood, args=(address, kinds[first:] + kinds[:first], told, ends))
            for first in (number * len(kinds) // given.clients for number in range(given.clients))
        ]
        clients += [
            FORK.Process(target=one, args=(address, told, ends)) for one in (drip, say_nothing)
        ]
        for client in clients:
            client.start()
        flooded = Cheap(address).ask(given.seconds)
        ends.set()
        answers = sum((told.get() for _ in clients), Counter[str]())
        for client in clients:
            client.join()
        memory = peak_memory(server.pid)
        after = Cheap(address).ask(2.0)
        results = {
            "seconds alone": quiet, "seconds in the flood": flooded, "seconds afterwards": after,
            "answers to the flood": dict(sorted(answers.items())), "peak memory, MiB": memory,
            "end": stopped(server, address, complaints),
        }  # fmt: skip
    record("floods", results, **vars(given))


@contextmanager
def served(run: str | None) -> Iterator[tuple[str, "subprocess.Popen[str]", TextIO]]:
    """The server in a process of its own, and its address."""
    words = ["serve", run or "--demo", "--port", "0", "--no-browser", "--json", "--device", "cpu"]
    with tempfile.TemporaryFile("w+") as complaints, subprocess.Popen(
        [sys.executable, "-m", "latent_atlas", *words],
        stdout=subprocess.PIPE, stderr=complaints, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        printed = "".join(itertools.takewhile(lambda line: line != "}\n", server.stdout))
        try:
            yield json.loads(printed + "}")["url"].rstrip("/"), server, complaints
        finally:
            server.kill()
            print(f"exit code {server.wait()}", file=sys.stderr)
            complaints.seek(0)
            print(complaints.read()[-2000:], file=sys.stderr)


class Cheap:
    """A client that asks for facts, for the image of a code, and for the page, one after the other."""

    def __init__(self, address: str) -> None:
        self.client = httpx2.Client(base_url=address, timeout=PATIENCE)
        self.code = [0.0] * self.client.get("/api/atlas").json()["dimension"]

    def ask(self, seconds: float) -> dict[str, Any]:
        """Ask for so long: the statuses, and the median and the largest time to an answer."""
        taken, statuses = [], Counter()
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            for method, path, body in (
                ("GET", "/api/atlas", None),
                ("POST", "/api/decode", {"codes": [self.code]}),
                ("GET", "/", None),
            ):
                began = time.perf_counter()
                try:
                    statuses[self.client.request(method, path, json=body).status_code] += 1
                except httpx2.HTTPError as error:
                    statuses[type(error).__name__] += 1
                taken.append(time.perf_counter() - began)
            time.sleep(0.05)
        return {
            "answers": dict(statuses), "median": statistics.median(taken), "largest": max(taken),
            "over a second": sum(one > 1 for one in taken),
        }  # fmt: skip


def floods() -> dict[str, Flood]:
    """The requests, by name."""
    keys = b",".join(b'"k%d":0' % k for k in range(LARGE // 11))[: LARGE - 10]
    strings = b'"' + b'","'.join([b"x"] * 200_000) + b'"'
    return {
        "16 MB of unknown keys": Flood("travel", b"{" + keys + b"}"),
        "a million rows": Flood("decode", b'{"codes":[' + b",".join([b"[0]"] * 10**6) + b"]}"),
        "16 MB of one row": Flood(
            "decode", b'{"codes":[[' + b",".join([b"0"] * 7 * 10**6) + b"]]}"
        ),
        "words for numbers": Flood("decode", b'{"codes":[[' + strings + b"]]}"),
        "deep nesting": Flood("travel", b"[" * 10**6),
        "deep objects": Flood("travel", b'{"options":' * 10**5),
        "1 x 50,000,000 pixels": Flood("encode", png(1, 50_000_000)),
        "7,000 x 7,000 pixels": Flood("encode", png(7_000, 7_000, bytes(7_001 * 7_000))),
        "JPEG 2000": Flood("encode", image("JPEG2000")),
        "AVIF": Flood("encode", image("AVIF")),
        "16 MB of zeros": Flood("encode", bytes(LARGE)),
        "a plane of 512 x 512": Flood("plane", b'{"resolution":512}'),
        "256 samples": Flood("sample", b'{"n":256}'),
        "another host": Flood("decode", b"{}", "evil.example"),
        "no host": Flood("decode", b"{}", "user@localhost:x"),
    }


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A grey PNG of this size by its head, whatever its rows are."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def image(kind: str) -> bytes:
    """A small file of many pixels."""
    file = io.BytesIO()
    Image.new("L", (4_000, 4_000)).save(file, kind)
    return file.getvalue()


def flood(address: str, kinds: list[tuple[str, Flood]], answers: Any, ends: Any) -> None:
    """Send every request in turn until the end, and count the answers by status."""
    told: Counter[str] = Counter()
    with httpx2.Client(base_url=address, timeout=PATIENCE) as client:
        for name, one in itertools.takewhile(lambda _: not ends.is_set(), itertools.cycle(kinds)):
            headers = {"content-type": "application/json"} | (
                {"host": one.host} if one.host else {}
            )
            try:
                answer = client.post(f"/api/{one.address}", content=one.body, headers=headers)
                told[f"{name}: {answer.status_code}"] += 1
            except httpx2.HTTPError as error:
                told[f"{name}: {type(error).__name__}"] += 1
    answers.put(told)


def drip(address: str, answers: Any, ends: Any) -> None:
    """Send bodies of a byte a second, twenty at a time."""
    told: Counter[str] = Counter()
    host, port = address.removeprefix("http://").split(":")
    head = f"POST /api/decode HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
    slow: list[socket.socket] = []
    while not ends.wait(1.0):
        while len(slow) < 20:
            slow.append(socket.create_connection((host, int(port))))
            slow[-1].sendall(f"{head}content-length: 10000\r\n\r\n[".encode())
        for client in list(slow):
            try:
                client.sendall(b"0")
                client.settimeout(0.001)
                status = client.recv(2**16).split(b" ", 2)[1].decode()
            except TimeoutError:
                continue
            except (OSError, IndexError):
                status = "cut"
            told[f"a byte a second: {status}"] += 1
            client.close()
            slow.remove(client)
    answers.put(told)


def say_nothing(address: str, answers: Any, ends: Any) -> None:
    """Open connections and send half a head, fifty a second; up to 500 stay open."""
    told: Counter[str] = Counter()
    host, port = address.removeprefix("http://").split(":")
    silent: list[socket.socket] = []
    while not ends.wait(1.0):
        for _ in range(50):
            client = socket.create_connection((host, int(port)))
            client.sendall(b"GET / HTTP/1.1\r\nhost: loc")
            silent.append(client)
            told["half a head: opened"] += 1
        for client in silent[:-500]:
            client.close()
        del silent[:-500]
    answers.put(told)


def peak_memory(pid: int) -> float:
    """The most memory that a process has had, and its children have had, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(peak_memory(int(child)) for child in children)


def stopped(server: "subprocess.Popen[str]", address: str, complaints: TextIO) -> dict[str, Any]:
    """SIGTERM while an answer is under way: that answer, the exit code, and what was printed."""
    answers: list[int] = []

    def ask() -> None:
        code = [0.0] * httpx2.get(f"{address}/api/atlas").json()["dimension"]
        body = {"start": code, "frames": 17}
        answers.append(httpx2.post(f"{address}/api/random-walk", json=body, timeout=60).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    server.send_signal(signal.SIGTERM)
    began = time.perf_counter()
    code = server.wait(60)
    asking.join()
    complaints.seek(0)
    return {
        "answer under way": answers, "exit code": code, "seconds": time.perf_counter() - began,
        "tracebacks": complaints.read().count("Traceback"),
    }  # fmt: skip


if __name__ == "__main__":
    main()
