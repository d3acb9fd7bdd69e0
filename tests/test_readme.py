"""README does what it says: its Python blocks run, and each of its commands, on a small run and in this process."""

import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn
from packaging.requirements import Requirement
from PIL import Image
from sklearn.datasets import load_digits

from command_line import latent_atlas
from latent_atlas.attributes.probes import ClassProbe
from reader import ROOT, run_blocks
from runs import quick_gallery

READMES = [ROOT / "README.md"]  # README.ko.md has the same code: test_korean.py
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHELL = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`((?:latent-atlas|make|pip) [^`]+)`")

# What makes the long commands short; all others run as they are written.
QUICK = {
    "train": ["--dry-run"],
    "study": ["--dry-run"],
    "fit": ["--steps", "40", "--set", "map.width=16", "--set", "map.batch_size=128"],
    "evaluate": ["--images", "40", "--extractor", "pixels"],
    "serve": ["--port", "0", "--no-browser"],
}


@pytest.fixture(scope="module")
def reader(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo, as it is before its pictures are drawn, 60 photos and a file of codes."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(digits_run, folder / "runs" / "demo")
    (folder / "photos").mkdir()
    for number, pixels in enumerate(load_digits().images[:60]):
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(folder / "photos" / f"{number}.png")
    np.save(folder / "codes.npy", np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32))
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")  # so small a run deserves them
@pytest.mark.parametrize("readme", READMES, ids=lambda page: page.name)
def test_its_blocks_run(readme: Path, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reader)
    assert run_blocks(readme, monkeypatch) > 0


def commands(readme: Path) -> list[str]:
    """The lines of its shell blocks without comments, a continued line as one, and the commands in its sentences."""
    text = readme.read_text()
    lines = "\n".join(SHELL.findall(text)).replace("\\\n", " ").replace(" && ", "\n").splitlines()
    found = [shlex.join(shlex.split(line.removeprefix("$ "), comments=True)) for line in lines]
    return [command for command in dict.fromkeys([*found, *INLINE.findall(text)]) if command]


def ours(words: list[str]) -> None:
    """A command of this package; the places that it names are made where they are missing."""
    words = [
        word if option == "--out" else there(word)
        for option, word in zip(["", *words], words, strict=False)
    ]
    assert latent_atlas(*words, *([] if "--resume" in words else QUICK.get(words[0], []))) == 0


def there(word: str) -> str:
    """A word of a command; a folder of images, an image or a run that it names is there afterwards."""
    if re.fullmatch(r"[A-Z]+", word):
        return "photos"
    if re.fullmatch(r"[\w/-]+\.(jpg|jpeg|png)", word) and not Path(word).exists():
        shutil.copy(f"photos/{sum(word.encode()) % 60}.png", word)
    if re.fullmatch(r"runs/[\w-]+", word) and not Path(word).exists():
        shutil.copytree("runs/demo", word)
    return word


def made(words: list[str]) -> None:
    """Targets of the Makefile."""
    rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words) <= set(rules)


def installed(words: list[str]) -> None:
    """Our project with extras that it has, or packages that it needs, constrained by files that are here."""
    verb, *rest = words
    assert verb == "install"
    known = {Requirement(needed).name for needed in PROJECT["dependencies"]} | {PROJECT["name"]}
    for option, word in zip(["", *rest], rest, strict=False):
        if option in ("-c", "--constraint"):
            assert (ROOT / word).is_file()
        elif not word.startswith("-"):
            wanted = Requirement(re.sub(r"^\.", PROJECT["name"], word))
            assert wanted.name in known
            assert wanted.extras <= set(PROJECT["optional-dependencies"])


RUNNERS: dict[str, Callable[[list[str]], None]] = {
    "latent-atlas": ours,
    "make": made,
    "pip": installed,
}


@pytest.fixture
def in_a_moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing serves until it is interrupted, rehearses a study or traces networks: other tests see to these."""

    def folder_of(atlas: Any, folder: Path, **about: Any) -> SimpleNamespace:
        folder.mkdir(parents=True)
        return SimpleNamespace(files={}, left_out=())

    monkeypatch.setattr(ClassProbe, "fit", partial(ClassProbe.fit, steps=100))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr("latent_atlas.study.timing.rehearse", lambda design, device: {})
    monkeypatch.setattr("latent_atlas.explorer.static_export.export.write_folder", folder_of)
    with quick_gallery():
        yield


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("in_a_moment")
@pytest.mark.parametrize(
    ("readme", "command"),
    [(readme, command) for readme in READMES for command in commands(readme)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_command_runs(
    readme: Path, command: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(
        reader, tmp_path, dirs_exist_ok=True
    )  # so that no command depends on the ones before it
    monkeypatch.chdir(tmp_path)
    name, *words = shlex.split(command)
    assert name in RUNNERS, (
        f"{readme.name} asks for {name!r}, which this test does not know; add it to RUNNERS"
    )
    RUNNERS[name](words)


def test_it_has_commands() -> None:
    told = {
        shlex.split(command)[1]
        for command in commands(ROOT / "README.md")
        if command.startswith("latent-atlas")
    }
    assert told >= {"demo", "train", "serve", "travel", "sample", "anomalies"}
