"""The exceptions that the command line reports as one sentence, without a traceback."""

__all__ = ["Interrupted", "UserError", "require"]


class UserError(ValueError):
    """A user's mistake: one sentence saying what was wrong, what was seen and what to do.

    The command line prints the sentence and ends with exit code 2. Any other exception is a fault
    of the package and keeps its traceback.
    """


class Interrupted(Exception):
    """The run was asked to stop and has saved its state; the message says how to go on."""


def require(condition: bool, sentence: str) -> None:
    """Raise an error with this sentence unless the condition holds.

    Raises:
        UserError: the condition is false.
    """
    if not condition:
        raise UserError(sentence)
