"""docs/commands.md names every command, every field that it prints with --json, and every exit code."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from command_line import latent_atlas
from hub import Hub
from latent_atlas.atlas.hub import publish
from latent_atlas.cli.parser import build_parser
from latent_atlas.study.run import Conclusion
from reader import ROOT
from runs import quick_gallery

PAGE = (ROOT / "docs" / "commands.md").read_text()
MODEL = """
def corners(images):
    return images.mean(1)[:, 1::4, 1::4].flatten(1)

from contextlib import contextmanager
@contextmanager
def tracker(run, name, settings):
    yield lambda *sent: None
"""
TYPES: dict[str, Any] = {
    "text": str,
    "number": (int, float),
    "true or false": bool,
    "list": list,
    "object": dict,
    "null": type(None),
}
TINY = "--steps 20 --set map.width=8 --set map.depth=1"
COMMANDS = {  # by the headings of the page
    "train, demo, report RUN": "report run",
    "train SOURCE --dry-run": "train digits --out new --limit 60 --dry-run",
    "pack SOURCE OUT": "pack photos new --image-size 8 --channels 1",
    "encode RUN SOURCE": "encode run photos --out new",
    "embed SOURCE": f"embed photos --out new --image-size 8 --model of_page:corners {TINY}",
    "fit CODES": f"fit codes.npy --out new {TINY}",
    "map RUN": "map run",
    "map RUN --boundaries": "map run --boundaries prior --steps 20",
    "travel RUN PLACE": "travel run test:0 test:1 --frames 5",
    "sample RUN": "sample run --count 4",
    "anomalies RUN IMAGES": "anomalies run photos",
    "anomalies RUN": "anomalies run",
    "anomalies RUN SOURCE --out FOLDER": "anomalies run photos --out new",
    "anomalies RUN --samples N": "anomalies run --samples 4",
    "compare RUN OTHER": "compare run photos",
    "duplicates RUN": "duplicates embedded",
    "evaluate RUN": "evaluate run --images 20 --extractor pixels",
    "report RUN --interactive": "report run --interactive",
    "serve RUN": "serve run --port 0 --no-browser",
    "export RUN": "export run --to torch --out new",
    "push RUN hf:OWNER/NAME": "push run hf:somebody/digits",
    "pull hf:OWNER/NAME": "pull hf:somebody/digits --out new",
    "track RUN TRACKER": "track run of_page:tracker",
    "study SOURCE": "study digits --out new",
    "study SOURCE --dry-run": "study digits --out new --dry-run",
    "doctor": "doctor",
    "doctor RUN": "doctor run",
    "doctor --speed": "doctor --speed",
    "completion SHELL": "completion bash",
}


@pytest.fixture(scope="module")
def folder(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, 40 photos, a network and a file of codes."""
    folder = tmp_path_factory.mktemp("commands")
    shutil.copytree(digits_run, folder / "run")
    (folder / "photos").mkdir()
    (folder / "of_page.py").write_text(MODEL)
    for number, pixels in enumerate(load_digits().images[:40]):
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(folder / "photos" / f"{number}.png")
    np.save(folder / "codes.npy", np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert latent_atlas(*COMMANDS["embed SOURCE"].replace("new", "embedded").split()) == 0
    return folder


@pytest.fixture
def in_a_moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing serves until it is interrupted, studies, measures speed or traces networks."""
    written = SimpleNamespace(files={"index.html": 9}, left_out=())
    concluded = Conclusion((), None, {}, Path("new/study.html"))
    for name, value in {
        "uvicorn.Server.run": None,
        "latent_atlas.study.timing.rehearse": {},
        "latent_atlas.study.scheduler.run_cells": None,
        "latent_atlas.study.run.conclude": concluded,
        "latent_atlas.training.estimate.images_per_second": 100.0,
        "latent_atlas.explorer.static_export.export.write_folder": written,
    }.items():
        monkeypatch.setattr(name, lambda *words, value=value, **more: value)
    with quick_gallery():
        yield


@pytest.fixture
def repository(folder: Path, hub: Hub, tmp_path: Path) -> None:
    """A run that is published."""
    publish(folder / "run", tmp_path / "published")
    files = (tmp_path / "published").iterdir()
    hub.commit("somebody/digits", {file.name: file.read_bytes() for file in files})


def fields(heading: str) -> dict[str, str]:
    """Types by the name of the field, as the section of the page says, or the one that it names."""
    _, _, rest = PAGE.partition(f"\n### {heading}\n")
    section = rest.partition("\n### ")[0]
    others = re.findall(r"^The fields of `(\w+)`", section, re.MULTILINE)
    taken = [fields(title) for title in COMMANDS for name in others if title.startswith(name)]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", section, re.MULTILINE)
    return {name: kind for part in [*taken, dict(rows)] for name, kind in part.items()}


def check(value: dict[str, Any], known: dict[str, str]) -> None:
    """Every field of an object is known, has its type, and is there unless it is optional."""
    here = {name: kind for name, kind in known.items() if "." not in name}
    missing = {name for name, kind in here.items() if "optional" not in kind} - value.keys()
    assert not {name for name in missing if not re.search(r"\b[A-Z]+$", name)}
    for name, part in value.items():
        pattern = next((one for one in [name, *here] if one in here and matches(one, name)), None)
        assert pattern is not None, f"{name} is not on the page"
        kinds = [kind for kind in TYPES if re.search(rf"\b{kind}\b", here[pattern])]
        assert isinstance(part, tuple(TYPES[kind] for kind in kinds)), name
        inner = {
            rest: kind
            for one, kind in known.items()
            for prefix, dot, rest in [one.partition(".")]
            if dot and prefix == pattern
        }
        for one in part if isinstance(part, list) else [part]:
            if inner and isinstance(one, dict):
                check(one, inner)


def matches(pattern: str, name: str) -> bool:
    """Whether a field has a name in which a word in capitals stands for any."""
    return name == pattern or bool(re.fullmatch(re.sub(r"\b[A-Z]+$", ".*", pattern), name))


@pytest.mark.filterwarnings("ignore::UserWarning")  # so small a run deserves them
@pytest.mark.usefixtures("in_a_moment")
@pytest.mark.parametrize("heading", COMMANDS)
def test_a_command_prints_the_fields_that_the_page_names(
    heading: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if "hf:" in heading:
        request.getfixturevalue("repository")
    monkeypatch.chdir(folder)
    shutil.rmtree("new", ignore_errors=True)
    assert latent_atlas(*COMMANDS[heading].split(), "--json") == 0
    check(json.loads(capsys.readouterr().out), fields(heading))


def test_every_command_has_a_section() -> None:
    titles = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert titles == [*COMMANDS]
    named = {
        word for title in titles for word in re.findall(r"\b[a-z]{3,}\b", title.split(" --")[0])
    }
    assert named == set(build_parser().commands())


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_page_has_the_exit_code_of_a_command_that_is_stopped(
    sent: signal.Signals, tmp_path: Path
) -> None:
    # A shell without job control has what it starts in the background ignore Ctrl-C.
    heed = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    begin = [sys.executable, "-c", heed + "runpy.run_module('latent_atlas', run_name='__main__')"]
    words = [*begin, "train", "digits", "--out", str(tmp_path / "run")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        assert command.stderr.readline().startswith("images: ")
        command.send_signal(sent)
        _, told = command.communicate(timeout=120)
    assert "Traceback" not in told
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert {"0", "1", "2"} < set(codes)
    assert str(command.returncode) in codes[3:]


def test_a_field_that_the_page_does_not_name_or_that_is_missing_is_found() -> None:
    known = {"file": "text", "map": "object", "map.kl": "number", "reason": "text, optional"}
    check({"file": "a", "map": {"kl": 1.0}}, known)
    for wrong in (
        {"map": {"kl": 1.0}},
        {"file": 1, "map": {"kl": 1.0}},
        {"file": "a", "map": {}},
        {"file": "a", "map": {"kl": 1.0}, "more": 1},
    ):
        with pytest.raises(AssertionError):
            check(wrong, known)
