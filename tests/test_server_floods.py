"""While some clients flood the server, are slow, or say nothing, the others are answered; and a
server that is told to stop finishes its answers.
"""

import io
import json
import logging
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from PIL import Image

from latent_atlas.data.decode import Square
from latent_atlas.errors import UserError
from latent_atlas.explorer.server import connections
from latent_atlas.explorer.server.bodies import Bodies
from latent_atlas.explorer.server.limits import Limits
from latent_atlas.explorer.server.uploads import Decoder
from server_client import served

WAIT = 60.0  # seconds, after which something is wrong
Z = [0.0, 0.0, 0.0]


def asking(port: int) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT)


def head_of(port: int, length: int, address: str = "decode") -> bytes:
    return (
        f"POST /api/{address} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def connect(port: int, first: bytes = b"") -> socket.socket:
    """A connection that has sent something."""
    client = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
    client.sendall(first)
    return client


def everything_from(client: socket.socket) -> bytes:
    """What the server sends until it hangs up."""
    parts = []
    while part := _received(client):
        parts.append(part)
    return b"".join(parts)


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(2**16)
    except ConnectionResetError:
        return b""


def test_others_are_answered_while_an_image_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, free = threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        begun.set()
        assert free.wait(WAIT)
        raise UserError("no image")

    monkeypatch.setattr(Decoder, "decode", slow)
    with served() as (port, _), asking(port) as client, ThreadPoolExecutor(1) as other:
        uploaded = other.submit(httpx2.post, f"{client.base_url}/api/encode", content=b"x")
        assert begun.wait(WAIT)
        assert client.get("/api/atlas").status_code == 200
        assert client.post("/api/decode", json={"codes": [Z]}).status_code == 200
        assert not uploaded.done()
        free.set()
        assert uploaded.result(WAIT).status_code == 400


def test_others_are_answered_while_something_slow_is_computed() -> None:
    with served() as (port, server), asking(port) as client, ThreadPoolExecutor(1) as other:
        free = threading.Event()
        server.explorer.slow.meanwhile(None for _ in [0] if free.wait(WAIT))
        planned = other.submit(
            httpx2.post, f"{client.base_url}/api/plane", json={"resolution": 2}, timeout=WAIT
        )
        _until(lambda: server.explorer.slow.waiting == 1)
        for path in ("atlas", "codes", "thumbnails?indices=0,1"):
            assert client.get(f"/api/{path}").status_code == 200
        assert client.post("/api/decode", json={"codes": [Z]}).status_code == 200
        assert not planned.done()
        free.set()
        assert planned.result(WAIT).status_code == 200


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_decoder_that_hangs_or_crashes_is_replaced() -> None:
    decoder, square, limits = Decoder(), Square(8, 1), Limits()
    try:
        assert decoder.decode(picture(), square, limits).shape == (1, 1, 8, 8)
        hanging = decoder._process
        assert hanging is not None
        os.kill(hanging.pid or 0, signal.SIGSTOP)
        with pytest.raises(UserError, match=r"longer than 0\.1 seconds"):
            decoder.decode(picture(), square, replace(limits, seconds=0.1))
        assert not hanging.is_alive()
        decoder.start()
        assert decoder._process is not hanging
        threading.Timer(0.1, decoder.close).start()
        with pytest.raises(UserError, match="crashed"):
            decoder.decode(picture(), square, limits)
    finally:
        decoder.close()


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    return file.getvalue()


def test_more_images_than_may_wait_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, free = threading.Event(), threading.Event()
    monkeypatch.setattr(Decoder, "decode", lambda *_: (begun.set(), free.wait(WAIT)))
    limits = replace(Limits(), uploads=1)
    with served(limits) as (port, _), asking(port) as client, ThreadPoolExecutor(1) as other:
        other.submit(httpx2.post, f"{client.base_url}/api/encode", content=b"x")
        assert begun.wait(WAIT)
        answer = client.post("/api/encode", content=b"x")
        free.set()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_decoding_that_takes_too_long_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(Decoder, "decode", lambda *_: free.wait(WAIT))
    with served(replace(Limits(), seconds=0.5)) as (port, _), asking(port) as client:
        answer = client.post("/api/encode", content=b"x")
        free.set()
    assert answer.status_code == 400
    assert "longer than 0.5 seconds" in answer.json()["detail"]


def test_a_slow_body_is_refused_and_holds_nobody_up() -> None:
    with served(replace(Limits(), arrival=0.3)) as (port, _), asking(port) as client:
        with connect(port, head_of(port, 100) + b"[") as slow:
            assert client.get("/api/atlas").status_code == 200
            assert b" 408 " in slow.recv(2**16)
        assert client.get("/api/atlas").status_code == 200


def test_large_bodies_are_bounded_together_and_small_ones_are_always_taken() -> None:
    limits = replace(Limits(), held=100_000, small=10_000)
    with served(limits) as (port, server), asking(port) as client:
        with connect(port, head_of(port, 200_000, "encode") + bytes(99_000)):
            _until(lambda: _held(server.config.app) >= 99_000)
            refused = client.post("/api/encode", content=bytes(20_000))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert client.post("/api/decode", json={"codes": [Z]}).status_code == 200
        _until(lambda: _held(server.config.app) == 0)
        assert client.post("/api/encode", content=bytes(20_000)).status_code == 400  # no image


def _held(app: Any) -> int:
    """Bytes of bodies that the server holds."""
    layer = app.middleware_stack
    while not isinstance(layer, Bodies):
        layer = layer.app
    return layer.held


def _until(holds: Any) -> None:
    ends = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_whoever_says_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.2)
    with served() as (port, _):
        for said in (b"", b"GET / HTTP/1.1\r\nhost: local"):
            with connect(port, said) as silent:
                assert everything_from(silent) == b""


