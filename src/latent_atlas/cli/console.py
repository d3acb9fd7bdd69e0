"""Output: progress bars on a terminal, plain lines elsewhere, results as text or JSON."""

import json
import shutil
import sys
import textwrap
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from latent_atlas.errors import counted, printable
from latent_atlas.progress import listening

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["Advance", "Console", "duration", "fitted", "losses_in_words"]

Advance = Callable[[str, int, int, str], None]
LINE_EVERY = 5.0  # seconds between plain lines
LONG = 2.0  # seconds, after which a command says what it does


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Examples:
        >>> duration(75), duration(600), duration(9000)
        ('75 seconds', '10 minutes', '2.5 hours')
    """
    if seconds < 120:
        return counted(round(seconds), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def fitted(text: str, *, terminal: bool) -> str:
    """What can be shown of a text: on a terminal, long lines are broken between words."""
    if not terminal:
        return printable(text)
    width = shutil.get_terminal_size().columns
    return "\n".join(_broken(line, width) for line in printable(text).split("\n"))


def _broken(line: str, width: int) -> str:
    """A line broken between words; what follows is indented.

    Examples:
        >>> print(_broken("  a sentence that is long", 16))
          a sentence
            that is long
    """
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(parts)


def losses_in_words(entry: Mapping[str, Any]) -> str:
    """The losses of a log record in one line."""
    names = (
        "reconstruction",
        "kl",
        "image_discriminator",
        "image_generator",
        "loss",
        "held_out_loss",
    )
    words = [f"{name.replace('_', ' ')} {entry[name]:.4g}" for name in names if name in entry]
    if "images_per_second" in entry:
        words.append(f"{entry['images_per_second']:.0f} images/s")
    return ", ".join(words)


class Console:
    """The output of a command: progress and remarks on stderr, its one result on stdout."""

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        """Arguments: as_json, whether to print the result as JSON; quiet, whether to print neither
        progress nor remarks.
        """
        self.as_json = as_json
        self.quiet = quiet
        self._shown: _Display | None = None
        self._listens = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Show what the command does until its result, and at once that it has begun.

        Importing torch and reading a run take seconds.
        """
        self._listens = True
        with listening(self._hear):
            try:
                self._spin("starting")
                yield
            finally:
                self._end()

    def say(self, sentence: str) -> None:
        """Print a remark."""
        if not self.quiet:
            shown = fitted(sentence, terminal=sys.stderr.isatty())
            print(shown, file=sys.stderr, flush=True)

    def result(self, numbers: Mapping[str, Any], text: str) -> None:
        """Print the result: `numbers` as JSON, or `text`."""
        self._end()
        told = json.dumps(numbers, indent=2) if self.as_json else None
        print(told or fitted(text, terminal=sys.stdout.isatty()), flush=True)

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        """Show progress bars, which stay, or lines.

        Yields:
            A function to call with a title, the number done, the total and a remark.
        """
        try:
            yield self._display().advance
        finally:
            self._close()

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show what is done while nobody knows how long it takes, or say it if it takes long.

        Arguments:
            what: What is done, such as "drawing 64 images".
        """
        try:
            self._display().doing(what, 0, 0)
            yield
        finally:
            self._close()

    def _hear(self, what: str, done: int, total: int) -> None:
        """Show what the library does."""
        if self._listens:
            self._display().doing(what, done, total)

    def _display(self) -> "_Display":
        if self._shown is None:
            self._shown = _Bars() if self._on_terminal else _Lines(self.say)
        return self._shown

    @property
    def _on_terminal(self) -> bool:
        return sys.stderr.isatty() and not self.quiet

    def _close(self) -> None:
        """Leave what was shown; what follows has no name, until it gets one."""
        if self._shown is not None:
            self._shown.close()
        self._shown = None
        self._spin("working")

    def _spin(self, what: str) -> None:
        """Let a terminal see that the command goes on; elsewhere nobody looks."""
        if self._on_terminal:
            self._hear(what, 0, 0)

    def _end(self) -> None:
        """Show nothing any more."""
        self._listens = False
        self._close()


@dataclass
class _Pace:
    """How fast something advances.

    Attributes:
        title: What it is.
        began, at: When it was reported first and last, in seconds.
        first, done, total: Steps done at these times, and all steps; total is 0 if not known.
        remark: What to say of it.
    """

    title: str
    began: float
    at: float
    first: int
    done: int
    total: int
    remark: str = ""

    @property
    def is_over(self) -> bool:
        """Whether all steps are done."""
        return 0 < self.total <= self.done

    @property
    def left(self) -> float | None:
        """Seconds from the last report to the end, at the pace so far; None if it is not known.

        Examples:
            >>> _Pace("map", 0.0, 10.0, 5, 10, 30).left, _Pace("map", 0.0, 0.1, 5, 10, 30).left
            (40.0, None)
        """
        seconds, steps, more = self.at - self.began, self.done - self.first, self.total - self.done
        return seconds * more / steps if seconds >= LONG and steps > 0 and more > 0 else None

    @property
    def clock(self) -> str:
        """The time left by now."""
        if self.is_over:
            return "0:00:00"
        if self.left is None:
            return "-:--:--"
        return str(timedelta(seconds=round(max(0.0, self.left + self.at - time.monotonic()))))


class _Display(ABC):
    """What advances: things of the command's own, which stay, and what is done at present."""

    def __init__(self) -> None:
        self._own: dict[str, _Pace] = {}
        self._present: _Pace | None = None

    def advance(self, title: str, done: int, total: int, remark: str) -> None:
        """Report something of the command's own."""
        pace = self._reach(title, done, total)
        pace.remark = remark
        if pace is self._present:
            self._own[title], self._present = pace, None
        self._forget()
        self._show(pace)

    def doing(self, what: str, done: int, total: int) -> None:
        """Report what is done at present."""
        pace = self._reach(what, done, total)
        if pace is self._present and pace.is_over:
            self._forget()
        else:
            self._show(pace)

    def close(self) -> None:
        """Show nothing any more but what stays."""
        self._forget()

    def _reach(self, title: str, done: int, total: int) -> _Pace:
        """Note what something has reached, which may begin with it."""
        now, pace = time.monotonic(), self._own.get(title) or self._present
        if pace is None or pace.title != title or (pace is self._present and done < pace.done):
            self._forget()
            pace = self._present = _Pace(title, now, now, done, done, total)
        pace.at, pace.done, pace.total = now, done, total
        return pace

    def _forget(self) -> None:
        if self._present is not None:
            self._drop(self._present)
        self._present = None

    @abstractmethod
    def _show(self, pace: _Pace) -> None: ...

    @abstractmethod
    def _drop(self, pace: _Pace) -> None: ...


