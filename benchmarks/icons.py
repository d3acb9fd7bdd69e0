"""A collection of 1,870 icons with transparency in nine kinds: Twemoji, fetched from npm.

The package `emoji-datasource-twitter` is fetched with `npm pack` (62 MB), of which the 64 px images of emoji without skin
tones are kept (5 MB), in a folder for each kind. The graphics are Twemoji, copyright Twitter, Inc. and other
contributors, licence CC-BY 4.0 (https://creativecommons.org/licenses/by/4.0/); the package's data are of the MIT licence.
Nothing of it is in this repository.

    python benchmarks/icons.py                           # prints the folder; fetched once
    latent-atlas train runs/data/icons --quick --out runs/icons
"""

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "fetch_icons", "packed"]

PACKAGE = "emoji-datasource-twitter"
VERSION = "16.0.0"
IMAGES = "img/twitter/64"
FOLDER = Path(__file__).parents[1] / "runs" / "data" / "icons"


def main() -> None:
    print(fetch_icons())


def fetch_icons(folder: Path = FOLDER) -> Path:
    """The folder of icons, with a folder for each kind; fetched if it is not there.

    Raises:
        SystemExit: npm is not installed, or cannot fetch the package.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        with tarfile.open(packed(Path(made), PACKAGE, VERSION)) as package:
            read = package.extractfile("package/emoji.json")
            assert read is not None
            for name, kind in icons(json.load(read)).items():
                place = Path(made) / "icons" / kind / name
                place.parent.mkdir(parents=True, exist_ok=True)
                image = package.extractfile(f"package/{IMAGES}/{name}")
                assert image is not None
                place.write_bytes(image.read())
        shutil.move(Path(made) / "icons", folder)  # whole, or not at all
    return folder


def packed(folder: Path, name: str, version: str) -> Path:
    """A package as npm serves it, in `folder`.

    Raises:
        SystemExit: npm is not installed, or cannot fetch it.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(f"npm was not found; install Node.js, whose npm fetches {name}")
    wanted = f"{name}@{version}"
    done = subprocess.run(
        [npm, "pack", wanted, "--silent"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"npm could not fetch {wanted}: {done.stderr.strip()}")
    return folder / f"{name}-{version}.tgz"


def icons(emoji: list[dict[str, Any]]) -> dict[str, str]:
    """The file of each icon and its kind; without parts of others, and without a picture's second name."""
    return {
        one["image"]: one["category"]
        for one in emoji
        if one["has_img_twitter"] and one["category"] != "Component" and "obsoleted_by" not in one
    }


if __name__ == "__main__":
    main()
