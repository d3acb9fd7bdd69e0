"""The report: whatever a run folder holds, the page shows it, sends no request, and takes no text
for markup.
"""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command_line import latent_atlas
from latent_atlas.config import Config, DataConfig
from latent_atlas.density.base import StandardNormal
from latent_atlas.errors import UserError
from latent_atlas.report import write_report
from latent_atlas.report.figures.travel import describe
from latent_atlas.report.training_curves import progress
from latent_atlas.travel.plan import plan
from latent_atlas.travel.planners.baselines import Linear

HOSTILE = "<script>alert('&\"')</script>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Outline(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 60, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def record(step: int) -> dict[str, object]:
    return {
        "phase": "model",
        "step": step,
        "steps": 200,
        "reconstruction": 1 / step,
        "kl": 3.5,
        "new_term": 0.5,
    }


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(Config(data=DataConfig(source="digits")).to_json())
    return run


@pytest.fixture
def full(bare: Path) -> Path:
    records = [
        *map(record, (50, 100, 150)),
        {"phase": "map", "step": 100, "loss": 0.31, "held_out_loss": 0.33},
    ]
    (bare / "log.jsonl").write_text(
        "".join(json.dumps(r) + "\n" for r in records) + '{"phase": "map", "st'
    )
    walk = {"off_manifold": 0.125, "distance_left": 0.26, "lowest_log_prob": -12.345}
    metrics = {
        "reconstruction": {"mse": 0.0123, "psnr": 19.1},
        "map": {"normalising_constant": 1.034, "verdict": HOSTILE, "kl": float("nan")},
        "travel": {"linear": {"off_manifold": 0.31}, "walk": walk},
        "geometry": {
            "prior_inside": {
                "value": 0.345,
                "samples": 4096,
                "of": "prior draws",
                "good": "95 %: <full>",
            }
        },
    }
    (bare / "metrics.json").write_text(json.dumps(metrics))
    (bare / "manifest.json").write_text(json.dumps({"n": 1797, "label_names": [HOSTILE, "b"]}))
    rejects = [{"path": f"{HOSTILE}{i}.png", "reason": "truncated"} for i in range(12)]
    (bare / "rejects.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rejects))
    for value, name in enumerate(
        ("travel", "extra & more", "map", "reconstructions", "samples", "reliability", "geometry")
    ):
        (bare / f"{name}.png").write_bytes(picture(value))
    return bare


def outline(run: Path) -> Outline:
    return Outline(write_report(run).read_text(encoding="utf-8"))


def test_the_page_stands_alone(full: Path) -> None:
    page = outline(full)
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(tag for tag, _ in page.tags)
    addresses = [
        a[key] for _, a in page.tags for key in ("src", "href", "srcset", "action") if key in a
    ]
    assert addresses
    assert all(address and address.startswith("data:image/png;base64,") for address in addresses)
    style = re.search(r"<style>(.*?)</style>", (full / "report.html").read_text(), re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_text_from_files_is_never_markup(full: Path) -> None:
    (full / "config.json").write_text(Config(data=DataConfig(source=HOSTILE)).to_json())
    page = outline(full)
    assert not page.named("script")
    assert page.text.count(HOSTILE) >= 5


def test_pictures_come_whole_in_their_order_and_described(full: Path) -> None:
    images = outline(full).named("img")
    contents = [base64.b64decode(str(image["src"]).partition(",")[2]) for image in images]
    assert contents[:7] == [picture(value) for value in (3, 4, 2, 5, 6, 0, 1)]
    assert all(image["alt"] for image in images)
    assert images[0]["width"] == "30"
    assert "extra & more.png" in str(images[6]["alt"])


def test_warnings_of_the_map_stand_before_its_pictures(full: Path) -> None:
    metrics = json.loads((full / "metrics.json").read_text())
    metrics["map"]["warnings"] = [f"do not trust {HOSTILE}"]
    (full / "metrics.json").write_text(json.dumps(metrics))
    page = write_report(full).read_text()
    assert HOSTILE not in page
    assert page.count("do not trust") == 1
    assert page.index("<h2>Warnings</h2>") < page.index("do not trust") < page.index("<h2>Pictures")


def test_a_command_ends_with_the_warnings_of_the_map(
    full: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = json.loads((full / "metrics.json").read_text())
    metrics["map"]["warnings"] = ["the levels disagree: do not trust the log-density"]
    monkeypatch.setattr("latent_atlas.cli.commands.report._main_numbers", lambda _: [])
    monkeypatch.setattr("latent_atlas.report.figures.run.fill_gallery", lambda *_, **__: metrics)
    assert latent_atlas("report", str(full)) == 0
    said = capsys.readouterr().err
    assert said.endswith("warning: the levels disagree: do not trust the log-density\n")


def test_numbers_have_words_and_units(full: Path) -> None:
    text = outline(full).text
    for words in (
        "19.1 dB",
        "12.5 %",
        "26.0 %",
        "−12.3",
        "1.03",
        "not a number",
        "best planner that arrives: linear",
        "1,797",
        "prior samples above the density threshold",
        "34.5 %",
        "good: 95 %: <full> (4,096 prior draws)",
    ):
        assert words in text
    assert "12 files could not be read, the first 10 of them" in text


def test_the_page_names_the_run_and_shows_its_whole_configuration(bare: Path) -> None:
    page = outline(bare)
    assert page.named("html") == [{"lang": "en"}]
    assert "digits" in page.text
    assert "32 × 32 pixels, RGB, latent dimension 32" in page.text
    assert Config().to_json().splitlines()[-5] in page.text
    assert page.named("time")
    assert page.named("details")


def test_what_is_missing_is_named_with_the_command_that_makes_it(bare: Path, full: Path) -> None:
    assert "Not in this run yet" not in outline(full).text
    for file in full.iterdir():
        if file.name != "config.json":
            file.unlink()
    text = outline(bare).text
    for command in (
        "report RUN",
        "sample RUN",
        "map RUN",
        "travel RUN A B",
        "train SOURCE --out RUN",
    ):
        assert f"latent-atlas {command}" in text
    assert not outline(bare).named("img")


def test_the_log_becomes_panels_whatever_the_arm_logs() -> None:
    records = [
        record(50),
        record(100),
        {"phase": "map", "step": 50, "loss": 0.3, "held_out_loss": 0.4},
    ]
    records += [
        {"phase": "model", "step": 150, "r1": float("nan"), "r2": 2**70},
        {"phase": "model"},
        {"note": "no step"},
    ]
    panels = {panel.name: panel.series for panel in progress(records)}
    assert list(panels) == [
        "Reconstruction",
        "KL to the prior",
        "Map: latent discriminator",
        "new term",
    ]
    steps, values = panels["Reconstruction"]["reconstruction"]
    np.testing.assert_array_equal(steps, [50, 100])
    np.testing.assert_array_equal(values, [1 / 50, 1 / 100])
    assert set(panels["Map: latent discriminator"]) == {"training", "held out"}


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json.*latent-atlas train"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_damaged_metrics_are_refused_in_one_sentence(bare: Path, content: str) -> None:
    (bare / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.json is damaged: .*latent-atlas report"):
        write_report(bare)


@pytest.mark.parametrize(
    ("non_members", "words"),
    [
        (None, "0 of 3 off-manifold, 1.00 × straight"),
        (2 / 3, "0 of 3 off-manifold, 2 unlike real codes, 1.00 × straight"),
    ],
)
def test_a_path_in_words_counts_frames_unlike_real_codes(
    non_members: float | None, words: str
) -> None:
    start, end, generator = torch.zeros(1, 2), torch.ones(1, 2), torch.Generator().manual_seed(0)
    path = plan(StandardNormal(2), start, end, Linear(), frames=5, generator=generator)
    known = None if non_members is None else torch.tensor([non_members])
    assert describe(replace(path, metrics=replace(path.metrics, non_members=known))) == words
