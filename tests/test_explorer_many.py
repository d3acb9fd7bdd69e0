"""The explorer's page for more codes than it shows: a sample of them, and a raster that counts all."""

import time
from collections.abc import Iterator

import pytest
import torch

from browser import IN_BROWSER, PATIENCE, Served, Visits, driver, until_idle
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.codes.posterior import Codes
from latent_atlas.explorer.server.app import make_app
from server_client import tiny_atlas

playwright = driver()
expect, Page = playwright.expect, playwright.Page
pytestmark = IN_BROWSER

MANY, SHOWN, FIRST = 210_000, 200_000, 50_000


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The explorer of two clusters with many codes."""
    tiny = tiny_atlas()
    labels = torch.arange(MANY) % 2
    means = 0.4 * torch.randn(MANY, 3, generator=torch.Generator().manual_seed(0))
    means[:, 0] += torch.where(labels == 1, 1.2, -1.2)
    atlas = Atlas(
        tiny.model,
        tiny.map,
        {"train": Codes(means), "held_out": tiny.codes["held_out"]},
        tiny.config,
        labels={"train": labels, "held_out": tiny.labels["held_out"]},
        label_names=tiny.label_names,
    )
    explorer = Served(lambda: make_app(atlas))
    yield explorer
    explorer.stop()


def until(page: Page, condition: str) -> None:
    """Wait for a condition; the page's policy keeps Playwright from waiting within it."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(100)


def test_all_codes_are_dust_and_a_sample_is_there_to_be_clicked(visits: Visits) -> None:
    page = visits.until_idle()
    expect(page.locator("body")).to_contain_text(f"{SHOWN:,} of {MANY:,} images")
    until(page, "atlas.app.cloud.raster.value !== null")
    cloud = "atlas.app.cloud"
    assert page.evaluate(f"{cloud}.raster.value.total") == MANY
    counted = page.evaluate(f"{cloud}.raster.value.counts.reduce((sum, one) => sum + one, 0)")
    assert counted == pytest.approx(MANY, rel=0.05)  # square roots, rounded up
    placed = f"{cloud}.codes.value.places.length / 2"
    assert page.evaluate(placed) == FIRST
    sent = """performance.getEntriesByType("resource")
        .filter(({ name }) => /plane|points|raster/.test(name))
        .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""
    assert 100_000 < page.evaluate(sent) < 1_000_000
    # Colours are those of single codes: all that are shown are fetched.
    page.evaluate('atlas.app.store.look({ points: "label" })')
    until(page, f"{placed} === {SHOWN}")
    until(page, f'{cloud}.facts.value.get("train").known === {SHOWN}')
    labels = page.evaluate(
        f'{cloud}.facts.value.get("train").labels.reduce((sum, one) => sum + one, 0)'
    )
    assert labels == pytest.approx(SHOWN / 2, rel=0.01)
    # Another window is counted anew.
    page.evaluate(
        'atlas.app.store.look({ points: "plain", window: { left: 0, right: 2, bottom: -1, top: 1 } })'
    )
    until_idle(page)
    until(page, f"{cloud}.raster.value.window.left > -1")
