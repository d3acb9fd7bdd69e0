"""Initial weights from a seed, without a change of the global random state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["initial_weights"]


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Context in which modules made on the CPU get initial weights from `seed`.

    Layers of torch take no generator: they draw from the global one, which is restored afterwards.
    """
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
