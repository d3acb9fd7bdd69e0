"""The command `serve`: it answers at the address that it prints, and says what is wrong in one
sentence.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from argparse import Namespace
from pathlib import Path

import pytest

from command_line import latent_atlas
from latent_atlas.cli.commands import serve
from latent_atlas.cli.commands.serve import listen, url_of
from latent_atlas.cli.console import Console
from latent_atlas.codes import neighbours
from latent_atlas.explorer.server.state import Explorer
from server_client import served, tiny_atlas
from server_run import begun, finish

WAIT = 60.0  # seconds, after which something is wrong


def test_a_run_is_served_until_it_is_interrupted(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    finish(run)
    command = [
        sys.executable,
        "-m",
        "latent_atlas",
        "serve",
        str(run.path),
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        "--json",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], WAIT)[0]
            printed = b""
            while not printed.endswith(b"}\n"):
                printed += process.stdout.readline()
            address = json.loads(printed)["url"]
            assert "?token=" in address  # as it is served to others than this machine
            base, token = address.split("?token=")
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{base}api/atlas", timeout=WAIT)
            asked = urllib.request.Request(
                f"{base}api/atlas", headers={"authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(asked, timeout=WAIT) as answer:
                assert json.load(answer)["dimension"] == 3
            with urllib.request.urlopen(address, timeout=WAIT) as answer:
                assert "SameSite=Strict" in answer.headers["set-cookie"]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 0


def test_a_client_who_hangs_up_is_not_computed_for() -> None:
    with served() as (port, server):
        _hang_up(port, server.explorer)


def _hang_up(port: int, explorer: Explorer) -> None:
    frames, stride, walks = 129, 40, 5
    body = json.dumps({"start": [0.0, 0.0, 0.0], "frames": frames, "stride": stride}).encode()
    head = f"POST /api/random-walk HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
    head += "content-type: application/json\r\n"
    looks: list[None] = []
    counted = tiny_atlas().map.network.register_forward_pre_hook(lambda *_: looks.append(None))
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(walks)]
    for client in clients:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    until = time.monotonic() + WAIT
    while explorer.slow.waiting < walks and time.monotonic() < until:
        time.sleep(0.01)
    assert explorer.slow.waiting == walks
    for client in clients:
        client.close()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/atlas", timeout=WAIT) as answer:
        assert answer.status == 200
    while explorer.slow.waiting > 0 and time.monotonic() < until:
        time.sleep(0.01)
    counted.remove()
    assert explorer.slow.waiting == 0
    assert (
        len(looks) < walks * (frames - 1) * stride
    )  # each step of a walk looks at the map at least once


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    begun(tmp_path / "run")
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        assert latent_atlas("serve", str(tmp_path / "run"), "--port", port, "--no-browser") == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "holds no run"),
        (["nowhere", "--demo"], "leave one of them out"),
        (["--port", "99999"], "cannot listen on 127.0.0.1 port 99999"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--token", "a b"], "letters"),
    ],
)
def test_mistakes_get_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert latent_atlas("serve", *words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "uvicorn" else object()
    )
    assert latent_atlas("serve", "--demo") == 2
    assert "pip install 'latent-atlas[serve]'" in capsys.readouterr().err


def test_an_index_is_built_once_before_the_explorer_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    run = begun(tmp_path / "run")
    finish(run)
    monkeypatch.setattr(neighbours, "MANY", 20)
    given = Namespace(folder=str(run.path), device="cpu", host="127.0.0.1")
    for words in ("indexing 600 codes to find neighbours, once", ""):
        serve._app(given, None, Console(as_json=False)).state.explorer.close()
        said = capsys.readouterr().err
        assert words in said
        assert bool(words) == ("indexing" in said)
    assert run.file("neighbours.faiss").is_file()


def test_the_address_to_open() -> None:
    assert url_of("127.0.0.1", 80, None) == "http://127.0.0.1:80/"
    assert url_of("0.0.0.0", 80, "t") == "http://127.0.0.1:80/?token=t"
    assert url_of("::1", 80, None) == "http://[::1]:80/"
