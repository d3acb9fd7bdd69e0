"""What the explorer's page can do from a code, every view of it, and a run that is still training.

EXPLORER_PICTURES=FOLDER keeps a picture of every view there, to be looked at.
"""

import io
import json
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from PIL import Image

from browser import IN_BROWSER, ROOT, Served, Visits, driver, until_idle

if TYPE_CHECKING:
    from latent_atlas.atlas.atlas import Atlas

playwright = driver()
expect, Page = playwright.expect, playwright.Page
pytestmark = IN_BROWSER

# Codes of the synthetic atlas: circles of opposite colours, and a code of no image.
ONE, OTHER, NOWHERE = (
    [-1.7, 0.0, 0.0, 0.0, 0.0, 0.0],
    [1.7, 0.0, 0.0, 0.0, 0.0, 0.0],
    [5.0, 5.0, 0.0, 0.0, 0.0, 0.0],
)
MEMBERSHIP_PARTS = ["log-density", "log-density with noise 0.4", "distance from the mean"]
THROUGH = {"kind": "through", "codes": [ONE, OTHER, [0.0, 1.7, 0.0, 0.0, 0.0, 0.0]]}
VIEWS = {
    "first": {},
    "path": {"waypoints": [ONE, OTHER], "plane": THROUGH, "frame": 0.4},
    "confusion": {"view": "confusion", "points": "label"},
    "realness": {"view": "realness", "arrows": True, "points": "none", "plane": THROUGH},
    "energy": {"view": "energy", "points": "typicality", "level": 3},
    "near": {"window": {"left": -1, "right": 1, "bottom": -1, "top": 1}},
    "attributes": {
        "plane": {"kind": "attributes", "attributes": ["star", "component:0"]},
        "waypoints": [ONE, OTHER],
    },
}
ICON = '<link rel="icon" href="data:,">'  # so that the browser asks for none


def hashed(url: str, state: dict) -> str:
    """The address of a state."""
    return f"{url}#{urlencode({key: json.dumps(value) for key, value in state.items()})}"


def waypoints(page: Page) -> np.ndarray:
    """The codes of the waypoints."""
    return np.array(page.evaluate("atlas.app.store.state.waypoints"))


def log_density(page: Page) -> float:
    """log q of the selected code, as the page shows it."""
    return float(page.locator(".portrait dd").first.inner_text().split()[0].replace("−", "-"))


def keep(page: Page, name: str) -> np.ndarray:
    """The page as pixels, kept where EXPLORER_PICTURES says."""
    picture = page.screenshot()
    if folder := os.environ.get("EXPLORER_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(picture)
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def drawn(canvas: playwright.Locator) -> np.ndarray:
    """A canvas as pixels, once there is something on it."""
    for _ in range(30):
        pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"))
        if len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20:
            return pixels
    pytest.fail("the canvas stays blank")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_view_is_drawn(visits: Visits, scheme: str) -> None:
    page = visits.until_idle(color_scheme=scheme)
    for name, state in VIEWS.items():
        page.goto("about:blank")
        page.goto(hashed(visits.url, state))
        until_idle(page)
        if name == "near":
            expect(page.locator(".map[data-pictures]")).to_be_visible()  # of real codes, decoded
        pixels = keep(page, f"{name}-{scheme}")
        for _ in range(30):  # until the frame is there that is asked for
            if len(np.unique(pixels[100:300, 400:700].reshape(-1, 3), axis=0)) > 50:
                break
            pixels = keep(page, f"{name}-{scheme}")
        else:
            pytest.fail(f"the view '{name}' stays blank")
        header = np.median(pixels[:40])
        assert header < 60 if scheme == "dark" else header > 200
    page.keyboard.press("?")
    keep(page, f"help-{scheme}")


def test_from_a_place(visits: Visits) -> None:
    page = visits.until_idle(hashed(visits.url, {"waypoints": [NOWHERE], "plane": THROUGH}))
    expect(page.locator(".portrait dd.off-manifold")).to_have_count(1)
    expect(page.locator(".membership p.unlike")).to_contain_text("unlike real codes")
    expect(page.locator(".membership dt")).to_have_text(MEMBERSHIP_PARTS)

    before, start = log_density(page), waypoints(page)[0]
    page.locator(".map").focus()
    page.keyboard.down("u")
    expect(page.locator(".portrait dd.off-manifold")).to_have_count(0)
    page.keyboard.up("u")
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    assert log_density(page) > before + 1
    assert not np.allclose(waypoints(page)[0], start)
    page.keyboard.press("Control+z")
    np.testing.assert_allclose(
        waypoints(page)[0], start, atol=1e-6
    )  # the projection is one change to undo

    page.get_by_role("button", name="Random walk from here").click()
    expect(page.locator(".strip .frame")).to_have_count(17)
    page.locator(".traverse select").first.select_option("component:1")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.locator(".strip")).to_have_count(2)
    page.locator("summary", has_text="New images").click()
    page.get_by_role("button", name="Sample", exact=True).click()
    expect(page.locator(".frames.sheet .frame")).to_have_count(16)
    until_idle(page)
    keep(page, "from-a-place")
    page.locator(".frames.sheet .frame").nth(2).click()
    expect(page.locator(".portrait figcaption")).to_have_text("sample 3, decoded")
    page.get_by_role("button", name="Add as next waypoint").click()
    expect(page.locator(".waypoints li")).to_have_count(2)
    page.get_by_role("button", name="Close samples").click()
    expect(page.locator(".frames.sheet")).to_have_count(0)


