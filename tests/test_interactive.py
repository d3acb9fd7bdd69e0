"""The explorer without a server: its networks against the library's, and the folder in a real browser."""

import gzip
import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from browser import Visits, until_idle
from command_line import latent_atlas
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.functions import networks
from latent_atlas.atlas.graphs import save_graph
from latent_atlas.boundary.registry import fit_boundary
from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder
from latent_atlas.config.density_ratio import MapConfig
from latent_atlas.config.run import Config, ModelConfig
from latent_atlas.density.toys.clusters import two_clusters
from latent_atlas.density_ratio.latent_map import LatentMap
from latent_atlas.errors import UserError
from latent_atlas.explorer.static_export import arrays
from latent_atlas.explorer.static_export.arrays import scorer_of
from latent_atlas.explorer.static_export.export import PAGE as BUILT
from latent_atlas.explorer.static_export.export import add_page, write_folder
from latent_atlas.explorer.static_export.facts import facts
from latent_atlas.nn.vaegan import VAEGAN
from latent_atlas.runs import read_tensors
from latent_atlas.travel.planners.geodesic import action
from reader import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

runtime = pytest.importorskip("onnxruntime", reason="the graphs are checked with onnxruntime")

pytestmark = pytest.mark.browser  # all of them, so that one export serves them

SIDE, DIMENSION = 8, 3
ANGLES = (0.0, 0.4636476, 1.1902899)  # of the blurs 0, 0.5 and 2.5
CLOSE = 1e-4


def small_atlas(boundary: str = "prior", levels: int = 4) -> Atlas:
    """Two clusters of codes, a map that has learned a little, and networks that have learned nothing."""
    generator = torch.Generator().manual_seed(0)
    settings = MapConfig(
        boundary=boundary, levels=levels, width=16, depth=1, steps=60, batch_size=64
    )
    train, held_out = (
        two_clusters(DIMENSION, 3.0).sample(n, generator=generator) for n in (300, 60)
    )
    latent_map = LatentMap.fit(
        train, config=settings, held_out=Codes(held_out), generator=generator, warn=False
    )
    model = VAEGAN(
        ModelConfig(image_size=SIDE, channels=1, latent_dim=DIMENSION, width=4, depth=1), settings
    )
    model.requires_grad_(False)
    wrapped = Autoencoder(
        model.encoder, model.decode, (1, SIDE, SIDE), (DIMENSION,), device=latent_map.device
    )
    labels = {"train": (train[:, 0] > 0).long(), "held_out": (held_out[:, 0] > 0).long()}
    codes = {part: Codes(means, torch.randn(means.shape, generator=generator)) for part, means in
             {"train": train, "held_out": held_out}.items()}  # fmt: skip
    settings, names, errors = (
        Config(map=settings),
        ("left", "right"),
        torch.rand(60, 3, generator=generator),
    )
    return Atlas(
        wrapped, latent_map, codes, settings, labels=labels, label_names=names, errors=errors
    )


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return small_atlas()


