"""Initial weights from a seed, leaving everybody's random numbers alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["initial_weights"]


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Within it, modules made on the CPU start from `seed`; torch's layers know the global generator only."""
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
