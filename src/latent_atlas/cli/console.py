"""Output: progress bars on a terminal, plain lines elsewhere, results as text or JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from latent_atlas.errors import counted, printable

__all__ = ["Advance", "Console", "duration", "losses_in_words"]

Advance = Callable[[str, int, int, str], None]
LINE_EVERY = 5.0  # seconds between plain lines


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Examples:
        >>> duration(75), duration(600), duration(9000)
        ('75 seconds', '10 minutes', '2.5 hours')
    """
    if seconds < 120:
        return counted(round(seconds), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


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

    def say(self, sentence: str) -> None:
        """Print a remark."""
        if not self.quiet:
            print(printable(sentence), file=sys.stderr, flush=True)

    def result(self, numbers: Mapping[str, Any], text: str) -> None:
        """Print the result: `numbers` as JSON, or `text`."""
        print(json.dumps(numbers, indent=2) if self.as_json else printable(text), flush=True)

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        """Show progress bars, or lines.

        Yields:
            A function to call with a title, the number done, the total and a remark.
        """
        if sys.stderr.isatty() and not self.quiet:
            with _bars() as advance:
                yield advance
        else:
            yield self._lines()

    def _lines(self) -> Advance:
        spoken: dict[str, float] = {}
        began: dict[str, tuple[float, int]] = {}

        def advance(title: str, done: int, total: int, remark: str) -> None:
            now = time.monotonic()
            start, first = began.setdefault(title, (now, done))
            if now - spoken.get(title, -LINE_EVERY) >= LINE_EVERY or done >= total:
                spoken[title] = now
                seconds = (now - start) / max(done - first, 1) * (total - done)
                left = f"at most {duration(seconds)} left" if seconds >= LINE_EVERY else ""
                told = ", ".join(filter(None, (f"{title}: {done:g} of {total:g}", remark, left)))
                self.say(told)

        return advance


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

    columns = (
        TextColumn("[bold]{task.description:<9}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[remark]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=RichConsole(stderr=True)) as progress:

        def advance(title: str, done: int, total: int, remark: str) -> None:
            if title not in tasks:
                tasks[title] = progress.add_task(title, total=total, remark=remark)
            progress.update(tasks[title], completed=done, total=total, remark=remark)

        yield advance
