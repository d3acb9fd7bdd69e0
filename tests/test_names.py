"""Names as disks have them, not UTF-8, Chinese, long, by the hundred: every picture, file and answer
takes them.
"""

import csv
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from command_line import latent_atlas
from latent_atlas.atlas.atlas import Atlas
from latent_atlas.config.data import DataConfig
from latent_atlas.data.load import load_images
from latent_atlas.errors import UserError, printable
from latent_atlas.report.html import render
from latent_atlas.report.plots import Field, comparison_sheet, map_picture, png, style
from latent_atlas.report.run_page import write_report
from latent_atlas.runs import json_safe
from runs import trained
from server_client import client_of, tiny_atlas

LATIN = b"caf\xe9"
NAMES = (LATIN, "猫と犬".encode(), b"x" * 120, b"dog")
SETTINGS = """model.image_size=8 model.channels=1 model.width=4 model.discriminator_width=4
    model.latent_dim=3 train.steps=4 train.batch_size=8 train.adversarial_start=2 train.device=cpu
    data.held_out=0.4 data.max_rejects=0.5 map.steps=20 map.width=8 map.depth=1 map.check_every=10"""


def picture(shade: int, number: int) -> bytes:
    generator = np.random.default_rng(100 * shade + number)
    file = io.BytesIO()
    pixels = np.clip(generator.normal(60 * shade + 20, 20, (8, 8)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in folders of such names, and a reject, in a folder of such a name."""
    root = os.fsencode(tmp_path_factory.mktemp("names")) + b"/b\xeates"
    try:
        for shade, name in enumerate(NAMES):
            os.makedirs(root + b"/" + name)
            for number in range(12):
                place = root + b"/" + name + b"/\xe9%d.png" % number
                Path(os.fsdecode(place)).write_bytes(picture(shade, number))
        Path(os.fsdecode(root + b"/dog/\xff.png")).write_bytes(b"no image")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    return Path(os.fsdecode(root))


def test_names_that_are_not_utf8_are_escaped_and_read(folder: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    config = DataConfig(source=str(folder), max_rejects=0.5)
    read = load_images(config, 8, 1, rejects_file=rejects)
    assert read.label_names == (r"caf\xe9", "dog", "x" * 120, "猫と犬")
    assert r"caf\xe9/\xe90.png" in read.names
    assert len(read.images) == 48
    assert json.loads(rejects.read_text())["path"] == r"dog/\xff.png"


def test_an_archive_with_latin_names_is_read(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        archive.add(folder, ".")
    config = DataConfig(source=str(tmp_path / "old.tar"), max_rejects=0.5)
    assert r"caf\xe9" in load_images(config, 8, 1).label_names


def test_a_run_of_such_names_is_trained_and_every_command_works_on_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, table, plane = (str(tmp_path / name) for name in ("run", "x.csv", "map.png"))
    source = str(folder)
    trained(Path(run), f"{SETTINGS} data.source={json.dumps(source)}")
    assert rb"caf\xe9" in write_report(Path(run)).read_bytes()
    assert latent_atlas("anomalies", run, source, "--out", table) == 0
    with open(table, encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert len(names) == 48
    assert r"dog/\xe93.png" in names
    chosen = [os.fsdecode(os.fsencode(folder) + b"/dog/\xe9%d.png" % k) for k in range(3)]
    assert latent_atlas("map", run, *chosen, "--out", plane) == 0
    with client_of(Atlas.load(run), run=Path(run)) as client:
        assert r"caf\xe9" in client.get("/api/atlas").json()["classes"]
    printed = capsys.readouterr()
    assert (printed.out + printed.err).encode()


def atlas_named(names: tuple[str, ...]) -> Atlas:
    """The tiny atlas with as many classes, in turn."""
    tiny = tiny_atlas()
    labels = {part: torch.arange(len(codes)) % len(names) for part, codes in tiny.codes.items()}
    return Atlas(tiny.model, tiny.map, tiny.codes, tiny.config, labels=labels, label_names=names)


def test_hundreds_of_classes_of_any_name_are_answered() -> None:
    names = tuple(f"class {k} \udce9" for k in range(300))
    with client_of(atlas_named(names)) as client:
        about = client.get("/api/atlas")
        assert about.status_code == 200
        assert len(about.json()["classes"]) == 300
        assert r"class 7 \xe9" in about.json()["classes"]


def mapped(names: list[str], each: int) -> Figure:
    """A map with `each` codes of the first class, and one more of each next one."""
    labels = np.concatenate([np.full(each + k, k) for k in range(len(names))])
    codes = np.random.default_rng(0).uniform(0, 1, (len(labels), 2))
    field = Field("Realness", "probability", np.full((4, 4), 0.5), "realness")
    return map_picture([field], (0, 1, 0, 1), codes=codes, code_labels=labels, label_names=names)


def words(figure: Figure) -> list[str]:
    drawn = [text.get_text() for axes in figure.axes for text in axes.texts]
    return drawn + [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_map_names_the_largest_classes_and_counts_the_rest() -> None:
    drawn = words(mapped([f"c{k}" for k in range(200)], 1))
    assert [name for name in drawn if name.startswith("c")] == [
        f"c{k}" for k in range(199, 179, -1)
    ]
    assert any("the 20 largest classes named, and 180 more" in text for text in drawn)


def test_a_few_classes_are_all_named_and_nothing_is_counted() -> None:
    drawn = words(mapped(["a", "b"], 3))
    assert {"a", "b"} <= set(drawn)
    assert not any("more" in text for text in drawn)


def test_no_name_spoils_a_picture() -> None:
    names = ["caf\udce9", "\ue000\ue001", "y" * 300, "a$b$", "two\nlines", "\x1b[31m"]
    figure = mapped(names, 2)
    assert png(figure)  # without a warning
    drawn = words(figure)
    assert {r"caf\xe9", r"\ue000\ue001", "a$b$", "two lines", r"\x1b[31m"} <= set(drawn)
    assert "y" * 10 + "…" + "y" * 9 in drawn
    assert png(comparison_sheet({name: np.zeros((1, 1, 4, 4)) for name in names}))


def test_a_font_of_the_machine_draws_what_the_house_s_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, other = (
        set(font_manager.get_font(font_manager.findfont(name)).get_charmap())
        for name in ("DejaVu Sans", "STIXGeneral")
    )
    character = chr(max(other - mine))
    assert style.drawable(character) == character.encode("unicode_escape").decode()
    caches = (style.fonts, style._characters)
    monkeypatch.setattr(style, "FAMILIES", ("DejaVu Sans", "No Such Font", "STIXGeneral"))
    for cached in caches:
        cached.cache_clear()
    assert style.fonts() == ["DejaVu Sans", "STIXGeneral"]
    figure = style.blank(200, 60)
    style.write(figure, 0, 0, f"a{character}")
    assert figure.texts[0].get_text() == f"a{character}"
    assert png(figure)  # without a warning
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def test_text_that_is_sent_or_written_is_utf8() -> None:
    name = "caf\udce9"
    assert json_safe({name: [name, 1.0]}) == {r"caf\xe9": [r"caf\xe9", 1.0]}
    assert str(UserError(f"no file '{name}'")) == r"no file 'caf\xe9'"
    assert printable("猫\tline\nline\ud800") == "猫\tline\nline\\ud800"
    assert rb"caf\xe9" in page(name).encode()


def page(name: str) -> str:
    return render("base.html", heading=name, name=name)
