"""A server on loopback that answers what huggingface_hub asks of the Hugging Face hub for models."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

__all__ = ["Hub", "hub"]


@dataclass
class Hub:
    """The repositories of a server: of each, the files by commit, the newest last."""

    url: str = ""
    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add files to the newest commit of a repository, and return the name of the next one."""
        kept = self.commits.setdefault(repository, {})
        newest = next(reversed(kept.values()), {})
        name = hashlib.sha1(f"{repository} {len(kept)}".encode()).hexdigest()
        kept[name] = newest | files
        return name

    def found(self, repository: str, revision: str) -> str | None:
        """The commit of a revision."""
        kept = self.commits[repository]
        return next(reversed(kept), None) if revision == "main" else revision * (revision in kept)


class Handler(BaseHTTPRequestHandler):
    """The endpoints that creating, uploading and downloading need."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, code: int, content: Any = b"", headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, kind: str) -> None:
        self.answer(404, {"error": kind}, {"X-Error-Code": kind, "X-Error-Message": kind})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.asked.append(f"POST {path}")
        if path == "/api/validate-yaml":
            front = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.DOTALL)
            assert front is not None
            assert isinstance(yaml.safe_load(front[1]), dict)
            return self.answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.commits.setdefault(name, {})
            self.hub.private.setdefault(name, asked["visibility"] == "private")
            return self.answer(200, {"url": f"{self.hub.url}/{name}"})
        _, _, _, owner, name, verb, _ = path.split("/")
        if verb == "preupload":
            files = json.loads(body)["files"]
            told = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return self.answer(200, {"files": [{"path": one["path"]} | told for one in files]})
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        oid = self.hub.commit(f"{owner}/{name}", files)
        url = f"{self.hub.url}/{owner}/{name}/commit/{oid}"
        return self.answer(200, {"commitUrl": url, "commitOid": oid, "pullRequestUrl": None})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        of_api = path.startswith("/api/models/")
        owner, name, *rest = path.removeprefix("/api/models").split("/")[1:]
        repository = f"{owner}/{name}"
        if repository not in self.hub.commits:
            return self.refuse("RepoNotFound")
        if not rest:
            about = {"id": repository, "private": self.hub.private[repository], "siblings": []}
            return self.answer(200, about)
        verb, revision, *rest = rest
        commit = self.hub.found(repository, revision)
        if not commit:
            return self.refuse("RevisionNotFound")
        files = self.hub.commits[repository][commit]
        if of_api and verb == "revision":
            return self.answer(200, {"id": repository, "sha": commit, "siblings": []})
        if of_api and verb == "tree":
            entries = [
                {"type": "file", "path": one, "size": len(content), "oid": hash_of(content)}
                for one, content in files.items()
            ]
            return self.answer(200, entries)
        wanted = "/".join(rest)
        if wanted not in files:
            return self.refuse("EntryNotFound")
        tag = {"ETag": f'"{hash_of(files[wanted])}"', "X-Repo-Commit": commit}
        return self.answer(200, files[wanted], tag)


def hash_of(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without repositories, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    known = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": known}))
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    # These are read from HF_ENDPOINT and HF_HOME when the package is imported.
    monkeypatch.setattr(constants, "ENDPOINT", known.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        known.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "a token of the test")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