def test_a_projection_begins_at_the_waypoint(visits: Visits, demo: "Atlas") -> None:
    means = demo.codes["held_out"].means
    typicality = demo.map.typicality(means)
    middling, typical = (
        means[(typicality - share).abs().argmin()].tolist() for share in (0.27, 0.7)
    )
    page = visits.until_idle(hashed(visits.url, {"waypoints": [middling, typical]}))
    shares = []
    page.on(
        "request",
        lambda asked: (
            asked.url.endswith("/project") and shares.append(asked.post_data_json["share"])
        ),
    )
    page.locator(".map").focus()
    page.keyboard.down("u")
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    page.keyboard.up("u")
    np.testing.assert_allclose(shares, [0.28, 0.32, 0.36, 0.4, 0.44, 0.48, 0.5][: len(shares)])
    assert shares
    page.locator(".waypoints li").nth(1).get_by_role("button").first.click()
    page.locator(".map").focus()
    asked = len(shares)
    page.keyboard.press("u", delay=300)
    expect(page.locator(".message.news")).to_contain_text("Waypoint B is typical already")
    assert len(shares) == asked


def test_paths_follow_a_waypoint_that_is_dragged(visits: Visits) -> None:
    page = visits.until_idle(hashed(visits.url, {"waypoints": [ONE, OTHER], "plane": THROUGH}))
    before = page.locator(".strip[data-row=linear] canvas").nth(8)
    grey = before.evaluate("canvas => canvas.toDataURL()")
    pin = page.get_by_role("button", name="Waypoint B,").locator(".disc").bounding_box()
    assert pin
    x, y = pin["x"] + pin["width"] / 2, pin["y"] + pin["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 60, steps=6)
    page.mouse.up()
    until_idle(page)
    assert not np.allclose(waypoints(page)[1], OTHER)
    assert (
        page.locator(".strip[data-row=linear] canvas")
        .nth(8)
        .evaluate("canvas => canvas.toDataURL()")
        != grey
    )
    page.get_by_role("button", name="Undo").click()
    np.testing.assert_allclose(waypoints(page)[1], OTHER, atol=1e-6)


def test_the_walk_says_how_far_from_b_it_ends(visits: Visits) -> None:
    state = {
        "waypoints": [ONE, OTHER],
        "planners": ["walk"],
        "walk": {"alpha": 0.3, "gamma": 0.01, "arrive": False},
    }
    page = visits.until_idle(hashed(visits.url, state))
    expect(page.locator(".walk .note")).to_contain_text("ends short of B")
    page.get_by_role("checkbox", name="Fade the push, to arrive at B").check()
    expect(page.locator(".walk .note")).to_have_text("It arrives at B.")


def test_what_cannot_be_kept_is_said_below_the_choice(visits: Visits, demo: "Atlas") -> None:
    means, labels = demo.codes["held_out"].means, demo.labels["held_out"]
    ends = [means[labels == kind][0].tolist() for kind in (0, 1)]
    page = visits.until_idle(hashed(visits.url, {"waypoints": ends, "planners": ["linear"]}))
    expect(page.locator(".doubts")).to_be_empty()
    page.get_by_role("combobox", name="Keep", exact=True).select_option("class")
    expect(page.locator(".doubts")).to_contain_text("the end differs from the start in 'class'")
    page.get_by_role("combobox", name="Keep", exact=True).select_option("")
    expect(page.locator(".doubts")).to_be_empty()


def test_an_example_path_lies_in_its_plane(visits: Visits) -> None:
    page = visits.until_idle()
    page.get_by_role("button", name="Show an example path").click()
    expect(page.locator(".pin")).to_have_count(2)
    expect(page.locator(".planes select").first).to_have_value("through")
    until_idle(page)
    expect(page.locator(".pin.off-plane")).to_have_count(0)


def test_an_image_of_the_overview_is_marked_where_it_lies(visits: Visits, demo: "Atlas") -> None:
    window = {"left": 3.0, "right": 4.0, "bottom": 3.0, "top": 4.0}  # without any code
    page = visits.until_idle(hashed(visits.url, {"window": window}))
    page.locator("summary", has_text="Overview").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".overview h4")).to_have_text(["rarest", "most typical"])
    means = demo.codes["held_out"].means
    for k, row in enumerate((demo.rarity().argmax(), demo.rarity().argmin())):
        page.locator(".overview .gallery").nth(k).get_by_role("button").first.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".portrait figcaption")).to_have_text(f"test:{row}, decoded")
        selected = page.evaluate("atlas.app.selection.value.code")
        np.testing.assert_allclose(selected, means[row], atol=1e-6)
        until_idle(page)
        ring = page.locator(".routes .selected")
        expect(ring).to_be_in_viewport()
        place = "[...atlas.app.chart.project(atlas.app.selection.value.code).place]"
        x, y = page.evaluate(f"atlas.map.camera().toPixels({place})")
        assert float(ring.get_attribute("cx")) == pytest.approx(x, abs=1)
        assert float(ring.get_attribute("cy")) == pytest.approx(y, abs=1)