def test_whoever_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    body = json.dumps({"resolution": 512}).encode()
    with served() as (port, server), socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall((head_of(port, len(body), "plane") + body) * 4)
        _until(lambda: server.server_state.total_requests > 0)
        _until(lambda: not server.server_state.connections)


def test_the_longest_silence_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 3)
    with served() as (port, server):
        with asking(port) as client:
            assert client.get("/api/atlas").status_code == 200
            silent = [connect(port) for _ in range(6)]
            _until(lambda: len(server.server_state.connections) == 3)
            assert client.get("/api/atlas").status_code == 200  # by the connection it has had
        assert everything_from(silent[0]) == b""
        for one in silent:
            one.close()


def test_a_server_that_is_told_to_stop_finishes_its_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    free = threading.Event()
    with served() as (port, server), ThreadPoolExecutor(3) as others, caplog.at_level("WARNING"):
        server.explorer.quick.meanwhile(None for _ in [0] if free.wait(WAIT))
        asked = [
            others.submit(
                httpx2.post,
                f"http://127.0.0.1:{port}/api/decode",
                json={"codes": [Z]},
                timeout=WAIT,
            )
            for _ in range(3)
        ]
        _until(lambda: server.explorer.quick.waiting == 3)
        server.handle_exit(signal.SIGTERM, None)
        free.set()
        assert [one.result(WAIT).status_code for one in asked] == [200] * 3
    assert caplog.records == []
    with pytest.raises(OSError, match="refused"):
        connect(port)


def test_what_takes_longer_than_the_end_may_wait_is_stopped_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "GRACE", 0.1)
    body = {"start": Z, "frames": 129, "stride": 40}
    with served() as (port, server), ThreadPoolExecutor(1) as other, caplog.at_level("WARNING"):
        asked = other.submit(
            httpx2.post, f"http://127.0.0.1:{port}/api/random-walk", json=body, timeout=WAIT
        )
        _until(lambda: server.explorer.slow.waiting == 1)
        server.handle_exit(signal.SIGTERM, None)
        answer = asked.result(WAIT)
    assert (answer.status_code, "stopping" in answer.json()["detail"]) == (503, True)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_a_second_ctrl_c_ends_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with served() as (port, server), connect(port, head_of(port, 100) + b"["):
        _until(lambda: len(server.server_state.tasks) == 1)
        server.handle_exit(signal.SIGINT, None)
        server.handle_exit(signal.SIGINT, None)
        _until(lambda: server.lifespan.shutdown_event.is_set())
    assert not any(one.exc_info or "Traceback" in one.getMessage() for one in caplog.records)


def test_work_that_cannot_be_stopped_does_not_end_in_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "GRACE", -1.0)  # seconds after which tasks are cancelled: 1
    free = threading.Event()
    begun = threading.Event()
    monkeypatch.setattr(Decoder, "decode", lambda *_: (begun.set(), free.wait(WAIT)))
    with served() as (port, server), ThreadPoolExecutor(1) as other:
        other.submit(httpx2.post, f"http://127.0.0.1:{port}/api/encode", content=b"x")
        assert begun.wait(WAIT)
        server.handle_exit(signal.SIGTERM, None)
        free.set()
    assert not any(one.exc_info for one in caplog.records)
