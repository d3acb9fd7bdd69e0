"""The sample of many codes that a map is fitted to.

Which codes are drawn and which are held out follows from the digest of each image, or of the code
where there is none. So every code has the same chance, equal images stay together, neither the
order nor the number of files matters, and another pass draws the same codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from latent_atlas.codes.files import FEWEST, HELD_OUT, class_numbers
from latent_atlas.codes.posterior import CROWD, FAR_OUT, Codes, as_codes
from latent_atlas.codes.stream import CodeFiles, Piece
from latent_atlas.errors import UserError, require
from latent_atlas.shapes import Labels, Latents

__all__ = ["KEPT", "Sampled", "codes_of", "sample_codes"]

MOST_TRAIN, MOST_HELD_OUT = 4_000_000, 100_000  # codes of the sample
MOST_BYTES = 2**29  # of its training codes
KEPT = 200_000
"""Codes that stay in the run."""
BINS = 2**16  # of digests, by which codes are counted before they are drawn
UNLIKE = 8.0  # standard errors by which the means of the sample and of all codes may differ

Counts = Int[np.ndarray, " bins"]


@dataclass(frozen=True)
class Sampled:
    """Codes drawn from many, all with the same chance; those that repeat others are left out.

    Attributes:
        train, held_out: To fit a map to: at most 4,000,000 and 100,000 codes, as stored.
        kept: Some of these by part with their class numbers, at most 200,000 in all, in single
            precision and in the order of their digests: the first of them are a fair sample too.
        count: Number of codes that these were drawn from, by part.
        label_names: Names of the classes.
        warnings: What should be known of the codes, in sentences.
    """

    train: Codes
    held_out: Codes
    kept: dict[str, tuple[Codes, Labels | None]]
    count: dict[str, int]
    label_names: tuple[str, ...]
    warnings: tuple[str, ...]


def sample_codes(files: CodeFiles, held_out: float, most: int = MOST_TRAIN) -> Sampled:
    """Draw codes to fit a map to: one pass over the digests and one over the codes.

    Arguments:
        files: Where the codes are.
        held_out: Share of them to hold out: those whose digest is below it, as in
            `data.split.held_out_by_content`.
        most: Codes to train on at most; there are fewer if these take more than 512 MiB.

    Raises:
        UserError: these are not codes, some are not finite or far from all others, or there are too
            few.
    """
    counts = {part: np.zeros(BINS, np.int64) for part in ("train", "held_out")}
    for piece in files.pieces():
        for part, mask in _sides(piece, held_out):
            counts[part] += np.bincount(_bins(piece)[mask], minlength=BINS)
    total = {part: int(some.sum()) for part, some in counts.items()}
    _check_enough(total)
    most = min(most, MOST_TRAIN, MOST_BYTES // _bytes(files))
    limits = {"train": most, "held_out": MOST_HELD_OUT}
    drawn = {part: _Drawn(some, limits[part], files.dimension) for part, some in counts.items()}
    moments = _Moments()
    for piece in files.pieces():
        moments.add(piece)
        for part, mask in _sides(piece, held_out):
            drawn[part].add(piece, mask)
    share = min(1.0, KEPT / files.count)
    kept = {part: some.first(round(share * total[part])) for part, some in drawn.items()}
    names = _name_classes(kept, files)
    warnings = moments.compare(kept["train"][0])
    if repeated := sum(some.repeated for some in drawn.values()):
        of = sum(len(some.order) for some in drawn.values())
        warnings.append(f"{repeated} of the {of} codes drawn repeat others and were left out")
    codes = {part: drawn.pop(part).codes() for part in counts}
    return Sampled(**codes, kept=kept, count=total, label_names=names, warnings=tuple(warnings))


class _Drawn:
    """The codes of a part whose digests are the lowest."""

    def __init__(self, counts: Counts, limit: int, dimension: int) -> None:
        """Arguments: how many codes there are by the first two bytes of `order`; how many to draw
        at most; d.
        """
        until = counts.cumsum()
        self._bins = int(np.searchsorted(until, limit, side="right"))
        n = int(until[self._bins - 1]) if self._bins else 0
        require(
            n >= min(HELD_OUT, limit),
            f"of {until[-1]} codes {counts.max()} have digests that begin alike; digests have to "
            "be hashes of the images",
        )
        self.order = np.empty(n, np.uint64)
        self._shape = (n, dimension)
        self._tensors: dict[str, Tensor] = {}
        self._filled = 0

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        """Take what is drawn of a piece, if the mask has it."""
        rows = np.flatnonzero(mask & (_bins(piece) < self._bins))
        to = slice(self._filled, self._filled + len(rows))
        self.order[to] = piece.order[rows]
        chosen = torch.from_numpy(rows)
        for name in ("means", "log_variances", "labels"):
            values = getattr(piece, name)
            require(
                (values is None) == (name not in self._tensors) or self._filled == 0,
                f"'{piece.place[0]}' and the files before it do not all have `{name}`",
            )
            if values is None:
                continue
            if name not in self._tensors:
                shape = self._shape if values.ndim > 1 else self._shape[:1]
                self._tensors[name] = torch.empty(shape, dtype=_stored(values.dtype))
            self._tensors[name][to] = values[chosen].to(self._tensors[name].dtype)
        self._filled += len(rows)

    @property
    def repeated(self) -> int:
        """How many of them have the digest of another."""
        return len(self.order) - len(self._rows)

    @cached_property
    def _rows(self) -> Tensor:
        """One of each digest, the lowest first."""
        return torch.from_numpy(np.unique(self.order, return_index=True)[1])

    def codes(self) -> Codes:
        """One of each digest."""
        means, spread = self._tensors["means"], self._tensors.get("log_variances")
        if self.repeated:
            rows = self._rows.sort().values
            means, spread = means[rows], None if spread is None else spread[rows]
        return Codes(means, spread)

    def first(self, n: int) -> tuple[Codes, Labels | None]:
        """Those of the `n` lowest digests with their labels."""
        rows, labels = self._rows[:n], self._tensors.get("labels")
        whole = Codes(self._tensors["means"], self._tensors.get("log_variances"))
        return whole[rows], None if labels is None else labels[rows]


class _Moments:
    """Mean and variance of each coordinate, and the code that is furthest away, of all codes."""

    def __init__(self) -> None:
        self._count = 0
        self._far = (0.0, "")
        self._middle = self._total = self._squares = torch.empty(0)

    def add(self, piece: Piece) -> None:
        """Take the codes of a piece.

        Raises:
            UserError: some are not finite, or too large to be squared.
        """
        means = piece.means.float()
        if self._count == 0:
            self._middle = means.median(dim=0).values
            self._total = self._squares = torch.zeros_like(self._middle, dtype=torch.float64)
        offsets = means - self._middle
        squares = offsets.square()
        distances = squares.sum(dim=1)
        spread = piece.log_variances
        finite = distances.isfinite()
        finite &= True if spread is None else spread.float().sum(dim=1).isfinite()
        file, start = piece.place
        if not finite.all():
            bad = (~finite).nonzero()[:, 0]
            raise UserError(
                f"'{file}' has codes that are not finite, or whose squares are not, the first at "
                f"row {start + int(bad[0])}; leave these codes out"
            )
        self._count += len(means)
        self._total = self._total + offsets.sum(dim=0)
        self._squares = self._squares + squares.sum(dim=0)
        far, row = distances.max(dim=0)
        self._far = max(self._far, (far.sqrt().item(), f"row {start + int(row)} of '{file}'"))

    def compare(self, sample: Codes) -> list[str]:
        """Warnings of the codes by a sample of them, with those of `as_codes`.

        Raises:
            UserError: no map can be fitted to such codes, or one is far from all others.
        """
        usual = (sample.means - self._middle).norm(dim=1).quantile(CROWD).item()
        far, place = self._far
        require(
            not 0 < FAR_OUT * usual < far,
            f"{place} is over {FAR_OUT:,.0f} times as far from the others as usual; leave it out",
        )
        warnings = as_codes(sample.means, sample.log_variances)[1]
        mean = self._total / self._count
        error = ((self._squares / self._count - mean.square()) / len(sample)).sqrt()
        apart = (sample.means - self._middle).double().mean(dim=0) - mean
        if (worst := (apart.abs() / error.clamp_min(1e-30)).max().item()) > UNLIKE:
            warnings.append(
                f"the mean of {len(sample)} codes drawn by their digests is {worst:.0f} standard "
                f"errors from that of all {self._count}: many codes repeat, or the digests are not "
                "hashes of the images"
            )
        return warnings


def codes_of(files: CodeFiles, part: str, held_out: float) -> Iterator[Latents]:
    """All codes of a part, as `sample_codes` divides them, some at a time, as stored."""
    for piece in files.pieces():
        yield piece.means[torch.from_numpy(dict(_sides(piece, held_out))[part])]


def _sides(piece: Piece, held_out: float) -> Iterator[tuple[str, np.ndarray]]:
    """The parts of the split with their masks."""
    held = piece.side.astype(np.float64) / 2.0**64 < held_out
    yield "train", ~held
    yield "held_out", held


def _bins(piece: Piece) -> np.ndarray:
    """The first two bytes of `order`, as numbers."""
    return (piece.order >> np.uint64(48)).astype(np.int64)


def _check_enough(total: dict[str, int]) -> None:
    for part, least in (("train", FEWEST), ("held_out", HELD_OUT)):
        require(
            total[part] >= least,
            f"of {sum(total.values())} codes {total['held_out']} are held out by their digests, "
            f"which leaves {total['train']}; a map needs {HELD_OUT} and {FEWEST} or more: give "
            "more codes",
        )


def _bytes(files: CodeFiles) -> int:
    """Bytes of one code as it is stored, with its log-variances."""
    piece = next(files.pieces())
    sizes = [_stored(a.dtype).itemsize for a in (piece.means, piece.log_variances) if a is not None]
    return sum(sizes) * files.dimension


def _stored(kind: torch.dtype) -> torch.dtype:
    """The type in which drawn values are held."""
    if not kind.is_floating_point:
        return torch.int64
    return kind if kind.itemsize == 2 else torch.float32


def _name_classes(
    kept: dict[str, tuple[Codes, Labels | None]], files: CodeFiles
) -> tuple[str, ...]:
    """The names of the classes; where the folder does not say, numbers, which are then replaced."""
    given = [labels for _, labels in kept.values() if labels is not None]
    if not given:
        return ()
    together = torch.cat(given)
    names = files.label_names
    require(
        not names or int(together.max()) < len(names),
        f"'{files.place}' has labels of more classes than its manifest.json names",
    )
    if not names:
        numbers, names = class_numbers(together, files.files[0])
        parts = numbers.split([len(labels) for labels in given])
        for part, labels in zip(kept, parts, strict=True):
            kept[part] = (kept[part][0], labels)
    return names
