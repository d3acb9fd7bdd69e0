"""The guide's Python runs as it is written: every page, from its first block to its last."""

import re
import runpy
import shutil
from pathlib import Path

import pytest

from command_line import latent_atlas
from reader import ROOT, run_blocks
from runs import quick_gallery

MODEL = """
def corners(images):
    return images.mean(1)[:, 1::4, 1::4].flatten(1)
"""
PAGES = sorted(
    page
    for page in (ROOT / "docs").glob("*.md")
    if "```python" in page.read_text() and page.stem != "gallery"  # make examples runs its code
)


@pytest.fixture(scope="module")
def elsewhere(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that the guide speaks of."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(digits_run, folder / "runs" / "demo")
    (folder / "mine.py").write_text(MODEL)
    words = ("embed", "digits", "--out", str(folder / "runs" / "photos"), "--image-size", "8")
    with pytest.MonkeyPatch.context() as patch, quick_gallery():
        patch.chdir(folder)
        decoder = ("--decoder", "--set", "model.width=4", "--set", "train.steps=20")
        assert latent_atlas(*words, "--model", "mine:corners", "--steps", "20", *decoder) == 0
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")  # so small a run deserves them
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(
    page: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    assert run_blocks(page, monkeypatch) > 0


def test_the_figures_are_those_of_the_results() -> None:
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    assert (ROOT / "docs" / "measured.md").read_text() == tables["page"](), (
        "run python benchmarks/tables.py"
    )


def test_there_are_pages() -> None:
    assert {page.stem for page in PAGES} >= {"codes", "map", "samples", "travel"}


def test_the_gallery_shows_every_example_with_its_picture() -> None:
    gallery = (ROOT / "docs" / "gallery.md").read_text()
    entry = r"\]\(pictures/gallery/(\w+)\.png\)\n(?:(?!^## ).)*?^```python\n(.*?)^```"
    shown = dict(re.findall(entry, gallery, re.DOTALL | re.MULTILINE))
    scripts = {script.stem: script.read_text() for script in (ROOT / "examples").glob("*.py")}
    assert shown == {name: code.split('"""\n\n', 1)[1] for name, code in scripts.items()}
    pictures = ROOT / "docs" / "pictures" / "gallery"
    assert {picture.stem for picture in pictures.iterdir()} == set(scripts)
    assert all(f'Path("{name}.png")' in code for name, code in scripts.items())