def test_a_page_from_elsewhere_shows_it_in_a_frame_without_cookies(
    visits: Visits, demo: "Atlas"
) -> None:
    explorer = demo.show(height=700)
    notebook = FastAPI()
    notebook.get("/", response_class=HTMLResponse)(lambda: ICON + explorer._repr_html_())
    outer = Served(lambda: notebook)
    try:
        page = visits.open(outer.url.replace("127.0.0.1", "localhost"))
        frame = page.frame_locator("iframe")
        expect(frame.locator(".stage")).to_have_attribute("aria-busy", "false")
        drawn(frame.locator(".map canvas").first)
        assert page.context.cookies() == []
        assert keep(page, "in-a-notebook").std() > 20
    finally:
        outer.stop()
        explorer.close()


def test_a_refusal_is_one_sentence(visits: Visits) -> None:
    page = visits.until_idle()
    page.locator("input[type=file]").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": b"no image"}
    )
    expect(page.locator(".message.trouble")).to_contain_text("image")
    expect(page.locator(".waypoints li")).to_have_count(0)
    visits.complaints[:] = [line for line in visits.complaints if "400" not in line]


def test_a_run_in_training_shows_its_losses(visits: Visits) -> None:
    page = visits.open("about:blank")
    about = json.loads(page.request.get(f"{visits.url}api/atlas").text()) | {
        "training": True,
        "name": "photos",
    }
    log = [
        {"phase": "model", "step": k, "steps": 90, "kl": 9.0 / k, "reconstruction": 0.1}
        for k in range(1, 61)
    ]
    page.route("**/api/atlas", lambda route: route.fulfill(json=about))

    def tell(route: playwright.Route) -> None:
        records = log if route.request.url.endswith("=0") else []
        route.fulfill(
            json={
                "training": True,
                "records": records,
                "total": len(log),
                "picture": 7,
                "map": None,
            }
        )

    page.route("**/api/progress?since=*", tell)
    sheet = io.BytesIO()
    Image.new("RGB", (64, 32), (200, 90, 40)).save(sheet, "PNG")
    page.route(
        "**/api/progress/picture*",
        lambda route: route.fulfill(body=sheet.getvalue(), content_type="image/png"),
    )
    page.goto(visits.url)
    expect(page.locator(".training .note")).to_contain_text("step 60 of 90")
    expect(page.locator(".charts figure")).to_have_count(2)
    expect(page.locator(".charts figcaption").first).to_have_text("model: kl 0.150")
    expect(page.locator(".training .sheet")).to_be_visible()
    keep(page, "training")
    page.unroute("**/api/atlas")
    page.unroute("**/api/progress?since=*")
    page.locator(".map").wait_for()  # the run has finished: the page becomes its map


def test_a_map_grows_while_its_run_trains(visits: Visits, tmp_path: Path) -> None:
    from latent_atlas.explorer.server.app import make_app
    from server_run import begun, checkpointed, finish, mapping

    run = begun(tmp_path / "run", mode="online")
    watched = Served(lambda: make_app(run=run.path, device="cpu"))
    page = visits.open(watched.url)
    growing = page.locator(".growing canvas")
    expect(page.locator(".training .note")).to_contain_text("Nothing has been recorded yet")
    expect(growing).to_be_hidden()
    seen = []
    for step in (1_000, 2_000):
        checkpointed(run, step)
        run.log({"phase": "model", "step": step, "steps": 3_000, "kl": 1.0 / step})
        expect(growing).to_have_attribute(
            "aria-label", re.compile(f"20 held-out images after {step:,} steps")
        )
        expect(page.locator(".growing .classes li")).to_have_text(["even", "odd"])
        seen.append((growing.get_attribute("aria-label"), drawn(growing)))
    mapping(run)
    expect(growing).to_have_attribute(
        "aria-label", re.compile("D_z has learned so far, .* [0-9]+ % of it is above")
    )
    seen.append((growing.get_attribute("aria-label"), drawn(growing)))
    keep(page, "growing-dark")
    page.get_by_role("button", name="Light theme").click()
    light = drawn(growing)
    keep(page, "growing-light")
    assert np.median(light) > np.median(seen[-1][1]) + 60
    for (words, picture), (later, other) in pairwise(seen):
        assert words != later
        assert (picture != other).mean() > 0.02
    violations = "async () => (await axe.run()).violations.map((one) => [one.id, one.help])"
    page.evaluate((ROOT / "web/node_modules/axe-core/axe.min.js").read_text())
    assert page.evaluate(violations) == []
    finish(run)
    page.locator(".map").wait_for()
    page.close()  # or its next request complains of the server that is gone
    watched.stop()
