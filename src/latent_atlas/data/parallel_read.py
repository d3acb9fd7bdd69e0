"""Read, decode and hash many items at once, by threads, with the results in a fixed order."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from latent_atlas.data.decode import Content, Square, UndecodableError, decode_whole, squared
from latent_atlas.data.imageset import Reject
from latent_atlas.data.levels import Levels, Scale, Tally, usual_scale
from latent_atlas.data.source import Item
from latent_atlas.data.split import digest
from latent_atlas.shapes import ByteImages

__all__ = ["Look", "Progress", "Reading", "digest_all", "read_all", "reject_or_content"]

Progress = Callable[[int, int, int], None]
"""Called with the number of items done, of all, and of rejects."""

Given = TypeVar("Given")
Result = TypeVar("Result")

_CHUNK = 32
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Look:
    """What one decoded item was like.

    Arguments:
        digest: Of its pixels at full size.
        width, height: In pixels, upright.
        channels: The fewest that hold it: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        pages: Pages of its file, of which one was read.
        shortened: Whether only the upper 8 of its 16 bits a channel were read.
        tally: Of numbers deeper than 8 bits; None for other images.
    """

    digest: bytes
    width: int
    height: int
    channels: int
    pages: int
    shortened: bool
    tally: Tally | None


@dataclass(frozen=True, eq=False)
class Reading:
    """The result of reading a list of items.

    Arguments:
        images: The images that could be decoded, in the order of the items.
        kept: Their indices in the list of items.
        looks: What they were like.
        rejects: The items that could not be read or decoded.
        levels: The scales of its floats and deep integers.
    """

    images: ByteImages
    kept: list[int]
    looks: list[Look]
    rejects: tuple[Reject, ...]
    levels: Levels


def read_all(
    items: tuple[Item, ...], square: Square, in_turn: bool, progress: Progress | None
) -> Reading:
    """Read, decode and hash all items.

    Where their scales are not known, floats and deep integers are read by the usual ones at first.
    Only if all of them together turn out to be of other scales, they are read a second time.

    Arguments:
        items: What to read.
        square: What every image becomes.
        in_turn: Read one at a time, by ascending place; decoding is still done by threads.
        progress: Called after every few items and after the last.
    """
    images = torch.empty(len(items), square.channels, square.size, square.size, dtype=torch.uint8)
    scale_of: Callable[[Tally], Scale | str] = usual_scale

    def work(i: int, content: Content) -> Look:
        whole = decode_whole(content, scale_of, items[i].name)
        images[i] = squared(whole.pixels, square)
        return Look(
            digest(whole.pixels),
            *whole.size,
            channels=whole.pixels.shape[2],
            pages=whole.pages,
            shortened=whole.shortened,
            tally=whole.tally,
        )

    outcomes: list[Look | Reject] = [_NOTHING] * len(items)
    rejected = 0
    for done, (i, outcome) in enumerate(_each(items, work, in_turn), start=1):
        outcomes[i] = outcome
        rejected += isinstance(outcome, Reject)
        if progress and (done % _CHUNK == 0 or done == len(items)):
            progress(done, len(items), rejected)
    tallies = {i: x.tally for i, x in enumerate(outcomes) if isinstance(x, Look) and x.tally}
    levels = Levels.of(list(tallies.values()), square.levels)
    scale_of = partial(_scale, square.levels, levels)
    again = {i for i, tally in tallies.items() if usual_scale(tally) != scale_of(tally)}
    for i, outcome in _each(items, work, in_turn, again):
        outcomes[i] = outcome
    kept = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Look)]
    return Reading(
        images if len(kept) == len(items) else images[kept],
        kept,
        [outcome for outcome in outcomes if isinstance(outcome, Look)],
        tuple(outcome for outcome in outcomes if isinstance(outcome, Reject)),
        levels,
    )


_NOTHING = Reject("", "")


def _scale(known: Levels, found: Levels, tally: Tally) -> Scale | str:
    """The scale of an image: the known one, which may refuse it, or that of its collection."""
    return known.scale(tally) if known.chosen(tally) else found.chosen(tally) or usual_scale(tally)


def digest_all(items: tuple[Item, ...], in_turn: bool) -> list[bytes]:
    """Digests of all contents, without decoding; b"" for a content that cannot be read."""
    digests = [b""] * len(items)
    for i, outcome in _each(items, lambda _, content: digest(content), in_turn):
        if isinstance(outcome, bytes):
            digests[i] = outcome
    return digests


def reject_or_content(item: Item) -> Content | Reject:
    """Read one item."""
    try:
        return item.read()
    except UndecodableError as error:
        return Reject(item.name, str(error))
    # On damaged data, readers of archives and of remote tables raise almost anything; none of it
    # may end a run.
    except Exception as error:
        return Reject(item.name, f"{type(error).__name__}: {error}")


def _each(
    items: tuple[Item, ...],
    work: Callable[[int, Content], Result],
    in_turn: bool,
    which: Collection[int] | None = None,
) -> Iterator[tuple[int, Result | Reject]]:
    """Apply `work` to the content of each item, or of those at the indices `which`.

    Yields (index, result) by ascending place.
    """

    def finish(i: int, content: Content | Reject) -> tuple[int, Result | Reject]:
        if isinstance(content, Reject):
            return i, content
        try:
            return i, work(i, content)
        except UndecodableError as error:
            return i, Reject(items[i].name, str(error))

    def read_and_finish(chunk: list[int]) -> list[tuple[int, Result | Reject]]:
        return [finish(i, reject_or_content(items[i])) for i in chunk]

    def finish_read(
        chunk: list[tuple[int, Content | Reject]],
    ) -> list[tuple[int, Result | Reject]]:
        return [finish(i, content) for i, content in chunk]

    order = sorted(range(len(items)) if which is None else which, key=lambda i: items[i].place)
    chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
    if in_turn:
        read = ([(i, reject_or_content(items[i])) for i in chunk] for chunk in chunks)
        return _in_threads(finish_read, read)
    return _in_threads(read_and_finish, chunks)


def _in_threads(
    work: Callable[[list[Given]], list[Result]], chunks: Iterable[list[Given]]
) -> Iterator[Result]:
    """Apply `work` to chunks, reading only a few of them ahead of the decoding."""
    pending: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for chunk in chunks:
            pending.append(pool.submit(work, chunk))
            if len(pending) > 2 * _THREADS:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
