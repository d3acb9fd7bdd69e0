"""The guide's Python runs as it is written: every page, from its first block to its last."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from command_line import latent_atlas

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text())
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SMALL = (
    "--steps 30 --batch-size 32 --set model.width=8 --set train.adversarial_start=15 "
    "--set map.steps=60 --set map.width=32 --set map.depth=1"
)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run that the guide speaks of."""
    folder = tmp_path_factory.mktemp("reader")
    assert latent_atlas("train", "digits", "--out", str(folder / "runs/demo"), *SMALL.split()) == 0
    return folder


def given() -> dict[str, object]:
    """What a reader has who comes with codes, or with an autoencoder."""
    generator = torch.Generator().manual_seed(0)

    def encode(images: Tensor) -> Tensor:
        return 4 * torch.nn.functional.avg_pool2d(images, 4).flatten(1) - 2

    def decode(latents: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(
            (latents.unflatten(1, (1, 2, 2)) + 2) / 4, scale_factor=4
        )

    images = torch.rand(200, 1, 8, 8, generator=generator)
    return {
        "codes": torch.randn(500, 3, generator=generator),
        "images": images,
        "encode": encode,
        "decode": decode,
    }


@pytest.mark.filterwarnings("ignore::UserWarning")  # so small a run deserves them
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(
    page: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    reader = given()
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, page.name, "exec"), reader)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_readme_s_atlas_does_what_it_says(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    first, *_ = BLOCK.findall((ROOT / "README.md").read_text())
    exec(compile(first, "README.md", "exec"), {})


def test_the_figures_are_those_of_the_results() -> None:
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    assert (ROOT / "docs" / "measured.md").read_text() == tables["page"](), (
        "run python benchmarks/tables.py"
    )


def test_there_are_pages() -> None:
    assert {page.stem for page in PAGES} >= {"codes", "map", "samples", "travel"}
