"""What every section asks of its settings."""

from latent_atlas.errors import UserError

__all__ = ["require"]


def require(condition: bool, sentence: str) -> None:
    """Refuse a setting with a sentence unless the condition holds.

    Raises:
        UserError: it does not.
    """
    if not condition:
        raise UserError(sentence)
