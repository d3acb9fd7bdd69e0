"""A real browser, and a page served to it; brought into the tests by conftest.py."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI
    from playwright.sync_api import Browser, BrowserContext, Page

    from latent_atlas.atlas import Atlas

__all__ = ["IN_BROWSER", "Served", "Visits", "at_rest", "driver"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "src/latent_atlas/web/static/index.html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
PATIENCE = 20_000  # milliseconds for one condition: tests run beside others
MAP_STEPS = 60  # enough for a landscape with an edge
IN_BROWSER = pytest.mark.browser
"""The mark of a module whose every test opens the page."""


def driver() -> ModuleType:
    """Playwright's API; a module that asks for it is skipped where it is not installed."""
    return pytest.importorskip("playwright.sync_api", reason="the explorer is tested with playwright")


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where REQUIRE_BROWSER says that browser tests have to run."""
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1, and {what}")
    pytest.skip(what)


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """Headless Chromium, drawing in software; ended with the module, since it keeps an event loop in this thread."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing("there is no Chromium on this machine; install the package chromium")
    if not PAGE.exists():
        missing("the page is not built; make page builds it")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield browser
        browser.close()


class Served:
    """An application on a port of its own, which can be stopped and started again."""

    def __init__(self, make: "Callable[[], FastAPI]") -> None:
        self.make = make
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Listen, at the same port as before."""
        import uvicorn

        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen()  # from here on a visitor waits rather than being refused
        self.port = listening.getsockname()[1]
        settings = uvicorn.Config(self.make(), log_level="warning", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(settings)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Refuse visitors from now on."""
        self.server.should_exit = True
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="session")
def demo() -> "Atlas":
    """The synthetic atlas, its map learned for fewer steps."""
    from latent_atlas.web import demo_atlas

    return demo_atlas(steps=MAP_STEPS)


@pytest.fixture(scope="module")
def served(demo: "Atlas") -> Iterator[Served]:
    """The explorer of the synthetic atlas."""
    from latent_atlas.web import make_app

    explorer = Served(lambda: make_app(demo, demo=True))
    yield explorer
    explorer.stop()


@dataclass
class Visits:
    """Pages of a browser, and what they wrote into their consoles."""

    browser: "Browser"
    url: str
    complaints: list[str] = field(default_factory=list)
    contexts: "list[BrowserContext]" = field(default_factory=list)

    def open(self, address: str = "", *, script: str | None = None, **context: object) -> "Page":
        """A fresh visitor's page, with what a browser context can be told; `script` runs before the page's own."""
        settings = {"viewport": {"width": 1200, "height": 760}, "color_scheme": "dark", **context}
        self.contexts.append(self.browser.new_context(**settings))  # type: ignore[arg-type]
        self.contexts[-1].set_default_timeout(PATIENCE)
        if script:
            self.contexts[-1].add_init_script(script)
        return self.tab(address)

    def at_rest(self, address: str = "", **context: object) -> "Page":
        """The same, once it is at rest."""
        page = self.open(address, **context)
        at_rest(page)
        return page

    def tab(self, address: str = "") -> "Page":
        """Another page of the last visitor."""
        page = self.contexts[-1].new_page()
        page.on(
            "console", lambda line: self.complaints.append(line.text) if line.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address or self.url)
        return page


@pytest.fixture
def visits(chromium: "Browser", served: Served) -> Iterator[Visits]:
    """Visits of the explorer; a page that complains in its console fails the test."""
    visits = Visits(chromium, served.url)
    yield visits
    for context in visits.contexts:
        context.close()
    assert visits.complaints == []


def at_rest(page: "Page") -> None:
    """Wait until the landscape is fine and every journey planned."""
    from playwright.sync_api import expect

    expect(page.locator(".stage")).to_have_attribute("aria-busy", "false")
    expect(page.locator(".strip[aria-busy=true]")).to_have_count(0)
