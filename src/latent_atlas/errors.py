"""What the command line answers with a sentence and not a traceback."""

__all__ = ["Interrupted", "UserError"]


class UserError(ValueError):
    """A mistake in what the user gave: one sentence saying what was wrong, what was seen and what to do.

    The command line prints the sentence and ends with exit code 2. Any other exception is a fault of ours
    and keeps its traceback.
    """


class Interrupted(Exception):
    """The run was asked to stop and has saved its state; the message says how to go on."""
