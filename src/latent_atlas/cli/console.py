"""Output: progress bars on a terminal, plain lines elsewhere, results as text or JSON."""

import json
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from latent_atlas.errors import counted, printable

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


def _time_left(seconds: float, done: float, left: float) -> str:
    """The time left at the rate so far, in words; nothing if it is not known, or at the end.

    Examples:
        >>> _time_left(10.0, 5, 20), _time_left(0.1, 5, 20), _time_left(10.0, 5, 0)
        ('40 seconds left', '', '')
    """
    known = seconds >= LONG and done > 0 and left > 0
    return f"{duration(seconds * left / done)} left" if known else ""


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
        self._beginning = ExitStack()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Show on a terminal that the command has begun, until it has something to print.

        Importing torch and reading a run take seconds.
        """
        with self._beginning:
            if sys.stderr.isatty() and not self.quiet:
                self._beginning.enter_context(_spinner("starting"))
            yield

    def say(self, sentence: str) -> None:
        """Print a remark."""
        self._beginning.close()
        if not self.quiet:
            shown = fitted(sentence, terminal=sys.stderr.isatty())
            print(shown, file=sys.stderr, flush=True)

    def result(self, numbers: Mapping[str, Any], text: str) -> None:
        """Print the result: `numbers` as JSON, or `text`."""
        self._beginning.close()
        told = json.dumps(numbers, indent=2) if self.as_json else None
        print(told or fitted(text, terminal=sys.stdout.isatty()), flush=True)

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        """Show progress bars, or lines.

        Yields:
            A function to call with a title, the number done, the total and a remark.
        """
        self._beginning.close()
        if sys.stderr.isatty() and not self.quiet:
            with _bars() as advance:
                yield advance
        else:
            yield self._lines()

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show what is done while nobody knows how long it takes, or say it if it takes long.

        Arguments:
            what: What is done, such as "drawing 64 images".
        """
        self._beginning.close()
        if sys.stderr.isatty() and not self.quiet:
            with _spinner(what):
                yield
            return
        late = threading.Timer(LONG, self.say, [what])
        late.daemon = True
        late.start()
        try:
            yield
        finally:
            late.cancel()

    def _lines(self) -> Advance:
        began: dict[str, tuple[float, float]] = {}
        spoken: dict[str, float] = {}

        def advance(title: str, done: int, total: int, remark: str) -> None:
            now = time.monotonic()
            start, before = began.setdefault(title, (now, done))
            if now - spoken.get(title, -LINE_EVERY) >= LINE_EVERY or done >= total:
                spoken[title] = now
                left = _time_left(now - start, done - before, total - done)
                count = f"{title}: {done:g} of {total:g}"
                self.say(", ".join(filter(None, (count, left, remark))))

        return advance


@contextmanager
def _spinner(what: str) -> Iterator[None]:
    from rich.console import Console as RichConsole
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    output = RichConsole(stderr=True)
    # What is printed meanwhile goes where it belongs, not to this terminal.
    with Progress(*columns, console=output, transient=True, redirect_stdout=False) as progress:
        progress.add_task(what, total=None)
        yield


@contextmanager
def _bars() -> Iterator[Advance]:
    from rich.console import Console as RichConsole
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    output = RichConsole(stderr=True)
    bar = 28 if output.width >= 80 else 6
    room = max(0, output.width - bar - 36)  # what the other columns leave to the remark
    columns = (
        TextColumn("[bold]{task.description:<9}"),
        BarColumn(bar_width=bar),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[remark]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=output) as progress:

        def advance(title: str, done: int, total: int, remark: str) -> None:
            if title not in tasks:
                tasks[title] = progress.add_task(title, total=total, remark="")
            progress.update(tasks[title], completed=done, total=total, remark=remark[:room])

        yield advance
