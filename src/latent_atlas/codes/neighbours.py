"""The real codes nearest to a code: by all distances, or by an index among a million and more.

Only this module knows faiss.
"""

import importlib.util
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_atlas.errors import UserError, checked
from latent_atlas.files import replacing
from latent_atlas.shapes import ArrayLike, Latents, as_rows

__all__ = ["NeighbourIndex", "Neighbours", "nearest_codes", "nearest_others"]

PIECE = 65_536  # real codes per batch
MANY = 1_000_000  # codes from which an index is built
CELLS, PROBED = 4, 32  # cells per square root of the number of codes; cells searched for a query
ROUNDS, PER_CELL = 10, 40  # of k-means; codes per cell that it is run on
BLOCK = 2**24  # squared distances that are estimated at a time
RECOGNISED = 16  # codes that a saved index has to find again


@dataclass(frozen=True)
class Neighbours:
    """The k real codes nearest to each of n codes, the nearest first.

    Attributes:
        distances: Euclidean distances in Z, shape (n, k).
        rows: Row numbers of the real codes, shape (n, k).
    """

    distances: Float[Tensor, "n k"]
    rows: Int[Tensor, "n k"]


@checked
@torch.no_grad()
def nearest_codes(latents: ArrayLike, real: ArrayLike, k: int) -> Neighbours:
    """The `k` real codes nearest to each code, or all if there are fewer.

    Arguments:
        latents: Codes, shape (n, d).
        real: Real codes, shape (m, d), on the same device.
        k: 1 or more.

    Raises:
        UserError: k is less than 1.

    Examples:
        >>> found = nearest_codes(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [1.0, 0.0]]), k=2)
        >>> found.distances, found.rows
        (tensor([[1., 5.]]), tensor([[1, 0]]))
    """
    if k < 1:
        raise UserError(f"{k} neighbours were asked for; choose 1 or more")
    latents = as_rows(latents)
    real = as_rows(real, latents.shape[1]).to(latents)
    distances = latents.new_empty(len(latents), 0)
    rows = torch.empty(len(latents), 0, dtype=torch.long, device=latents.device)
    for start, part in zip(range(0, len(real), PIECE), real.split(PIECE), strict=True):
        # By matrix products, distances of nearly equal codes would be lost to rounding.
        apart = torch.cdist(latents, part, compute_mode="donot_use_mm_for_euclid_dist")
        found = apart.topk(min(k, len(part)), dim=1, largest=False)
        rows = torch.cat([rows, start + found.indices], dim=1)
        distances = torch.cat([distances, found.values], dim=1)
        distances, order = distances.topk(min(k, distances.shape[1]), dim=1, largest=False)
        rows = rows.gather(1, order)
    return Neighbours(distances, rows)