@pytest.fixture(scope="module")
def folder(atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The atlas as a folder, with the built page where there is one."""
    place = tmp_path_factory.mktemp("interactive")
    page = BUILT
    if not (BUILT / "index.html").is_file():
        page = place / "page"
        page.mkdir()
        (page / "index.html").write_text(
            "<!doctype html><html><head><title>a page</title></head></html>"
        )
    return write_folder(atlas, place / "atlas", name="small", page=page).path


def run(folder: Path, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = runtime.InferenceSession(folder / f"{name}.onnx")
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("rows", [1, 11])
def test_the_map_and_its_slopes_are_the_librarys_at_every_level(
    atlas: Atlas, folder: Path, angle: float, rows: int, generator: torch.Generator
) -> None:
    z = 2 * torch.randn(rows, DIMENSION, generator=generator)
    level = atlas.map.noised(float(np.tan(angle))) if angle else atlas.map
    place = {"latents": z.numpy(), "angle": np.array([angle], np.float32)}
    seen, steep = run(folder, "map", **place), run(folder, "slopes", **place)
    for found in (seen, steep):
        np.testing.assert_allclose(found["logit"], level.logit(z).numpy(), atol=CLOSE, rtol=CLOSE)
        np.testing.assert_allclose(
            found["log_prob"], level.log_prob(z).numpy(), atol=CLOSE, rtol=CLOSE
        )
    np.testing.assert_allclose(steep["score"], level.score(z).numpy(), atol=CLOSE, rtol=CLOSE)
    if angle == 0:  # grad log D = (1 - D) a grad l, with the calibration that the facts tell
        calibration = json.loads((folder / "atlas.json").read_text())["folder"]["calibration"]
        unreal = torch.sigmoid(-(calibration["scale"] * level.logit(z) + calibration["shift"]))
        walked = unreal[:, None].numpy() * calibration["scale"] * steep["logit_slope"]
        np.testing.assert_allclose(
            walked, level.log_realness_gradient(z).numpy(), atol=CLOSE, rtol=CLOSE
        )


def test_the_decoder_and_the_encoder_are_the_models(
    atlas: Atlas, folder: Path, generator: torch.Generator
) -> None:
    z = torch.randn(5, DIMENSION, generator=generator)
    images = torch.rand(4, 1, SIDE, SIDE, generator=generator)
    decoded, encoded = (
        run(folder, "decode", latents=z.numpy()),
        run(folder, "encode", images=images.numpy()),
    )
    np.testing.assert_allclose(decoded["images"], atlas.decode(z).numpy(), atol=CLOSE)
    np.testing.assert_allclose(
        encoded["latents"], atlas.encode(images).numpy(), atol=CLOSE, rtol=CLOSE
    )
    np.testing.assert_allclose(
        encoded["width"], atlas.anomaly(images).width, atol=CLOSE, rtol=CLOSE
    )


def test_photos_are_scored_by_what_the_library_knows_or_it_is_said_why_not(
    atlas: Atlas, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, _ = read_tensors(folder / "scorer.safetensors")
    assert json.loads((folder / "atlas.json").read_text())["folder"]["unscored"] is None
    for name, known in atlas.scorer.known().items():
        np.testing.assert_allclose(written[name].numpy(), known, rtol=1e-6)
    forgetful = Atlas(
        atlas.model, atlas.map, atlas.codes, atlas.config
    )  # of the errors of held-out images
    assert "does not know the reconstruction errors" in str(scorer_of(forgetful))
    monkeypatch.setattr("latent_atlas.explorer.static_export.arrays.MOST_COMPARED", 100)
    assert "too many for a page" in str(scorer_of(atlas))


@pytest.mark.parametrize("boundary", ["gaussian-mixture", "radius"])
def test_densities_of_other_boundaries_are_written_too(
    boundary: str, tmp_path: Path, generator: torch.Generator
) -> None:
    """They solve triangular systems, or work in pieces: neither exists in ONNX."""
    density = fit_boundary(
        boundary, two_clusters(2, 4.0).sample(200, generator=generator), generator=generator
    )

    def with_score(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, pull = torch.func.vjp(density.log_prob, latents)[:2]
        return values, pull(torch.ones_like(values))[0]

    save_graph(
        with_score,
        (torch.zeros(3, 2),),
        tmp_path / "r.onnx",
        inputs=("z",),
        outputs=("log_prob", "score"),
    )
    for rows in (1, 13):
        z = 2 * torch.randn(rows, 2, generator=generator)
        found = run(tmp_path, "r", z=z.numpy())
        np.testing.assert_allclose(
            found["log_prob"], density.log_prob(z).numpy(), atol=CLOSE, rtol=CLOSE
        )
        np.testing.assert_allclose(found["score"], density.score(z).numpy(), atol=CLOSE, rtol=CLOSE)


def test_a_light_folder_is_smaller_and_gives_what_half_precision_can(
    atlas: Atlas, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each weight is right to one part in 2,048, and codes are as they are; there are fewer."""
    monkeypatch.setattr(arrays, "FEW_CODES", 40)
    light = write_folder(atlas, tmp_path / "light", name="small", light=True, page=folder).path
    told = json.loads((light / "atlas.json").read_text())
    assert told["counts"] == {"train": 40, "held_out": 40}
    assert "40 of 300 train codes" in " ".join(told["warnings"])
    kept = read_tensors(light / "train.safetensors")[0]["means"]
    assert torch.equal(kept, atlas.codes["train"].means[torch.arange(40) * 300 // 40])
    z = atlas.codes["held_out"].means[:20].numpy()
    for name, place in {"slopes": {"angle": np.zeros(1, np.float32)}, "decode": {}}.items():
        whole, half = (run(one, name, latents=z, **place) for one in (folder, light))
        assert (light / f"{name}.onnx").stat().st_size < (folder / f"{name}.onnx").stat().st_size
        for output in whole:
            difference = np.abs(whole[output] - half[output]).max()
            assert 0 < difference < 2**-7 * np.abs(whole[output]).max()


def test_the_facts_are_those_of_the_atlas(atlas: Atlas, folder: Path) -> None:
    told = json.loads((folder / "atlas.json").read_text())
    assert (told["name"], told["dimension"], told["classes"]) == (
        "small",
        DIMENSION,
        ["left", "right"],
    )
    assert told["threshold"] == pytest.approx(atlas.map.threshold(0.05))
    assert {planner["name"] for planner in told["planners"]} == {
        "linear",
        "slerp",
        "walk",
        "typical",
        "geodesic",
    }
    widths = {round(float(np.tan(level["angle"])), 6): level for level in told["folder"]["levels"]}
    assert {0.0, 0.6, 0.4, 0.3} <= widths.keys()
    for width in (
        0.0,
        0.6,
    ):  # the middle of the quantiles is the median of held-out codes at that level
        quantiles = widths[width]["quantiles"]
        assert quantiles[len(quantiles) // 2] == pytest.approx(
            atlas.map.noised(width).threshold(0.5), abs=1e-4
        )
    assert {round(float(np.tan(angle)), 6) for angle in told["levels"]} <= widths.keys()


def test_codes_alone_and_maps_without_a_density_promise_no_more_than_they_hold(
    atlas: Atlas,
) -> None:
    alone = facts(Atlas(None, atlas.map, atlas.codes, atlas.config), "codes", ("map", "slopes"))
    assert alone["image"] is None
    assert {"photos", "png", "gif"} <= set(alone["lacks"])
    assert not {"photos", "png", "gif", "traverse"} & set(
        facts(atlas, "whole", ("map", "slopes", "decode", "encode"))["lacks"]
    )
    closed = small_atlas("low-density", 1)
    assert networks(closed)["slopes"].outputs == ("logit", "logit_slope")
    told = facts(closed, "closed", ())
    assert ([one["name"] for one in told["planners"]], told["samplers"]) == (
        ["linear", "slerp", "walk"],
        [],
    )
    assert (told["threshold"], told["has_log_prob"]) == (None, False)
    assert {"traverse", "keep"} <= set(told["lacks"])
    assert "keep" in alone["lacks"]


def test_the_codes_are_real_ones_with_their_densities(
    atlas: Atlas, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tensors, _ = read_tensors(folder / "train.safetensors")
    torch.testing.assert_close(tensors["means"], atlas.codes["train"].means)
    torch.testing.assert_close(tensors["log_prob"], atlas.map.log_prob(tensors["means"]))
    assert tensors["labels"].tolist() == atlas.labels["train"].tolist()
    monkeypatch.setattr(arrays, "MOST_CODES", 7)
    arrays.save_codes(atlas, "train", tmp_path / "few.safetensors")
    few, _ = read_tensors(tmp_path / "few.safetensors")
    rows = arrays.kept(atlas, "train")
    assert len(few["means"]) == 7
    assert int(rows[-1]) > 250  # from all of the codes, not the first of them
    torch.testing.assert_close(
        few["typicality"], atlas.map.typicality(atlas.codes["train"].means[rows])
    )


def test_who_may_read_the_page_may_read_all_of_it(folder: Path) -> None:
    assert {file.stat().st_mode for file in folder.iterdir() if file.is_file()} == {
        (folder / "index.html").stat().st_mode
    }


def test_the_page_may_load_nothing_from_elsewhere_and_knows_where_its_atlas_is(
    folder: Path,
) -> None:
    index = (folder / "index.html").read_text()
    assert "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" in index
    assert '<meta name="atlas-folder" content="atlas.json" />' in index
    assert "://" not in index


def test_what_cannot_be_written_is_refused_in_one_sentence(
    atlas: Atlas,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError, match="make page"):
        write_folder(atlas, tmp_path / "out", name="x", page=tmp_path)
    (tmp_path / "index.html").write_text("<head></head>")
    with pytest.raises(UserError, match="holds something else"):
        write_folder(atlas, tmp_path, name="x", page=tmp_path)
    assert latent_atlas("report", str(tmp_path / "none"), "--interactive") == 2
    assert "holds no run" in capsys.readouterr().err
    assert latent_atlas("report", str(tmp_path), "--out", "somewhere") == 2
    assert "--interactive" in capsys.readouterr().err
    monkeypatch.setattr("latent_atlas.atlas.export.NEEDED", ("onnx", "a_package_that_is_nowhere"))
    with pytest.raises(
        UserError, match=r"a_package_that_is_nowhere; pip install latent-atlas\[onnx\]"
    ):
        write_folder(atlas, tmp_path / "out", name="x", page=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_decoder_that_onnx_cannot_express_is_refused_and_nothing_is_left(
    atlas: Atlas, tmp_path: Path
) -> None:
    def bessel(latents: torch.Tensor) -> torch.Tensor:
        return (
            torch.special.bessel_j0(latents[:, :1])
            .abs()
            .reshape(-1, 1, 1, 1)
            .expand(-1, 1, SIDE, SIDE)
        )

    model = Autoencoder(lambda images: images.flatten(1)[:, :DIMENSION], bessel, (1, SIDE, SIDE), (DIMENSION,),
                        device=torch.device("cpu"))  # fmt: skip
    strange = Atlas(model, atlas.map, atlas.codes, atlas.config)
    assert "encode" not in networks(strange)  # a function of another kind than a network
    monkey = {name: network for name, network in networks(strange).items() if name == "decode"}
    (tmp_path / "index.html").write_text("<head></head>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latent_atlas.explorer.static_export.export.networks", lambda _: monkey)
        with pytest.raises(
            UserError, match=r"decode of this atlas cannot be written as ONNX .*bessel"
        ):
            write_folder(strange, tmp_path / "out", name="x", page=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


class _Quiet(SimpleHTTPRequestHandler):
    """Any host of static files: the standard library's."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """Where a folder is served, by a server that knows nothing of it."""
    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    thread = threading.Thread(target=host.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{host.server_port}/"
    host.shutdown()
    host.server_close()
    thread.join()


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with hosted(folder) as address:
        yield address


def there_and_back(images: torch.Tensor) -> np.ndarray:
    """The frames of a film (n, h, w) as grey bytes."""
    grey = (255 * images[:, 0]).numpy()
    return np.concatenate([grey, grey[-2:0:-1]])


def frames_of(path: Path) -> np.ndarray:
    """The same of a GIF, one pixel of each square that it enlarged a pixel to."""
    with Image.open(path) as film:
        assert (film.info["loop"], film.n_frames, film.size) == (0, 32, (256, 256))  # type: ignore[attr-defined]
        frames = [
            np.asarray(frame.convert("L")).astype(float) for frame in ImageSequence.Iterator(film)
        ]
        assert film.info["duration"] == 180  # milliseconds: 17 frames in 3 seconds, by hundredths
    step = 256 // SIDE
    assert (np.stack(frames)[:, 1:step, 1:step] == np.stack(frames)[:, :1, :1]).all()
    return np.stack(frames)[:, step // 2 :: step, step // 2 :: step]


def cost_of(points: torch.Tensor, atlas: Atlas, options: dict[str, Any]) -> float:
    """What the geodesic planner lowers, of a path (frames, d)."""
    with torch.no_grad():
        return action(points[:, None], atlas.map, options["threshold"], options["strength"]).item()


def test_the_page_works_from_a_host_of_files_alone(
    chromium: "Browser", address: str, atlas: Atlas, tmp_path: Path
) -> None:
    """Two clicks, three paths, and one saved: its numbers are those of the library."""
    from playwright.sync_api import expect

    visits = Visits(chromium, address)
    page = visits.open("about:blank")
    foreign: list[str] = []
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith((address, "blob:", "data:")) or foreign.append(asked.url)
        ),
    )
    page.goto(address)
    until_idle(page)
    box = page.locator(".map").bounding_box()
    assert box
    for count, across in enumerate((0.35, 0.65), 1):
        page.mouse.click(box["x"] + across * box["width"], box["y"] + 0.4 * box["height"])
        expect(page.locator(".waypoints li")).to_have_count(count)
    expect(page.locator(".strip")).to_have_count(3)
    until_idle(page)
    for planner in ("linear", "typical", "geodesic"):
        expect(page.locator(f'.strip[data-row="{planner}"] canvas')).to_have_count(17)
    page.get_by_role("combobox", name="as", exact=True).select_option("json")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    saved.value.save_as(tmp_path / "geodesic.json")
    page.get_by_role("combobox", name="as", exact=True).select_option("gif")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    saved.value.save_as(tmp_path / "geodesic.gif")
    numbers = json.loads((tmp_path / "geodesic.json").read_text())
    points, log_prob = torch.tensor(numbers["points"]), torch.tensor(numbers["log_prob"])
    torch.testing.assert_close(log_prob, atlas.map.log_prob(points), atol=1e-3, rtol=1e-4)
    assert frames_of(tmp_path / "geodesic.gif") == pytest.approx(
        there_and_back(atlas.decode(points)), abs=8
    )
    decoded = "async (codes) => [...(await atlas.app.backend.decode(codes)).tensors.get('typicality').data]"
    typicality = torch.tensor(page.evaluate(decoded, points.tolist()))
    torch.testing.assert_close(typicality, atlas.map.typicality(points), atol=0.01, rtol=0)
    photo = np.random.default_rng(0).integers(256, size=(SIDE, SIDE), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    encode = "async (bytes) => (await atlas.app.backend.encode(new Blob([new Uint8Array(bytes)]))).about.anomaly"
    (wanted,) = atlas.anomaly(torch.from_numpy(photo)[None, None].float() / 255).rows()
    wanted = {
        name: value for name, value in wanted.items() if "membership" not in name
    }  # nor there
    del wanted["name"]
    assert page.evaluate(encode, list(file.getvalue())) == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    waypoints = torch.tensor(
        json.loads(page.evaluate("JSON.stringify(atlas.app.store.state.waypoints)"))
    )
    torch.testing.assert_close(points[[0, -1]], waypoints, atol=0, rtol=0)
    planned = atlas.travel(points[0], points[-1], "geodesic", frames=17).points[:, 0]
    (options,) = (
        one["options"] for one in facts(atlas, "small", ())["planners"] if one["name"] == "geodesic"
    )
    settings = {option["name"]: option["default"] for option in options}
    assert cost_of(points, atlas, settings) <= 1.05 * cost_of(planned, atlas, settings)
    shown = "atlas.app.paths.rows.value.find((row) => row.id === 'typical').result.points"
    turned = atlas.travel(points[0], points[-1], "typical", frames=17).points[:, 0]
    torch.testing.assert_close(torch.tensor(page.evaluate(shown)), turned, atol=0.1, rtol=0)
    expect(page.get_by_role("combobox", name="Keep", exact=True)).to_have_count(0)
    expect(
        page.get_by_text("Keeping a property along a path needs latent-atlas serve.")
    ).to_be_visible()
    for context in visits.contexts:
        context.close()
    assert (visits.complaints, foreign) == ([], [])


SHOWN = re.compile(r"<figure.*</script>", re.DOTALL)  # of the site's first page
MOST_LOADED = 6e6  # bytes
PACKED = (".html", ".js", ".css", ".json", ".svg", ".wasm")  # which hosts of files compress


@pytest.mark.parametrize("width", [1200, 390])
def test_the_first_page_of_the_site_has_an_atlas_to_click_in(
    chromium: "Browser", tmp_path: Path, width: int
) -> None:
    """Nothing of it is loaded before a visitor asks, and at most 6 MB then."""
    from playwright.sync_api import expect

    site = shutil.copytree(ROOT / "docs", tmp_path / "site")
    add_page(site / "live")
    shown = SHOWN.search((site / "index.md").read_text())
    assert shown
    (site / "index.html").write_text(
        f"<!doctype html><link rel='icon' href='data:,'><title>Site</title>{shown[0]}"
    )
    with hosted(site) as address:
        visits = Visits(chromium, address)
        bare = visits.open(address, java_script_enabled=False)
        expect(bare.locator("#live img")).to_be_visible()
        page = visits.open("about:blank", viewport={"width": width, "height": 800})
        asked: set[str] = set()
        page.on("request", lambda request: asked.add(request.url))
        page.goto(address)
        expect(page.locator("#live img")).to_be_visible()
        assert not [one for one in asked if "/live/" in one]
        page.locator("#live a").click()
        frame = page.frame_locator("#live iframe")
        expect(frame.locator(".stage")).to_have_attribute("aria-busy", "false")
        box = frame.locator(".map").bounding_box()
        assert box
        for count, across in enumerate((0.35, 0.65), 1):
            page.mouse.click(box["x"] + across * box["width"], box["y"] + 0.4 * box["height"])
            expect(frame.locator(".waypoints li")).to_have_count(count)
        # As many of its 17 frames as there is room for.
        expect(frame.locator('[data-row="typical"] canvas').nth(8)).to_be_attached()
        for context in visits.contexts:
            context.close()
    assert visits.complaints == []
    files = [site / url.removeprefix(address) for url in asked if "/live/" in url]
    read = [file.read_bytes() for file in files]
    loaded = sum(
        len(gzip.compress(one) if file.suffix in PACKED else one)
        for file, one in zip(files, read, strict=True)
    )
    assert 1e6 < loaded < MOST_LOADED


def test_a_collection_shows_its_images_from_a_host_of_files_alone(
    chromium: "Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along a path each once, as the library chooses them; a real code shows its own."""
    from playwright.sync_api import expect

    (tmp_path / "corner_codes.py").write_text(
        "def corners(images):\n    return images.mean(1)[:, 1::4, 1::4].flatten(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ("--image-size", "8", "--model", "corner_codes:corners", "--steps", "20")
    assert latent_atlas("embed", "digits", "--out", "run", *words) == 0
    atlas = Atlas.load("run", device="cpu")
    Path("other").mkdir()
    for number in range(6):
        Image.new("L", (8, 8), 40 * number).save(f"other/{number}.png")
    assert latent_atlas("compare", "run", "other") == 0
    written = write_folder(atlas, tmp_path / "site", name="digits", run=tmp_path / "run")
    assert "takes no photos" in " ".join(written.left_out)
    ends = atlas.codes["held_out"].means[:2]
    asked = {"waypoints": ends.tolist(), "planners": ["linear"], "frames": 9, "images": False}
    compute = """async (asked) => {
        const answer = await atlas.app.backend.compute("travel", asked);
        return [...answer.tensors.get("linear/images").data];
    }"""
    decode = (
        "async (codes) => [...(await atlas.app.backend.decode(codes)).tensors.get('images').data]"
    )
    with hosted(tmp_path / "site") as address:
        visits = Visits(chromium, address)
        page = visits.open(address)
        until_idle(page)
        frames = np.array(page.evaluate(compute, asked)).reshape(9, 8, 8, 3)
        shown = np.array(page.evaluate(decode, ends.tolist())).reshape(2, 8, 8, 3)
        page.locator("summary", has_text="Overview").click()
        titles = page.locator(".overview h3")
        expect(titles).to_have_text(["Rare and typical", "Duplicates", "Compared with other"])
        names, rarity = atlas.real_images[1], atlas.rarity()
        order = rarity.argsort(descending=True)[:16].tolist()
        rarest = page.locator(".overview .gallery").first.get_by_role("button")
        assert [one.get_attribute("title") for one in rarest.all()] == [
            f"{names[row]}, {rarity[row]:.1f}" for row in order
        ]
        unlike = page.get_by_role("button", name="5.png", exact=True)
        unlike.click()
        captions = page.locator(".portrait figcaption")
        expect(captions).to_have_text(["5.png", "the nearest image"])
        expect(page.locator(".routes .selected")).to_have_count(1)
        for context in visits.contexts:
            context.close()
    wanted = atlas.travel(ends[:1], ends[1:], "linear", frames=9).strip()
    assert np.array_equal(frames, (255 * wanted).round().byte().permute(0, 2, 3, 1).numpy())
    assert np.array_equal(shown, frames[[0, -1]])
    assert visits.complaints == []
