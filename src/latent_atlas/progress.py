"""What a long computation is doing, told to a listener, such as the command line."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["Listener", "doing", "listening", "steps"]

T = TypeVar("T")
Listener = Callable[[str, int, int], object]


def _nobody(what: str, done: int, total: int) -> None:
    """Listen to nothing."""


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=_nobody)


def doing(what: str, done: int = 0, total: int = 0) -> None:
    """Tell what is done from now on.

    Arguments:
        what: In short, such as "drawing the map".
        done, total: Steps done and all steps; 0 and 0 where their number is not known.
    """
    _LISTENER.get()(what, done, total)


def steps(what: str, items: Sequence[T]) -> Iterator[T]:
    """The items, of which each is a step of what is done.

    Examples:
        >>> with listening(print):
        ...     for _ in steps("halves", range(2)):
        ...         pass
        halves 0 2
        halves 1 2
        halves 2 2
    """
    for done, item in enumerate(items):
        doing(what, done, len(items))
        yield item
    doing(what, len(items), len(items))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a function called with what is done, done and total, by this thread alone."""
    before = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(before)
