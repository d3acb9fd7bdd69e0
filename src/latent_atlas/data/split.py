"""Which images are held out, decided by their content.

The same picture, pixel by pixel, is always on the same side of the split, whatever the names, the
order, the format and the metadata of the files and the size wanted; so no network trains on a copy
of a held-out image. A picture that was compressed again with loss is another picture.
"""

import hashlib

import numpy as np
import torch

from latent_atlas.data.decode import Content
from latent_atlas.shapes import Mask

__all__ = ["digest", "first_by_content", "held_out_by_content"]

_HALF = 8  # bytes: the first half of a digest orders the images, the second half splits them


def digest(content: Content) -> bytes:
    """A hash of 16 bytes: of the bytes of a file, or of the shape and numbers of an array.

    That of `Whole.pixels` is the same for the same picture in any file.
    """
    whole = hashlib.blake2b(digest_size=2 * _HALF)
    if isinstance(content, np.ndarray):
        whole.update(repr(content.shape).encode())
        content = content.tobytes()
    whole.update(content)
    return whole.digest()


def first_by_content(digests: list[bytes], limit: int) -> list[int]:
    """Indices of the `limit` smallest digests, in ascending order.

    The first half of a digest orders: by the half that splits, the first images would all be held
    out.
    """
    ranked = sorted(range(len(digests)), key=lambda i: (digests[i][:_HALF], i))
    return sorted(ranked[:limit])


def held_out_by_content(digests: list[bytes], share: float) -> Mask:
    """Hold out images whose digest, read as a number in [0, 1), is below `share`.

    Arguments:
        digests: One per image; none is empty.
        share: In [0, 1).

    Returns:
        A mask with at least one True: if no digest is below `share`, the lowest is held out.
    """
    numbers = torch.tensor(
        [int.from_bytes(d[_HALF:], "big") / 2 ** (8 * _HALF) for d in digests]
    ).double()
    held = numbers < share
    return held if held.any() else numbers == numbers.min()
