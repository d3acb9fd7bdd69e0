"""The commands, run in the process of the test."""

import pytest

from latent_atlas.cli import main

__all__ = ["latent_atlas"]


def latent_atlas(*words: str) -> int:
    """Run a command in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code
