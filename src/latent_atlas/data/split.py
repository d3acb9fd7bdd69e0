"""Which images are held out, decided by their content.

The same picture, pixel by pixel, is always on the same side of the split, whatever the names, the
order, the format and the metadata of the files and the size wanted; so no network trains on a copy
of a held-out image. A picture that was compressed again with loss is another picture.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from latent_atlas.data.decode import Content
from latent_atlas.shapes import Mask

__all__ = ["Digests", "as_digests", "digest", "first_by_content", "held_out_by_content"]

Digests = UInt8[np.ndarray, "n 16"]
"""Hashes of the contents of images, one a row."""

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


def as_digests(digests: Sequence[bytes]) -> Digests:
    """Hashes of 16 bytes as the rows of an array."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 2 * _HALF)


def held_out_by_content(digests: Digests, share: float) -> Mask:
    """Hold out images whose digest, read as a number in [0, 1), is below `share`.

    Arguments:
        digests: One per image.
        share: In [0, 1).

    Returns:
        A mask with at least one True: if no digest is below `share`, the lowest is held out.
    """
    halves = np.ascontiguousarray(digests[:, _HALF:]).view(">u8")[:, 0]
    numbers = torch.from_numpy(halves.astype(np.float64) / 2.0 ** (8 * _HALF))
    held = numbers < share
    return held if held.any() else numbers == numbers.min()
