"""The one exception that a user's mistake raises."""

__all__ = ["UserError"]


class UserError(ValueError):
    """A mistake in what the user gave: one sentence saying what was wrong, what was seen and what to do.

    The command line prints the sentence and ends with exit code 2. Any other exception is a fault of ours
    and keeps its traceback.
    """
