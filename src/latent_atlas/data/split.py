"""Which images are held out, decided by what they contain.

The same content always lands on the same side, whatever the files are called, however they are ordered and
whatever size they are brought to; so no copy of a held-out image is ever learned from.
"""

import hashlib

import numpy as np
import torch

from latent_atlas.data.unpack import Content
from latent_atlas.shapes import Mask

__all__ = ["digest", "first_by_content", "held_out_by_content"]

_HALF = 8  # bytes of a digest that order the images; as many others split them


def digest(content: Content) -> bytes:
    """Sixteen bytes that stand for the content: of a file its bytes, of an array its shape and numbers."""
    whole = hashlib.blake2b(digest_size=2 * _HALF)
    if isinstance(content, np.ndarray):
        whole.update(repr(content.shape).encode())
        content = content.tobytes()
    whole.update(content)
    return whole.digest()


def first_by_content(digests: list[bytes], limit: int) -> list[int]:
    """Places of the `limit` smallest digests, in ascending order of place.

    The first half of a digest orders: with the half that splits, the first ones would all be held out.
    """
    ranked = sorted(range(len(digests)), key=lambda i: (digests[i][:_HALF], i))
    return sorted(ranked[:limit])


def held_out_by_content(digests: list[bytes], share: float) -> Mask:
    """Hold out those whose digest, read as a number in [0, 1), is below `share`.

    Arguments:
        digests: One per image, not empty.
        share: In [0, 1).

    Returns:
        At least one True: if none is below, the lowest are held out.
    """
    numbers = torch.tensor(
        [int.from_bytes(d[_HALF:], "big") / 2 ** (8 * _HALF) for d in digests]
    ).double()
    held = numbers < share
    return held if held.any() else numbers == numbers.min()
