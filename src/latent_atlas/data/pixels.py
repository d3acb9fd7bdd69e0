"""Pixels of an image set: a tensor in memory, or rows of files that stay on the disk.

A tensor of bytes (n, c, h, w) is `Pixels` as it is. `PackedImages` behaves as such a tensor where
images are read: it has a length and a shape, and every index gives a tensor of the rows meant.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from latent_atlas.shapes import Pixels

__all__ = ["PackedImages", "PackedNames", "batches", "select"]


def batches(pixels: Pixels, size: int) -> Iterator[UInt8[Tensor, "_ c h w"]]:
    """All images in their order, at most `size` at a time."""
    return (pixels[start : start + size] for start in range(0, len(pixels), size))


def select(pixels: Pixels, places: Tensor) -> Pixels:
    """Some of the images, by their places: copied in memory, and only named on the disk."""
    return pixels.at(places) if isinstance(pixels, PackedImages) else pixels[places]


class _Rows:
    """Some rows of arrays that follow each other, in any order.

    Attributes:
        starts: The first row of each array, and the number of all rows.
        chosen: The rows that are meant; None for all.
    """

    def __init__(self, sizes: Sequence[int], chosen: np.ndarray | None) -> None:
        self.starts = np.array([0, *accumulate(sizes)], dtype=np.int64)
        self.chosen = chosen

    def __len__(self) -> int:
        """How many rows are meant."""
        return int(self.starts[-1]) if self.chosen is None else len(self.chosen)

    def places(self, which: Any) -> np.ndarray:
        """Rows of the arrays for an index of this object: a slice, a mask or places."""
        if isinstance(which, slice):
            which = np.arange(*which.indices(len(self)))
        which = np.asarray(which)
        if which.dtype == np.bool_:
            which = which.nonzero()[0]
        which = np.where(which < 0, which + len(self), which)
        if which.size and not 0 <= int(which.min()) <= int(which.max()) < len(self):
            raise IndexError(f"an index is beyond the {len(self)} rows")
        return which if self.chosen is None else self.chosen[which]

    def by_array(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """For each array concerned: its number, the positions in `rows`, and the rows within it."""
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(owner):
            positions = (owner == number).nonzero()[0]
            yield int(number), positions, rows[positions] - self.starts[number]


class PackedImages(_Rows):
    """Images in arrays that are memory-mapped; the system keeps in memory what is read often."""

    def __init__(
        self,
        arrays: Sequence[UInt8[np.ndarray, "_ c h w"]],
        digest: str,
        chosen: np.ndarray | None = None,
    ) -> None:
        """Name images on the disk.

        Arguments:
            arrays: Images in 0..255, of one shape; at least one array.
            digest: Of all their pixels; it changes with any of them.
            chosen: Rows that are meant, counted through all arrays; None for all.
        """
        super().__init__([len(array) for array in arrays], chosen)
        self.arrays = tuple(arrays)
        self.digest = digest

    @property
    def shape(self) -> torch.Size:
        """(n, c, h, w)."""
        return torch.Size((len(self), *self.arrays[0].shape[1:]))

    @property
    def nbytes(self) -> int:
        """Bytes of the images that are meant, on the disk."""
        return self.shape.numel()

    def __getitem__(self, which: Any) -> Tensor:
        """Read images: see `Pixels`."""
        if isinstance(which, int):
            return self[which : which + 1 or None][0]
        rows = self.places(which)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for number, positions, within in self.by_array(rows):
            images[positions] = self.arrays[number][within]
        return torch.from_numpy(images)

    def at(self, places: Tensor) -> "PackedImages":
        """Some of the images, by their places, without reading them."""
        return PackedImages(self.arrays, self.digest, self.places(places))

    def fingerprint(self) -> bytes:
        """A hash that changes with any pixel and with the choice and order of the rows."""
        whole = hashlib.blake2b(f"{self.digest} {tuple(self.shape)}".encode(), digest_size=16)
        if self.chosen is not None:
            whole.update(np.ascontiguousarray(self.chosen).data)
        return whole.digest()


class PackedNames(_Rows, Sequence[str]):
    """Names of images in memory-mapped arrays, decoded when they are asked for."""

    def __init__(
        self, arrays: Sequence[tuple[np.ndarray, np.ndarray]], chosen: np.ndarray | None = None
    ) -> None:
        """Arguments: for each array of images, the bytes of their names (UTF-8) and the n + 1
        offsets at which these begin and end; the rows that are meant, None for all.
        """
        super().__init__([len(offsets) - 1 for _, offsets in arrays], chosen)
        self.arrays = tuple(arrays)

    def __getitem__(self, which: Any) -> Any:
        """One name, or those of a slice."""
        if isinstance(which, slice):
            return tuple(self[i] for i in range(*which.indices(len(self))))
        row = self.places([which])
        number, _, (within,) = next(self.by_array(row))
        text, offsets = self.arrays[number]
        return text[offsets[within] : offsets[within + 1]].tobytes().decode()

    def at(self, places: Tensor) -> "PackedNames":
        """Some of the names, by their places, without reading them."""
        return PackedNames(self.arrays, self.places(places))