class _Lines(_Display):
    """Progress as lines: every few seconds one, of what takes long.

    What is done at present is said once it is known to take long, and not at its end.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._said: dict[str, tuple[float, int]] = {}
        self._late: threading.Timer | None = None

    def _show(self, pace: _Pace) -> None:
        at, done = self._said.get(pace.title, (-LINE_EVERY, -1))
        if pace is not self._present:
            due = pace.at - at >= LINE_EVERY or (pace.is_over and done < pace.done)
        elif self._late is None:
            due = False
            self._said[pace.title] = (pace.at, pace.done)
            self._late = threading.Timer(LONG, self._tell, [pace])
            self._late.daemon = True
            self._late.start()
        else:
            due = pace.at - at >= LINE_EVERY
        if due:
            self._tell(pace)

    def _drop(self, pace: _Pace) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None

    def _tell(self, pace: _Pace) -> None:
        self._said[pace.title] = (pace.at, pace.done)
        count = f"{pace.title}: {pace.done:g} of {pace.total:g}" if pace.total else pace.title
        left = "" if pace.left is None else f"{duration(pace.left)} left"
        self._say(", ".join(filter(None, (count, left, pace.remark))))


class _Bars(_Display):
    """Progress as bars, and as a spinner where the number of steps is not known."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole
        from rich.console import Group
        from rich.live import Live
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        super().__init__()
        output = RichConsole(stderr=True)
        bar = 28 if output.width >= 80 else 6
        self._room = max(0, output.width - bar - 36)  # what the other columns leave to the remark
        self._bars = Progress(
            TextColumn("[bold]{task.description:<9}"),
            BarColumn(bar_width=bar),
            MofNCompleteColumn(),
            TextColumn("[cyan]{task.fields[pace].clock}"),
            TextColumn("[dim]{task.fields[remark]}"),
        )
        self._spinner = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        )
        self._tasks: dict[str, tuple[Progress, TaskID]] = {}
        # What is printed meanwhile goes where it belongs, not to this terminal.
        shown = Group(self._bars, self._spinner)
        self._live = Live(shown, console=output, refresh_per_second=10, redirect_stdout=False)
        self._live.start()

    def close(self) -> None:
        """Leave the command's own bars on the terminal."""
        super().close()
        self._live.transient = not self._own
        self._live.stop()

    def _show(self, pace: _Pace) -> None:
        if pace.title not in self._tasks:
            kind = self._bars if pace.total else self._spinner
            task = kind.add_task(pace.title, total=pace.total or None, pace=pace, remark="")
            self._tasks[pace.title] = (kind, task)
        kind, task = self._tasks[pace.title]
        remark = pace.remark[: self._room]
        kind.update(task, completed=pace.done, total=pace.total or None, remark=remark)

    def _drop(self, pace: _Pace) -> None:
        if pace.title in self._tasks:
            kind, task = self._tasks.pop(pace.title)
            kind.remove_task(task)
