"""The entry point: parse, call one function, and turn its errors into exit codes."""

import io
import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from latent_atlas.cli.console import Console
from latent_atlas.cli.parser import build_parser
from latent_atlas.errors import Interrupted, UserError

__all__ = ["main"]

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
SMALLER = (
    "ask for fewer images, frames or samples, or for a smaller --batch-size or --image-size, or "
    "close other programs"
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command `latent-atlas` and exit.

    Exit codes: 0 done, 1 the reader of the output closed it or shards could not be read, 2 a
    mistake of the user, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show must not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = build_parser().parse_args(arguments)
    try:
        os.getcwd()  # raises where the folder was deleted, which kills some libraries
        _check_device(given)
        given.run_command(given, Console(as_json=given.json))
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except Interrupted as stop:
        sys.exit(_complain(str(stop), 130))
    except KeyboardInterrupt:
        sys.exit(_complain("interrupted", 130))
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
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(sentence: str, code: int) -> int:
    """Print a sentence to stderr, on one line, and return the exit code."""
    print("latent-atlas:", " ".join(sentence.split()), file=sys.stderr)
    return code
