"""Requests of strangers and of bad clients end in one sentence, and the server lives."""

import io
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from latent_atlas.explorer.server.limits import Limits
from server_client import client_of, tiny_atlas

Z = [0.0, 0.0, 0.0]
LIMITS = replace(Limits(), bytes=200_000)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(tiny_atlas(), limits=LIMITS) as one:
        yield one


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, kind)
    return file.getvalue()


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG that says what size it has, whatever its rows are."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(rows, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def tables_over_tables(entries: int = 2_000) -> bytes:
    """A TIFF whose every entry refers to the whole file: a hundred megabytes for its 50 kB."""
    size = 8 + 2 + 12 * entries + 30_000
    rows = (struct.pack("<HHII", 40_000 + k, 1, size, 0) for k in range(entries))
    file = b"II*\0" + struct.pack("<IH", 8, entries) + b"".join(rows)
    return file.ljust(size, b"\0")


BODIES: dict[str, tuple[str, Any]] = {
    "not JSON": ("decode", b"\xff{"),
    "another form": ("decode", {"kodes": [Z]}),
    "no codes": ("decode", {"codes": []}),
    "too short": ("decode", {"codes": [[0.0, 0.0]]}),
    "too long": ("decode", {"codes": [[0] * 60_000]}),
    "much too long": ("decode", {"codes": [[0] * 65_537]}),
    "ragged": ("decode", {"codes": [Z, [0.0]]}),
    "words": ("decode", {"codes": [["a", "b", "c"]]}),
    "nan": ("decode", b'{"codes": [[NaN, 0, 0]]}'),
    "infinity": ("decode", b'{"codes": [[Infinity, 0, 0]]}'),
    "nan in quotes": ("decode", {"codes": [["nan", 0, 0]]}),
    "huge": ("decode", b'{"codes": [[1e400, 0, 0]]}'),
    "far": ("decode", {"codes": [[1e30, 0, 0]]}),
    "too many": ("decode", {"codes": [Z] * 1_025}),
    "deep": ("decode", b"[" * 100_000),
    "long number": ("plane", b'{"resolution": ' + b"9" * 50_000 + b"}"),
    "too fine": ("plane", {"resolution": 513}),
    "no angle": ("plane", b'{"level": NaN}'),
    "level beyond": ("plane", {"level": 1.57}),
    "empty window": ("plane", {"window": {"left": 1, "right": 1, "bottom": 0, "top": 1}}),
    "parallel": ("plane", {"kind": "given", "origin": Z, "axes": [[1, 0, 0], [2, 0, 0]]}),
    "one point": ("plane", {"kind": "through", "codes": [Z, Z, Z]}),
    "no such attribute": ("plane", {"kind": "attributes", "attributes": ["hat", "component:0"]}),
    "component beyond": (
        "plane",
        {"kind": "attributes", "attributes": ["component:99999999999", "component:0"]},
    ),
    "many frames": ("travel", {"waypoints": [Z, Z], "frames": 10**9}),
    "one waypoint": ("travel", {"waypoints": [Z]}),
    "many waypoints": ("travel", {"waypoints": [Z] * 17}),
    "many planners": ("travel", {"waypoints": [Z, Z], "planners": ["linear"] * 9}),
    "preserved nothing": ("sample", {"where": {"hat": "red"}}),
    "no sampler": ("sample", {"sampler": "../../etc/passwd"}),
    "fitted sampler": ("sample", {"sampler": "flow"}),
    "seed beyond": ("sample", {"seed": 2**63}),
    "width without place": ("sample", {"width": 0.5}),
    "negative": ("sample", {"n": -1}),
    "no share": ("project", {"start": Z, "share": 1.0}),
    "no direction to follow": ("traverse", {"start": Z, "attribute": Z, "by": 1.0}),
    "neither by nor to": ("traverse", {"start": Z, "attribute": "component:0"}),
    "long walk": ("random-walk", {"start": Z, "stride": 10**6}),
    "no format": ("export", {"points": [Z], "format": "../x"}),
    "flicker": ("export", {"points": [Z], "format": "gif", "seconds": 1e-9}),
    "not an image": ("encode", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "nothing": ("encode", b""),
    "cut off": ("encode", picture(64, 64)[:60]),
    "not what it says": ("encode", b"\x89PNG\r\n\x1a\n" + b"\0" * 500),
    "bomb": ("encode", png(40_000, 40_000, bytes(1_000_000))),
    "many keys": ("travel", b"{" + b",".join(b'"%d":0' % k for k in range(9_000)) + b"}"),
    "many keys of settings": (
        "travel",
        {"waypoints": [Z, Z], "options": {"walk": {str(k): 0 for k in range(1_001)}}},
    ),
    "other places": ("membership", {"codes": [[*Z, 0.0]]}),
    "many rows": ("decode", {"codes": [[0]] * 50_000}),
    "many empty rows": ("decode", b'{"codes": [' + b"[]" * 50_000 + b"]}"),
    "deep objects": ("travel", b'{"options":' * 5_000),
    "as deep as may be": ("decode", b"[" * 2_000 + b"]" * 2_000),
    "one pixel wide": ("encode", png(1, 50_000_000)),
    "a chequered thread": ("encode", png(50_000_000, 1)),
    "JPEG 2000": ("encode", picture(8, 8, "JPEG2000")),
    "AVIF": ("encode", picture(8, 8, "AVIF")),
    "tables over tables": ("encode", tables_over_tables()),
    "postscript": ("encode", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_bodies_get_one_sentence(client: TestClient, name: str) -> None:
    address, body = BODIES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(
        f"/api/{address}", content=content, headers={"content-type": "application/json"}
    )
    assert 400 <= answer.status_code < 500, answer.text
    sentence = answer.json()["detail"]
    assert 0 < len(sentence) < 700
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert client.get("/api/atlas").status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fpyproject.toml",
        "/static/../app.py",
        "/%00",
        "/api/thumbnails?indices=../../etc/passwd",
        "/api/thumbnails?indices=-1",
        "/api/thumbnails?indices=600",
        "/api/thumbnails?indices=" + ",".join(["0"] * 257),
        "/api/thumbnails?indices=1&size=100000",
        "/api/thumbnails?indices=%D9%A3",
        "/api/thumbnails?indices=" + "9" * 3_999,
        "/api/codes?part=../train",
        "/api/codes?offset=-1",
        "/api/codes?count=100001",
        "/api/codes?fields=means;means",
        "/api/progress?since=99999999999999999999",
        "/api/nothing",
    ],
)
def test_bad_addresses_reach_nothing(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert 400 <= answer.status_code < 500
    assert "root:" not in answer.text
    assert answer.json()["detail"]


def test_other_methods_are_refused(client: TestClient) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        answer = client.request(method, "/api/plane")
        assert answer.status_code == 405
        assert answer.json()["detail"] == "this address takes POST and no other requests"
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("address", ["/api/nothing", "/nothing"])
def test_an_unknown_address_is_not_found_by_any_method(
    client: TestClient, method: str, address: str
) -> None:
    answer = client.request(method, address)
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there is nothing at this address",
    )


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (b'{"codes": [[0, 0, 0]]}', "text/plain", "content-type: application/json; its .* text/plain"),
        (b'{"codes": [[0, 0, 0]]}', "", "application/json; its content-type is none"),
        (b'{"co', "application/json", "the request is no JSON: Unterminated string starting, at"),
        (b'{"a": 1, "b": 2}', "application/json", "codes is missing; send it; also wrong: a, b$"),
        (b'{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}', "application/json", "wrong: a, b, c, d, e and 1 more$"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_what_one_is(
    client: TestClient, content: bytes, kind: str, sentence: str
) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = client.post("/api/decode", content=content, headers=headers)
    assert answer.status_code == 422
    assert re.search(sentence, answer.json()["detail"])


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(client: TestClient) -> None:
    large = bytes(LIMITS.bytes + 1)
    for address in ("encode", "decode"):
        for content in (large, (large[at : at + 9_999] for at in range(0, len(large), 9_999))):
            answer = client.post(f"/api/{address}", content=content)
            assert answer.status_code == 413
            assert "send less" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_pictures_of_usual_kinds_and_odd_shapes_are_taken(client: TestClient, kind: str) -> None:
    for shape in ((1, 1), (1, 300), (300, 1)):
        assert client.post("/api/encode", content=picture(*shape, kind)).status_code == 200


def test_the_formats_that_are_taken_are_said(client: TestClient) -> None:
    answer = client.post("/api/encode", content=picture(8, 8, "JPEG2000"))
    assert "BMP, GIF, JPEG, PNG, TIFF, WEBP" in answer.json()["detail"]


def test_a_body_may_have_as_many_values_as_the_codes_of_a_request(client: TestClient) -> None:
    for count, status in ((1_024, 200), (1_400, 413)):
        answer = client.post("/api/decode", json={"codes": [Z] * count})
        assert answer.status_code == status, answer.text


def test_two_hosts_are_refused(client: TestClient) -> None:
    hosts = [("host", "127.0.0.1"), ("host", "evil.example")]
    assert client.get("/api/atlas", headers=hosts).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8765"}, 421),
        ({"host": "[::1"}, 421),
        ({"host": ""}, 421),
        ({"host": "evil.example@localhost"}, 421),
        ({"host": "localhost:80:90"}, 421),
        ({"host": "localhost:x"}, 421),
        ({"host": "localhost/evil.example"}, 421),
        ({"host": "localhost evil.example"}, 421),
        ({"host": "localhost."}, 200),
        ({"host": "localhost:8765"}, 200),
        ({"host": "LOCALHOST:8765"}, 200),
        ({"host": "[::1]:8765"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "127.0.0.1:8765"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://127.0.0.1:8765"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_who_may_ask(client: TestClient, headers: dict[str, str], status: int) -> None:
    answer = client.get("/api/atlas", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_websockets_are_refused(client: TestClient) -> None:
    with (
        pytest.raises(Exception, match=r"^$|1008|403") as refused,
        client.websocket_connect("/api/atlas"),
    ):
        pass
    assert type(refused.value).__name__ in ("WebSocketDisconnect", "WebSocketDenialResponse")


def test_the_token_is_asked_for_everywhere_and_exchanged_once() -> None:
    with client_of(tiny_atlas(), token="s3cret", address="0.0.0.0") as client:
        for address in ("/", "/api/atlas", "/api/openapi.json", "/nothing"):
            assert client.get(address).status_code == 401
            for wrong in ("Bearer s3cre", "Basic s3cret", "Bearer ", "Bearer \xe9", "s3cret"):
                given = {"authorization": wrong.encode("latin-1")}
                assert client.get(address, headers=given).status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        assert client.get("/?token=%ff%00").status_code == 401
        assert client.get("/api/atlas?token=s3cret").status_code == 401
        assert client.post("/?token=s3cret").status_code == 401
        assert (
            client.get("/api/atlas", headers={"cookie": "latent-atlas=s3cret; ;=;\x7f"}).status_code
            == 401
        )
        assert (
            client.get("/api/atlas", headers={"authorization": "Bearer s3cret"}).status_code == 200
        )
        given = client.get("/?token=s3cret&plane=a")
        assert given.status_code == 200
        assert "s3cret" not in given.text
        assert "plane=a" in given.text
        cookie = given.headers["set-cookie"].lower()
        assert "samesite=strict" in cookie
        assert "httponly" in cookie
        assert (
            client.get("/api/atlas").status_code == 200
        )  # the client keeps the cookie, as browsers do
