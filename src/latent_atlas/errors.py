"""The exceptions that the command line reports as one sentence, without a traceback."""

import re

__all__ = ["Interrupted", "UserError", "printable", "require"]

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and what Python puts for bytes of a file name that are not UTF-8."""


def printable(text: str) -> str:
    r"""The text with escapes for what cannot be drawn, written as UTF-8 or sent; lines stay.

    Examples:
        >>> printable("caf\udce9 \x1b[31m"), printable("猫")
        ('caf\\xe9 \\x1b[31m', '猫')
    """
    return UNPRINTABLE.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(number: int) -> str:
    byte = number - 0xDC00 if 0xDC80 <= number <= 0xDCFF else number
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{byte:04x}"


class UserError(ValueError):
    """A user's mistake: one sentence saying what was wrong, what was seen and what to do.

    The command line prints the sentence and ends with exit code 2. Any other exception is a fault
    of the package and keeps its traceback.
    """

    def __init__(self, sentence: str = "") -> None:
        """Arguments: the sentence, which may quote any name of a file."""
        super().__init__(printable(sentence))


class Interrupted(Exception):
    """The run was asked to stop and has saved its state; the message says how to go on."""


def require(condition: bool, sentence: str) -> None:
    """Raise an error with this sentence unless the condition holds.

    Raises:
        UserError: the condition is false.
    """
    if not condition:
        raise UserError(sentence)
