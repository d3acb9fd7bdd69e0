"""Ctrl-C and SIGTERM as a request to stop, which a loop answers when its state is complete."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from latent_atlas.errors import Terminated

__all__ = ["StopRequest", "stop_request"]


class StopRequest:
    """A signal handler that remembers which signal asked the process to stop.

    Attributes:
        signal: The number of the signal; None as long as there was none.
    """

    def __init__(self) -> None:
        """No signal has arrived yet."""
        self.signal: int | None = None

    def __bool__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    @property
    def cause(self) -> KeyboardInterrupt:
        """The signal as the exception that it would have raised."""
        return Terminated() if self.signal == signal.SIGTERM else KeyboardInterrupt()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; a second Ctrl-C interrupts at once."""
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request to stop for as long as the context lasts.

    Signals reach the main thread only: in any other thread the request never becomes true.
    """
    request = StopRequest()
    try:
        before = {
            number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not the main thread
        before = {}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
