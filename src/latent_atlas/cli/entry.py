"""The entry point: parse, call one function, and turn its errors into exit codes."""

import io
import json
import os
import re
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from latent_atlas.cli.console import Console, fitted
from latent_atlas.cli.parser import build_parser
from latent_atlas.errors import Interrupted, Terminated, UserError

__all__ = ["main"]

# Rounds that a thread of OpenMP spins before it sleeps, by its own choice 300,000: beside other
# programs, it would keep from its core the very thread that it waits for; see docs/speed.md.
SPINS = "10000"
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
ERROR_FILE = (
    "TORCHELASTIC_ERROR_FILE"  # names the file from which torchrun tells why a process ended
)
SMALLER = (
    "ask for fewer images, frames or samples, or for a smaller --batch-size or --image-size, or "
    "close other programs"
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command `latent-atlas` and exit.

    Exit codes: 0 done, 1 the reader of the output closed it or shards could not be read, 2 a
    mistake of the user, 130 interrupted, 143 terminated.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is imported
    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show must not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        given = _parsed(arguments)
        os.getcwd()  # raises where the folder was deleted, which kills some libraries
        console = Console(as_json=given.json)
        with _terminated_as_interrupted(), console.listening() if _is_first() else nullcontext():
            _check_device(given)
            given.run_command(given, console)
    except UserError as error:
        sys.exit(_complain(str(error), 2, told=_is_told_by_the_first(error)))
    except (Interrupted, KeyboardInterrupt) as stop:
        sentence = str(stop) if isinstance(stop, Interrupted) else "interrupted"
        sys.exit(_complain(sentence, _status(stop), told=not _is_first()))
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except OSError as error:
        _drop_output()
        sys.exit(_complain(_of_system(error), 2))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(str(error)):
            raise
        sys.exit(_complain(f"memory ran out; {SMALLER}", 2))
    sys.exit(0)


def _parsed(arguments: Sequence[str] | None) -> Namespace:
    """The parsed arguments; of several processes the first alone tells what is wrong with them."""
    with nullcontext() if _is_first() else redirect_stderr(io.StringIO()):
        return build_parser().parse_args(arguments)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, where nothing else listens to it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _status(stop: BaseException) -> int:
    """128 and the number of the signal that stopped the command, as a shell has it."""
    ended = any(isinstance(e, Terminated) for e in (stop, stop.__cause__, stop.__context__))
    return 128 + (signal.SIGTERM if ended else signal.SIGINT)


def _is_first() -> bool:
    """Whether this process is the only one, or the first of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def _is_told_by_the_first(error: UserError) -> bool:
    """Whether another process tells this error, or the launcher does from its error file."""
    if _is_first():
        return False
    from latent_atlas.training.history import Diverged
    from latent_atlas.training.processes import Refused

    return ERROR_FILE in os.environ or isinstance(error, Diverged | Refused)


def _check_device(given: Namespace) -> None:
    """Refuse a device that this machine lacks before anything is read."""
    if getattr(given, "device", None) is not None:
        from latent_atlas.device import pick_device

        pick_device(given.device)


def _of_system(error: OSError) -> str:
    """An error of the operating system as a sentence with its reason."""
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return "the working folder does not exist any more; change to one that does"
    if isinstance(error, PermissionError):
        return f"no permission to read or write {error.filename} ({reason}); choose another place"
    if error.filename is None:
        return f"the system refuses to read or write: {reason}"
    return f"cannot read or write {error.filename} ({reason}); mend that or choose another place"


def _drop_output() -> None:
    """Let what Python still flushes at exit go nowhere: it must not fail again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _complain(sentence: str, code: int, *, told: bool = False) -> int:
    """Print a sentence to stderr, on one line, unless it is told; and return the exit code."""
    sentence = f"latent-atlas: {' '.join(sentence.split())}"
    if not told:
        with suppress(BrokenPipeError):
            print(fitted(sentence, terminal=sys.stderr.isatty()), file=sys.stderr)
    if code == 2 and ERROR_FILE in os.environ:  # torchrun shows it below a traceback of its own
        about = {"message": sentence, "extraInfo": {"timestamp": str(int(time.time()))}}
        with suppress(OSError):
            Path(os.environ[ERROR_FILE]).write_text(json.dumps({"message": about}))
    return code
