"""Response times of the explorer: the first view, a plane, a click, and a frame with very many points.

Claim: on two CPU cores without a graphics card, the first view of a run appears in 2 s and a plane of 256 x 256 pixels
in 0.6 s. All frames of a straight line and of a geodesic appear 0.5 s after the click that sets their end. A frame takes
80 ms with 100,000 points, dragged or drawn anew, and 0.6 s with 1,000,000. The baseline for the frames is one call of
gl.POINTS, the usual way to draw points.

"Route drawn" is when a path's line is on the map, and "all frames shown" when its whole film strip is on the screen.
Both count from the second click on an idle page. "Drawn anew" is the time to draw the map and its points once nothing
is pending; the margin around the view, for the next drag, is drawn after that and is not counted.

    make page                                                 # the page has to be built
    python benchmarks/explorer.py                             # the synthetic atlas, about a minute
    python benchmarks/explorer.py runs/photos --repeats 9
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from record import record

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOFTWARE = ("--no-sandbox", "--disable-quic", "--disable-background-networking")
SOFTWARE += ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WINDOW = {"width": 1440, "height": 900}
POINTS = (100_000, 1_000_000)

UNTIL = (
    "const until = async (done) => { while (!done()) await new Promise(requestAnimationFrame); };"
)
AT_REST = "document.querySelector('.stage')?.getAttribute('aria-busy') === 'false'"

# Milliseconds since the page was asked for: until something is seen, and until it is fine.
FIRST_VIEW = f"""async () => {{ {UNTIL}
  await until(() => window.atlas?.app.chart.plane.value);
  const coarse = performance.now();
  await until(() => {AT_REST});
  return [coarse, performance.now()];
}}"""

# A window that has not been asked for yet, and its answer read to the last number.
PLANE = """async (k) => {
  const { app, map } = window.atlas;
  const { left, right, bottom, top } = map.view();
  const window_ = { left: left + 0.01 * k, right: right + 0.01 * k, bottom, top };
  const request = { plane: { kind: "principal" }, window: window_, level: 0, resolution: 256, arrows: 0 };
  const begun = performance.now();
  await app.backend.plane(request);
  return performance.now() - begun;
}"""

# Half a second in which nothing is asked for or drawn: what was asked for before the click is no part of its cost.
REST = f"""async () => {{ {UNTIL}
  await until(() => {AT_REST});
  await new Promise((resolve) => setTimeout(resolve, 500));
}}"""

# From the click to the routes and to the strips, by planner; called before the click. A time is that of the frame after
# the one that draws: by then it is on the screen.
PATHS = f"""() => {{ {UNTIL}
  const begun = new Promise((resolve) => {{
    addEventListener("pointerup", () => resolve(performance.now()), {{ once: true, capture: true }});
  }});
  window.timed = begun.then(async (from) => {{
    await until(() => window.atlas.app.store.state.stops.length > 1);
    const rows = () => window.atlas.app.paths.rows.value;
    const row = (id) => rows().find((row) => row.id === id);
    const strip = (id) => document.querySelector(`.strip[data-row="${{id}}"]`);
    const routed = (id) => document.querySelector(`.route[data-row="${{id}}"]:not(.pending)`);
    const planned = (id) => row(id).film && !row(id).pending;
    const shown = (id) => strip(id).querySelectorAll("canvas").length;
    const filmed = (id) => planned(id) && shown(id) === row(id).film.points.length;
    const time = async (done) => {{
      await until(done);
      await new Promise(requestAnimationFrame);
      return performance.now() - from;
    }};
    const both = (id) => Promise.all([time(() => routed(id)), time(() => filmed(id))]);
    return Object.fromEntries(await Promise.all(rows().map(async ({{ id }}) => [id, await both(id)])));
  }});
}}"""

# Frames of a drag, and frames drawn anew, of n normally distributed points of one colour, as by default.
FRAMES = """([n, repeats]) => {
  const { scene } = window.atlas.map, view = window.atlas.map.view();
  const side = (view.right - view.left) / 6;
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const middle = [(view.left + view.right) / 2, (view.bottom + view.top) / 2];
  const places = Float32Array.from({ length: 2 * n }, (_, k) => middle[k % 2] + side * normal());
  scene.scatter(places, new Uint8Array(4 * n).fill(120));
  scene.time();
  const step = 0.002 * (view.right - view.left);
  const moved = (k) => ({ ...view, left: view.left + step * k, right: view.right + step * k });
  const times = (anew) => Array.from({ length: repeats }, (_, k) => scene.time(moved(k + 1), anew));
  return [times(false), times(true)];
}"""

# The baseline: the same number of points by one call, on a canvas of the same size.
PLAIN_POINTS = """([n, repeats]) => {
  const { width, height } = document.querySelector("canvas.field");
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const gl = canvas.getContext("webgl2", { antialias: false });
  const program = gl.createProgram();
  const place = `in vec2 xy;
    uniform float moved;
    void main() { gl_Position = vec4(xy.x + moved, xy.y, 0, 1); gl_PointSize = 3.0; }`;
  const paint = "precision highp float; out vec4 colour; void main() { colour = vec4(1, 1, 1, 0.3); }";
  for (const [kind, source] of [[gl.VERTEX_SHADER, place], [gl.FRAGMENT_SHADER, paint]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, "#version 300 es\\n" + source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from({ length: 2 * n }, () => 0.33 * normal()), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  const draw = (k) => {
    const begun = performance.now();
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform1f(gl.getUniformLocation(program, "moved"), 0.002 * k);
    gl.drawArrays(gl.POINTS, 0, n);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    return performance.now() - begun;
  };
  draw(0);
  return Array.from({ length: repeats }, (_, k) => draw(k + 1));
}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", help="run folder (default: the synthetic atlas)")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS))
    given = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit("there is no Chromium on this machine; install the package chromium")
    with serving(given.run) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*SOFTWARE])
        results = measured(browser, url, given.repeats, given.points)
        version = browser.version
        browser.close()
    record("explorer", results, chromium=version, window=WINDOW, **vars(given))


