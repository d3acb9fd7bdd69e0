"""The commands, run in the process of the test."""

import pytest

from latent_atlas.cli import console, main

__all__ = ["latent_atlas"]


def latent_atlas(*words: str) -> int:
    """Run a command in this process, where nothing takes long, and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "LONG", 1e6)  # seconds
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code
