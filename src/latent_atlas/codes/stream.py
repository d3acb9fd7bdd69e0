"""Codes in files that are too large to hold: found, checked, and read a piece at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt64
from torch import Tensor

from latent_atlas.codes.files import LOG_VARIANCES, name_of_codes, read_arrays
from latent_atlas.errors import require
from latent_atlas.files import read_object
from latent_atlas.runs import tensor_shapes
from latent_atlas.shapes import ArrayLike, Latents, as_array

__all__ = ["CodeFiles", "Piece"]

MANY = 1_000_000  # codes from which a single file is not read as a whole
VALUES = 2**21  # coordinates of a piece

Numbers = UInt64[np.ndarray, " n"]


@dataclass(frozen=True)
class Piece:
    """Some codes of a file.

    Attributes:
        means, log_variances: Rows (n, d), as they are stored; not every file has log-variances.
        order, side: Halves of the digests: codes with the lowest `order` are drawn, and `side`
            decides which are held out.
        labels: Class numbers, shape (n,), or None.
        place: The file, and the number of the first of these codes in it.
    """

    means: Tensor
    log_variances: Tensor | None
    order: Numbers
    side: Numbers
    labels: Tensor | None
    place: tuple[Path, int]


@dataclass(frozen=True)
class CodeFiles:
    """Files with codes of one shape, read a piece at a time.

    Attributes:
        place: The folder, or the only file.
        files: In the order of their names.
        count: Number of codes in all of them.
        shape: Of one code: (d,), or another such as (c, h, w).
        label_names: Names of the classes; empty where the folder does not say.
    """

    place: Path
    files: tuple[Path, ...]
    count: int
    shape: tuple[int, ...]
    label_names: tuple[str, ...] = ()

    @classmethod
    def find(cls, place: Path) -> "CodeFiles | None":
        """The files in a folder, or one large file; None for a file that can be read as a whole.

        Raises:
            UserError: the folder has no codes, the `encode` into it has not finished, or the codes
                of its files differ in shape.
        """
        if place.is_dir():
            return cls._in(place)
        if not place.is_file() or place.suffix.lower() not in (".npy", ".safetensors"):
            return None
        count, *shape = _shape(place) or (0,)
        streamed = count >= MANY and len(shape) > 0
        return cls(place, (place,), count, tuple(shape)) if streamed else None

    @classmethod
    def _in(cls, folder: Path) -> "CodeFiles":
        """The files in a folder."""
        files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".npy"))
        require(
            not (folder / "pack.json").is_file(),
            f"'{folder}' is a pack of images; encode them first: latent-atlas encode RUN {folder} "
            "--out CODES",
        )
        manifest = folder / "manifest.json"
        require(
            bool(files) or not manifest.is_file(),
            f"there are no .safetensors files in '{folder}': fit does not read Parquet and Lance; "
            "encode again, without --to",
        )
        require(
            bool(files),
            f"there are no .safetensors or .npy files of codes in '{folder}'; of images, "
            "`latent-atlas embed` makes codes, and `latent-atlas train` a model of its own",
        )
        require(
            manifest.is_file() or not (folder / "job.json").is_file(),
            f"'{folder}' is not complete; the `latent-atlas encode` that began it finishes it",
        )
        about = read_object(manifest, "encode again") if manifest.is_file() else {}
        shapes = {file: _shape(file) for file in files}
        first = shapes[files[0]]
        for file, shape in shapes.items():
            require(
                len(shape) > 1 and 0 not in shape[1:] and shape[1:] == first[1:],
                f"'{file}' has codes of shape {shape} and '{files[0]}' of {first}; give files of "
                "codes (n, d), or (n, ...) of one shape",
            )
        count = sum(shape[0] for shape in shapes.values())
        names = tuple(about.get("label_names", ()))
        return cls(folder, tuple(files), count, first[1:], names)

    @property
    def dimension(self) -> int:
        """d, the number of coordinates of a code."""
        return torch.Size(self.shape).numel()

    def pieces(self) -> Iterator[Piece]:
        """All codes, some at a time.

        Raises:
            UserError: a file is damaged, or its arrays are not those of codes.
        """
        size = max(1, VALUES // self.dimension)
        for file in self.files:
            means, spread, labels, digests = _arrays(file)
            for start in range(0, len(means), size):
                rows = slice(start, start + size)
                some = as_array(means[rows]).flatten(1)
                halves = _hashed(some) if digests is None else digests[rows].numpy().view(">u8")
                order, side = halves.astype(np.uint64).T
                some_spread = None if spread is None else spread[rows].flatten(1)
                some_labels = None if labels is None else labels[rows]
                yield Piece(some, some_spread, order, side, some_labels, (file, start))


def _shape(file: Path) -> tuple[int, ...]:
    """The shape of the codes in a file."""
    if file.suffix == ".npy":
        return tuple(read_arrays(file, mapped=True)["means"].shape)
    shapes = tensor_shapes(file)
    return shapes[name_of_codes(shapes, file)]


def _arrays(file: Path) -> tuple[ArrayLike, Tensor | None, Tensor | None, Tensor | None]:
    """Means, log-variances, labels and digests of a file, which stay in it.

    Raises:
        UserError: they are not those of codes.
    """
    arrays: dict[str, Any] = read_arrays(file, mapped=True)
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    means = arrays[name_of_codes(shapes, file)]
    spread = next((arrays[name] for name in LOG_VARIANCES if name in arrays), None)
    labels, digests = arrays.get("labels"), arrays.get("digests")
    n = len(means)
    fits = as_array(means[:1]).is_floating_point() and (
        spread is None or spread.shape == means.shape
    )
    fits = fits and (labels is None or (labels.shape == (n,) and not labels.is_floating_point()))
    fits = fits and (digests is None or (digests.shape == (n, 16) and digests.dtype == torch.uint8))
    require(
        fits,
        f"'{file}' holds {', '.join(f'{name} {shape}' for name, shape in shapes.items())}; give "
        "floats as `means`, `log_variances` of that shape, integers (n,) as `labels` and bytes "
        "(n, 16) as `digests`",
    )
    return means, spread, labels, digests


def _hashed(means: Latents) -> np.ndarray:
    """Two 64-bit hashes of each code, shape (n, 2): the rows word by word, by multiplication.

    References:
        Computationally Easy, Spectrally Good Multipliers, Steele and Vigna 2021.
    """
    words = (means.float() + 0.0).contiguous().numpy().view(np.uint32)  # 0.0 makes -0 equal 0
    state = np.full(len(words), 0x9E3779B97F4A7C15, np.uint64)
    for word in words.T:
        state = _mixed(state ^ word)
    return np.stack([state, _mixed(state ^ np.uint64(0xD1342543DE82EF95))], axis=1)


def _mixed(state: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits in which each bit depends on nearly all."""
    state = (state ^ (state >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    state = (state ^ (state >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return state ^ (state >> np.uint64(32))