@contextmanager
def serving(run: str | None) -> Iterator[str]:
    """The address of a server in a process of its own, as users have it."""
    command = [sys.executable, "-m", "latent_atlas", "serve", *([run] if run else ["--demo"])]
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-browser", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        told = ""
        while "}" not in told:
            line = process.stdout.readline()
            if not line:
                sys.exit("the server ended before it said where it is")
            told += line
        yield json.loads(told)["url"]
    finally:
        process.terminate()
        process.wait(timeout=20)


def measured(browser: Browser, url: str, repeats: int, points: list[int]) -> dict[str, object]:
    """All latencies as medians, in seconds and milliseconds."""
    first_ms, fine_ms = zip(*(first_view(browser, url) for _ in range(repeats)), strict=True)
    page = opened(browser, url)
    atlas = page.evaluate("window.atlas.app.about")
    plane = [page.evaluate(PLANE, k + 1) for k in range(repeats)]
    paths = [clicked(page, k) for k in range(repeats)]
    page.evaluate("window.atlas.app.store.change({ stops: [], extras: [] })")
    page.evaluate(REST)
    return {
        "atlas": {"name": atlas["name"], "dimension": atlas["dimension"], "image": atlas["image"]},
        "first view, s": {"coarse": seconds(first_ms), "fine": seconds(fine_ms)},
        "plane 256 x 256, s": seconds(plane),
        "click to route drawn, s": {
            name: seconds([times[name][0] for times in paths]) for name in paths[0]
        },
        "click to all frames shown, s": {
            name: seconds([times[name][1] for times in paths]) for name in paths[0]
        },
        "frame, ms": {f"{n:,} points": frames(page, n, repeats) for n in points},
    }


def first_view(browser: Browser, url: str) -> list[float]:
    """Milliseconds until a new visitor sees the landscape, coarse and fine."""
    page = browser.new_context(viewport=WINDOW).new_page()
    page.goto(url, wait_until="commit")
    times = page.evaluate(FIRST_VIEW)
    page.context.close()
    return times


def opened(browser: Browser, url: str) -> Page:
    """The page at rest."""
    page = browser.new_context(viewport=WINDOW).new_page()
    page.goto(url, wait_until="commit")
    page.evaluate(FIRST_VIEW)
    return page


def clicked(page: Page, turn: int) -> dict[str, tuple[float, float]]:
    """Milliseconds from the click that sets B to each planner's route and to its frames, between two new places."""
    page.evaluate("window.atlas.app.store.change({ stops: [], extras: [] })")
    page.evaluate(REST)
    box = page.locator(".map").bounding_box()
    assert box
    shares = ((0.3 + 0.01 * turn, 0.4), (0.7, 0.6 - 0.01 * turn))
    (first, second) = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares
    ]
    page.mouse.click(*first)
    page.evaluate(REST)
    page.evaluate(PATHS)
    page.mouse.click(*second)
    return page.evaluate("window.timed")


def frames(page: Page, n: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of a frame of a drag, of one drawn anew when idle, and of the baseline's."""
    dragged, anew = page.evaluate(FRAMES, [n, repeats])
    plain = page.evaluate(PLAIN_POINTS, [n, repeats])
    return {
        "dragging": rounded(dragged),
        "drawn anew": rounded(anew),
        "gl.POINTS alone": rounded(plain),
    }


def seconds(milliseconds: list[float] | tuple[float, ...]) -> float:
    """Their median in seconds."""
    return round(statistics.median(milliseconds) / 1000, 3)


def rounded(milliseconds: list[float]) -> float:
    """Their median."""
    return round(statistics.median(milliseconds), 1)


if __name__ == "__main__":
    main()
