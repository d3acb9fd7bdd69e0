"""The explorer in a real browser: the whole story, by pointer and by keys, and what may go wrong on the way."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import IN_BROWSER, ROOT, Served, Visits, driver, until_idle

playwright = driver()
expect, Page = playwright.expect, playwright.Page
pytestmark = IN_BROWSER

DROP = """async ([selector, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true });
    document.querySelector(selector).dispatchEvent(event);
  }
}"""


def press_map(page: Page, x: float, y: float) -> None:
    """Click the map at a share of its width and height."""
    box = page.locator(".map").bounding_box()
    assert box
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def set_two(page: Page) -> None:
    """Set A and B, and wait for the paths."""
    until_idle(page)
    press_map(page, 0.36, 0.5)
    expect(page.locator(".waypoints li")).to_have_count(1)
    press_map(page, 0.64, 0.46)
    expect(page.locator(".waypoints li")).to_have_count(2)
    expect(page.locator(".strip")).to_have_count(3)
    until_idle(page)


def state(page: Page) -> dict:
    """What the page holds, as the address does."""
    return json.loads(page.evaluate("JSON.stringify(atlas.app.store.state)"))


def a_photo() -> bytes:
    """A red disc on white."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    image = np.where((x**2 + y**2 < 0.3)[..., None], np.array([220, 40, 30]), 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_the_story(visits: Visits) -> None:
    page = visits.open()
    expect(page).to_have_title("demo · Latent Atlas")
    expect(page.locator(".hint")).to_contain_text("set A")
    set_two(page)
    expect(page.locator(".hint")).to_be_hidden()
    for name in ("linear", "typical", "geodesic"):
        expect(page.locator(f'.strip[data-row="{name}"] .frame')).to_have_count(17)
        expect(page.locator(f'.strip[data-row="{name}"] canvas')).to_have_count(17)

    page.locator(".scrub").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".player .lead")).to_contain_text("frame 2 of 17")

    page.get_by_role("checkbox", name="slerp").check()
    expect(page.locator(".strip")).to_have_count(4)
    page.get_by_role("checkbox", name="typical").uncheck()
    expect(page.locator(".strip")).to_have_count(3)
    until_idle(page)

    page.evaluate(DROP, [".map", list(a_photo())])
    expect(page.locator(".waypoints li")).to_have_count(3)
    expect(page.locator(".portrait")).to_contain_text("its reconstruction")
    expect(page.locator(".portrait dl")).to_contain_text("anomaly score")
    until_idle(page)

    before = state(page)
    expect(page).to_have_url(re.compile("#.*waypoints="))
    page.wait_for_url(lambda url: "slerp" in url and "chosen=2" in url)
    page.reload()
    until_idle(page)
    expect(page.locator(".strip")).to_have_count(3)
    after = state(page)
    np.testing.assert_allclose(after.pop("waypoints"), before.pop("waypoints"), atol=1e-6)
    assert after == before

    page.locator(".waypoints li").nth(2).get_by_role("button", name="Remove waypoint C").click()
    expect(page.locator(".waypoints li")).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".waypoints li")).to_have_count(3)
    page.get_by_role("button", name="Redo").click()
    expect(page.locator(".waypoints li")).to_have_count(2)


def test_a_path_is_saved(visits: Visits, tmp_path: Path) -> None:
    page = visits.open()
    set_two(page)
    for kind, begins in {
        "gif": b"GIF89a",
        "png": b"\x89PNG",
        "npz": b"PK",
        "json": b"{",
        "mp4": b"\0\0\0",
    }.items():
        page.locator(".export select").nth(1).select_option(kind)
        with page.expect_download() as saved:
            page.get_by_role("button", name="Export").click()
        file = tmp_path / saved.value.suggested_filename
        saved.value.save_as(file)
        assert file.suffix == f".{kind}"
        assert file.read_bytes().startswith(begins)
    expect(page.locator(".message.news")).to_contain_text("Saved geodesic")