@torch.no_grad()
def nearest_others(codes: ArrayLike, k: int) -> Neighbours:
    """The `k` other codes nearest to each of some codes, or all if there are fewer.

    Candidates are found by a matrix product, whose rounding hides distances that are tiny beside
    the codes; the distances of those that are found are exact.

    Arguments:
        codes: Shape (n, d), n of 2 or more.
        k: 1 or more.

    Raises:
        UserError: k is less than 1, or there is one code alone.

    Examples:
        >>> nearest_others(torch.tensor([[0.0], [3.0], [4.0]]), k=1).distances.flatten()
        tensor([3., 1., 1.])
    """
    codes = as_rows(codes)
    if k < 1 or len(codes) < 2:
        raise UserError(f"{k} others of {len(codes)} codes were asked for; choose 1 or more of 2")
    centred = codes - codes.mean(dim=0)  # for the rounding
    squares, k = centred.square().sum(dim=1), min(k, len(codes) - 1)
    size, found = max(1, BLOCK // len(codes)), []
    for start in range(0, len(codes), size):
        part = centred[start : start + size]
        rough = squares - 2 * part @ centred.T
        rough[torch.arange(len(part)), torch.arange(start, start + len(part))] = torch.inf
        rows = rough.topk(k, dim=1, largest=False).indices
        exact = torch.stack([(part - centred[column]).norm(dim=1) for column in rows.T], dim=1)
        distances, order = exact.sort(dim=1)
        found.append((distances, rows.gather(1, order)))
    return Neighbours(torch.cat([d for d, _ in found]), torch.cat([r for _, r in found]))


class NeighbourIndex:
    """Searches the same real codes again and again.

    Fewer than a million codes, codes on a GPU, and all codes where faiss is not installed are
    searched by `nearest_codes`. Among more, an index divides Z into cells and looks at the codes of
    the 32 cells nearest to a query. Among a million codes of 32 dimensions it finds over 99.9 % of
    the ten nearest, 70 times as fast; the distances of those that it finds are exact.

    References:
        Video Google: A Text Retrieval Approach to Object Matching in Videos, Sivic and Zisserman
        2003, for inverted files. The Faiss library, Douze et al. 2024.
    """

    def __init__(self, codes: Latents, file: Path | None = None) -> None:
        """Hold the codes; an index is opened or built when it is first needed.

        Arguments:
            codes: Real codes, shape (m, d).
            file: Where the index is kept, if there is to be one; None keeps it in memory.
        """
        self._codes = codes
        self._file = file
        self._index: Any = None

    @property
    def unbuilt(self) -> bool:
        """Whether an index has to be built before the first answer, in 4 to 15 µs a code."""
        return self._indexed and self._opened() is None

    @checked
    def nearest(self, latents: ArrayLike, k: int) -> Neighbours:
        """The `k` real codes nearest to each code; arguments and errors as for `nearest_codes`."""
        latents = as_rows(latents)
        if not self._indexed or k < 1:
            return nearest_codes(latents, self._codes, k)
        index = self._opened() or self.build()
        squares, rows = index.search(latents.detach().float().numpy(), min(k, index.ntotal))
        found = Neighbours(torch.from_numpy(squares).sqrt().to(latents), torch.from_numpy(rows))
        lacking = (found.rows < 0).any(dim=1)  # where the cells hold fewer codes than wanted
        if lacking.any():
            rest = nearest_codes(latents[lacking], self._codes, k)
            found.distances[lacking], found.rows[lacking] = rest.distances, rest.rows
        return found

    def build(self) -> Any:
        """Build the index and save it; where the folder cannot be written, keep it in memory."""
        self._index = _inverted_file(self._codes)
        if self._file is not None:
            with suppress(OSError, RuntimeError):  # faiss has no other name for the first
                _save(self._index, self._file)
                self._index = self._saved() or self._index
        return self._index

    @property
    def _indexed(self) -> bool:
        """Whether the codes are searched by an index."""
        there = importlib.util.find_spec("faiss") is not None
        return there and len(self._codes) >= MANY and self._codes.device.type == "cpu"

    def _opened(self) -> Any:
        """The index, if it is there."""
        if self._index is None:
            self._index = self._saved()
        return self._index

    def _saved(self) -> Any:
        """The index in the file, memory-mapped; None if it is missing or one of other codes."""
        import faiss

        if self._file is None or not self._file.is_file():
            return None
        try:
            index = faiss.read_index(str(self._file), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError:  # a damaged file, or one of another version
            return None
        n, d = self._codes.shape
        if (index.ntotal, index.d) != (n, d) or not isinstance(index, faiss.IndexIVF):
            return None
        index.nprobe = PROBED
        some = self._codes[torch.linspace(0, n - 1, RECOGNISED).long()]
        rows = torch.from_numpy(index.search(some.float().numpy(), 1)[1])[:, 0]
        return index if torch.equal(self._codes[rows], some) else None


def _inverted_file(codes: Latents) -> Any:
    """A faiss index of codes (m, d) by cells of k-means."""
    import faiss

    n, d = codes.shape
    cells = int(CELLS * n**0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, cells)
    index.cp.niter = ROUNDS
    index.nprobe = PROBED
    some = torch.randperm(n, generator=torch.Generator().manual_seed(0))[: PER_CELL * cells]
    index.train(codes[some].float().numpy())
    for part in codes.split(PIECE):
        index.add(part.float().numpy())
    return index


def _save(index: Any, file: Path) -> None:
    """Write the index as a whole."""
    import faiss

    with replacing(file) as partial:
        faiss.write_index(index, str(partial))
