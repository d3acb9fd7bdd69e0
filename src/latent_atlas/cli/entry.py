"""The entry point: parse, call one function, and turn its errors into exit codes."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from latent_atlas.cli.console import Console
from latent_atlas.cli.parser import build_parser
from latent_atlas.errors import Interrupted, UserError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command `latent-atlas` and exit.

    Exit codes: 0 done, 1 the reader of the output closed it, 2 a mistake of the user, 130
    interrupted.
    """
    given = build_parser().parse_args(arguments)
    try:
        given.run_command(given, Console(as_json=given.json))
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except Interrupted as stop:
        sys.exit(_complain(str(stop), 130))
    except KeyboardInterrupt:
        sys.exit(_complain("interrupted", 130))
    except PermissionError as error:
        sentence = f"no permission to read or write {error.filename}; choose another place"
        sys.exit(_complain(sentence, 2))
    except BrokenPipeError:  # a closed pipe: what Python still flushes at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _complain(sentence: str, code: int) -> int:
    """Print a sentence to stderr, on one line, and return the exit code."""
    print("latent-atlas:", " ".join(sentence.split()), file=sys.stderr)
    return code