def test_by_keys_alone(visits: Visits) -> None:
    page = visits.until_idle()
    press = page.keyboard.press
    for _ in range(30):
        press("Tab")
        if page.evaluate("document.activeElement.className") == "map":
            break
    expect(page.locator(".map")).to_be_focused()
    for _ in range(3):
        press("Shift+ArrowLeft")
    press("Enter")
    for _ in range(6):
        press("Shift+ArrowRight")
    press("Enter")
    expect(page.locator(".waypoints li")).to_have_count(2)
    until_idle(page)
    press("]")
    expect(page.locator(".player .lead")).to_contain_text("frame 2 of 17")
    press("2")
    expect(page.get_by_role("button", name="Confusion")).to_have_attribute("aria-pressed", "true")
    press("+")
    press("Tab")
    expect(page.get_by_role("button", name=re.compile("^Waypoint A,"))).to_be_focused()
    before = state(page)["waypoints"]
    press("Shift+ArrowUp")
    assert state(page)["waypoints"][0] != before[0]
    press("Tab")
    press("Delete")
    expect(page.locator(".waypoints li")).to_have_count(1)
    press("Control+z")
    press("Control+z")
    expect(page.locator(".waypoints li")).to_have_count(2)
    np.testing.assert_allclose(state(page)["waypoints"], before)
    theme = page.evaluate("document.documentElement.dataset.theme")
    press("t")
    assert page.evaluate("document.documentElement.dataset.theme") != theme
    press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_is_accessible(visits: Visits, scheme: str) -> None:
    page = visits.open(color_scheme=scheme)
    set_two(page)
    for name in ("New images", "Overview"):
        page.locator("details:not([open]) summary", has_text=name).click()
    page.locator(".strip .frame").nth(3).click()
    expect(page.locator(".neighbours li")).to_have_count(8)
    expect(page.locator(".overview h4")).to_have_count(2)
    page.evaluate((ROOT / "web/node_modules/axe-core/axe.min.js").read_text())
    look = "async () => (await axe.run()).violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html.slice(0, 120))])"
    assert page.evaluate(look) == []
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate(look) == []


def test_the_server_goes_away_and_returns(visits: Visits, served: Served) -> None:
    page = visits.open()
    set_two(page)
    served.stop()
    press_map(page, 0.5, 0.3)
    banner = page.locator(".banner")
    expect(banner).to_contain_text("The server does not answer")
    served.start()
    expect(banner).to_be_hidden()  # it asks again by itself
    until_idle(page)
    expect(page.locator(".waypoints li")).to_have_count(3)
    expect(page.locator(".strip .frame").first).to_be_visible()
    assert all("ERR_CONNECTION_REFUSED" in line for line in visits.complaints), visits.complaints
    visits.complaints.clear()


def test_two_tabs_are_two_places(visits: Visits) -> None:
    first = visits.open()
    second = visits.tab()
    set_two(first)
    until_idle(second)
    expect(second.locator(".waypoints li")).to_have_count(0)
    first.wait_for_url(re.compile("#.*waypoints="))
    second.goto(first.url)
    expect(second.locator(".waypoints li")).to_have_count(2)
    until_idle(second)
    assert state(second)["waypoints"] == state(first)["waypoints"]


def test_at_phone_width(visits: Visits) -> None:
    page = visits.until_idle(
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
    )
    box = page.locator(".map").bounding_box()
    assert box
    for x, y in ((0.3, 0.5), (0.7, 0.45)):
        page.touchscreen.tap(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(page.locator(".waypoints li")).to_have_count(2)
    until_idle(page)
    expect(page.locator(".strip .frame").first).to_be_visible()
    page.locator("summary", has_text="Overview").tap()
    expect(page.locator(".overview .gallery li")).to_have_count(32)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_webgl(visits: Visits) -> None:
    blind = """const get = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
      return kind === "webgl2" ? null : get.call(this, kind, ...more);
    };"""
    page = visits.open(script=blind)
    expect(page.locator(".map .missing")).to_contain_text("has no WebGL 2")
    set_two(page)
    expect(page.locator(".strip .frame").first).to_be_visible()


def test_in_korean_until_the_switch_says_otherwise(visits: Visits) -> None:
    page = visits.open(locale="ko-KR", viewport={"width": 390, "height": 844})
    set_two(page)
    assert page.evaluate("document.documentElement.lang") == "ko"
    expect(page.locator(".strip .words").first).to_have_text(re.compile("직선\\s길이의\\s1.00배"))
    page.evaluate(DROP, [".map", list(b"no image")])
    expect(page.locator(".message.trouble")).to_contain_text("사용할 수 없는 이미지입니다")
    visits.complaints.pop()  # of the refused photo
    page.locator("summary", has_text="개요").click()
    expect(page.locator(".overview .note").first).to_contain_text("−log q, 단위 nat. 값이 클수록")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before = state(page)["waypoints"]
    page.wait_for_url(re.compile("#.*waypoints="))
    page.get_by_role("button", name="English").click()
    expect(page.locator(".strip .words").first).to_have_text(re.compile("1.00\\s×\\sstraight"))
    page.reload()
    expect(page.get_by_role("button", name="한국어")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "en"
    assert state(page)["waypoints"] == before
    until_idle(page)
