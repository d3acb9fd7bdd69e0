"""Files that are replaced as a whole, and JSON that shows whether it is still as written."""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latent_atlas.errors import UserError, require

__all__ = [
    "parse_object",
    "read_object",
    "read_objects",
    "replacing",
    "signed",
    "write_bytes",
    "write_text",
]

CHECKSUM = "checksum"
UMASK = os.umask(0o077)  # the system tells it only when it is set
os.umask(UMASK)
EDITED = f"if you edited it yourself, remove its `{CHECKSUM}`"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file once its new content is on disk; until then what was there stays.

    A link is followed, a device or a pipe is written to, and permissions stay as they were. Those
    of a new file are the usual ones, whichever library writes it.

    Yields:
        The path to write to, in the same folder.

    Raises:
        OSError: the file cannot be written; it names `path`.
    """
    target = Path(os.path.realpath(path))
    special = target.exists() and not target.is_file()
    partial = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.partial")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield target if special else partial
        if not special:
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
            partial.chmod(target.stat().st_mode if target.exists() else 0o666 & ~UMASK)
            os.replace(partial, target)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace a file by these bytes."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text, in UTF-8; half characters of file names are kept."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the checksum of all its other members.

    Examples:
        >>> signed({"n": 3})
        {'n': 3, 'checksum': '389d42d9a5766a33'}
    """
    return {**content, CHECKSUM: _checksum(content)}


def read_object(path: Path, advice: str) -> dict[str, Any]:
    """Read a file that holds one JSON object, without its checksum.

    Arguments:
        path: The file.
        advice: What to do if it is damaged, in the words of the error.

    Raises:
        UserError: it is no JSON object, or not as it was written.
    """
    return parse_object(_text(path, advice), path, advice)


def read_objects(
    path: Path,
    advice: str,
    check: Callable[[dict[str, Any]], None] = lambda content: None,
    *,
    damage: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line, without the half line that a killed process leaves.

    Arguments:
        path: The file.
        advice: What to do if a line is damaged, in the words of the error.
        check: Raises a ValueError if an object is not what the file must hold.
        damage: Is given the sentence of each damaged line, which is then left out; None raises it.

    Raises:
        UserError: a line is damaged; the sentence names it.
    """
    found = []
    for i, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        called = f"{path}, line {i},"
        try:
            content = parse_object(line.decode(), called, advice)
            check(content)
            found.append(content)
        except ValueError as error:
            known = isinstance(error, UserError)
            sentence = str(error) if known else f"{called} is damaged ({error}); {advice}"
            if damage is None:
                raise UserError(sentence) from None
            damage.append(sentence)
    return found


def _text(path: Path, advice: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); {advice}") from None


def parse_object(text: str, called: object, advice: str) -> dict[str, Any]:
    """The JSON object in a text, without its checksum; arguments and errors as in `read_object`."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{called} is damaged: not JSON ({error}); {advice}") from None
    require(isinstance(content, dict), f"{called} is damaged: not a JSON object; {advice}")
    claimed = content.pop(CHECKSUM, None)
    require(
        claimed is None or claimed == _checksum(content),
        f"{called} is damaged: its checksum does not fit; {advice}, or {EDITED}",
    )
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
