"""Results in notebooks and as data frames: pictures that can be looked at, tables that say the same."""

import base64
import io
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from latent_atlas.atlas.duplicates import Duplicates, Group
from latent_atlas.attributes.base import Direction
from latent_atlas.attributes.directions import entanglement
from latent_atlas.display import Tabular, html_grid, html_table
from latent_atlas.errors import UserError
from latent_atlas.evaluation.result import Evaluation, Section
from latent_atlas.evaluation.uncertainty import Number
from latent_atlas.explorer.show import EmbeddedExplorer
from reader import ROOT
from server_client import tiny_atlas

NOTEBOOK = """
import sys
sys.path.insert(0, "{tests}")
from server_client import tiny_atlas
atlas = tiny_atlas()
atlas
---
a, b = atlas.codes["held_out"].means[:2]
atlas.travel(a, b, "linear", frames=5)
---
atlas.sample_codes(6, "prior", images=True)
---
atlas.anomaly(atlas.codes["held_out"].means[:30])
---
atlas.show(500)
"""


class Read(HTMLParser):
    """What HTML holds: pictures, frames, paragraphs, the cells of tables. Every element has an end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {"th": [], "td": [], "p": []}
        self.tables: list[list[int]] = []  # cells of each row
        self.pictures: list[Image.Image] = []
        self.frames: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "img":
            self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append(0)
        if tag in ("th", "td"):
            self.tables[-1][-1] += 1
        source = str(dict(attrs).get("src"))
        if tag == "iframe":
            self.frames.append(source)
        if tag == "img":
            assert dict(attrs)["alt"]
            kind, _, data = source.partition(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]][-1] += data


def shown(result: Any) -> Read:
    """What a notebook shows of a result."""
    return Read(result._repr_html_())


def png(result: Any) -> np.ndarray:
    """The picture that a front end without HTML shows of a result."""
    return np.asarray(Image.open(io.BytesIO(result._repr_png_())))


def codes() -> torch.Tensor:
    """Some real codes."""
    return tiny_atlas().codes["held_out"].means[:30]


def evaluation() -> Evaluation:
    """One of a single number."""
    section = Section("How?", "So.", {"linear": {"mse": Number(0.5, 0.1)}}, "2 images", seed=0)
    return Evaluation("digits", 3, {"reconstruction": section})


RESULTS: dict[str, Callable[[], Tabular]] = {
    "path": lambda: tiny_atlas().travel(codes()[:2], codes()[2:4], "linear", frames=5),
    "samples": lambda: tiny_atlas().sample_codes(6, "prior"),
    "anomalies": lambda: tiny_atlas().anomaly(codes()),
    "comparison": lambda: tiny_atlas().compare(codes()),
    "geometry": lambda: tiny_atlas().geometry(samples=16),
    "evaluation": evaluation,
    "entanglement": lambda: entanglement([Direction(one) for one in torch.eye(3)[:2]], codes()),
    "duplicates": lambda: Duplicates((Group((1, 4), True, 0.0),), 1.0, 0.3),
}


@pytest.mark.parametrize("name", RESULTS)
def test_each_result_is_a_data_frame_and_a_table(name: str) -> None:
    result = RESULTS[name]()
    rows, frame = result.rows(), result.to_frame()
    pd.testing.assert_frame_equal(frame, pd.DataFrame(rows), check_dtype=False)
    tables = shown(result).tables
    assert all(len(cells) > 1 and len(set(cells)) == 1 for cells in tables)
    assert tables


def test_a_frame_of_polars_is_the_same() -> None:
    polars = pytest.importorskip("polars")
    result = RESULTS["path"]()
    frame = result.to_frame("polars")
    assert isinstance(frame, polars.DataFrame)
    assert frame.to_dicts() == result.rows()


def test_a_frame_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="needs pandas, which is not installed; pip install pandas"):
        RESULTS["evaluation"]().to_frame()
    with pytest.raises(UserError, match="no data frames by 'arrow'; choose pandas or polars"):
        RESULTS["evaluation"]().to_frame("arrow")


def test_the_rows_of_a_path_are_its_frames() -> None:
    path = tiny_atlas().travel(codes()[:2], codes()[2:4], "linear", frames=5)
    frame = path.to_frame().set_index(["path", "frame"])
    assert len(frame) == 10
    for place in (0, 0), (1, 3):
        np.testing.assert_array_equal(
            frame.loc[place, ["z0", "z1", "z2"]], path.points[place[1], place[0]]
        )
        assert path.p_values is not None
        assert frame.loc[place, "p_value"] == path.p_values[place[1], place[0]].item()


def test_paths_are_film_strips_with_their_metrics() -> None:
    path = tiny_atlas().travel(codes()[:2], codes()[2:4], "linear", frames=5)
    page = shown(path)
    assert len(page.pictures) == 2
    wide, high = page.pictures[0].size
    assert 5 * high < wide < 5 * high + 5 * 8
    assert path.images is not None
    # The middle of the picture is the middle pixel of the third frame.
    middle = path.images[2, 0, 0, 4, 4].item()
    grey = page.pictures[0].convert("L").getpixel((wide // 2 + 2, high // 2 + 2))
    assert grey == pytest.approx(255 * min(max(middle, 0), 1), abs=1)
    assert {"path", "length_ratio", "off_manifold"} <= set(page.texts["th"])


def test_front_ends_without_html_get_the_same_pictures() -> None:
    atlas, path = tiny_atlas(), RESULTS["path"]()
    drawn = atlas.sample_codes(6, "prior", images=True)
    for result in (atlas, drawn):
        (alone,) = shown(result).pictures
        np.testing.assert_array_equal(png(result), np.asarray(alone))
    strips = [np.asarray(one) for one in shown(path).pictures]
    both, high = png(path), strips[0].shape[0]
    np.testing.assert_array_equal(both[:high], strips[0])
    np.testing.assert_array_equal(both[-high:], strips[1])
    assert [one._repr_png_() for one in (RESULTS["samples"](), replace(path, images=None))] == [
        None,
        None,
    ]


def test_samples_and_atlases_show_images_where_there_are_any() -> None:
    atlas = tiny_atlas()
    drawn = atlas.sample_codes(6, "prior", images=True)
    torch.testing.assert_close(drawn.images, atlas.decode(drawn.points))
    assert [len(shown(one).pictures) for one in (drawn, RESULTS["samples"]())] == [1, 0]
    page = shown(atlas)
    assert len(page.pictures) == 1
    assert page.texts["p"] == [atlas.map.calibration.verdict()]
    assert page.texts["td"][:3] == ["3", "600", "200"]


def test_the_most_anomalous_image_comes_first() -> None:
    table = tiny_atlas().anomaly(torch.cat([codes()[:3], torch.full((1, 3), 9.0)]))
    page = shown(table)
    assert page.texts["td"][0] == "row:3"
    assert page.texts["p"] == [table.sentence()]


def test_long_tables_and_names_are_cut_and_escaped() -> None:
    page = Read(html_table([{"a<b": "<script>", "c": 1 / 3}] * 21))
    assert page.texts["th"] == ["a<b", "c"]
    assert page.texts["td"] == ["<script>", "0.3333"] * 20
    assert page.texts["p"] == ["the beginning of 21 rows, 2 columns"]
    wide = Read(html_table([{f"z{i}": i for i in range(500)}]))
    assert len(wide.texts["td"]) == 24
    assert wide.texts["p"] == ["the beginning of 1 row, 500 columns"]
    assert Read(html_table([])).texts["p"] == ["no rows"]
    assert len(Read(html_grid(torch.rand(3, 1, 4, 4), 'of "q" & <p>')).pictures) == 1


@pytest.fixture
def explorer() -> Iterator[EmbeddedExplorer]:
    """The explorer of the tiny atlas, as a notebook shows it."""
    made = tiny_atlas().show(height=500)
    yield made
    made.close()


def status(url: str, **headers: str) -> int:
    """Of the answer to a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as it:
            assert "frame-ancestors" not in it.headers["content-security-policy"]
            return int(it.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_explorer_answers_who_knows_its_token(explorer: EmbeddedExplorer) -> None:
    assert shown(explorer).frames == [explorer.url]
    assert explorer.url in repr(explorer)
    root, token = explorer.url.removesuffix("/").rsplit("/", 1)
    assert [status(explorer.url), status(explorer.url + "api/atlas")] == [200, 200]
    for wrong in ("/", "/api/atlas", f"/{token}", f"/{token[:-1]}/api/atlas", "//api/atlas"):
        assert status(root + wrong) == 401
    assert status(f"{root}/api/atlas", Authorization=f"Bearer {token}") == 401
    assert status(explorer.url + "api/atlas", Host="elsewhere.example") == 421
    assert status(explorer.url + "api/atlas", Origin="http://elsewhere.example") == 403


def test_the_explorer_can_be_closed(explorer: EmbeddedExplorer) -> None:
    explorer.close()
    explorer.close()
    with pytest.raises(urllib.error.URLError):
        status(explorer.url)
    assert shown(explorer).texts["p"] == ["the explorer is closed; call show() again"]


def test_the_explorer_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="the height is 0; choose 1 pixel or more"):
        tiny_atlas().show(height=0)
    monkeypatch.setattr("latent_atlas.explorer.show.NEEDED", ("a_package_that_is_nowhere",))
    with pytest.raises(
        UserError, match=r"show needs a_package.*pip install 'latent-atlas\[serve\]'"
    ):
        tiny_atlas().show()


def test_a_notebook_shows_all_of_it(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = NOTEBOOK.format(tests=ROOT / "tests").split("---")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(book, timeout=120, kernel_name="python3")
    with client.setup_kernel(cwd=str(tmp_path)):
        for number, cell in enumerate(book.cells):
            client.execute_cell(cell, number)
        pages = [Read(cell.outputs[-1]["data"]["text/html"]) for cell in book.cells]
        assert [len(page.pictures) for page in pages] == [1, 1, 1, 0, 0]
        others = ["image/png" in cell.outputs[-1]["data"] for cell in book.cells]
        assert others == [True, True, True, False, False]
        (frame,) = pages[-1].frames
        assert status(frame) == 200
    with pytest.raises(urllib.error.URLError):  # it ends with the kernel
        status(frame)
