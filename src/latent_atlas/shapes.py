"""Array types, and the two operations on arrays that every room needs.

`n` counts images or codes, `c h w` are an image's channels, height and width, and `d` is the
dimension of the latent space. The axes are checked when the tests run; elsewhere the names only
inform the reader.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

__all__ = [
    "Angles",
    "ByteImages",
    "Films",
    "Images",
    "Labels",
    "Latents",
    "Located",
    "Mask",
    "Points",
    "Scalar",
    "Trace",
    "Values",
    "batched",
    "to_float",
]

Images = Float[Tensor, "n c h w"]  # in [0, 1]
ByteImages = UInt8[Tensor, "n c h w"]  # in 0..255, as stored and as sent to a device
Labels = Int[Tensor, " n"]  # class numbers; -1 where an image has none
Mask = Bool[Tensor, " n"]  # True for the images or codes that are meant
Latents = Float[Tensor, "n d"]
Located = Float[Tensor, "n ..."]  # codes as rows (n, d), or in an autoencoder's own shape
Points = Float[Tensor, "frames n d"]  # n paths of as many frames each
Films = Float[Tensor, "frames n c h w"]  # their images in [0, 1]
Trace = Float[Tensor, "steps n d"]  # every step of n walks
Angles = Float[Tensor, "_"]  # noise levels in radians, one per code or one for all
Values = Float[Tensor, " n"]  # one number per image or code
Scalar = Float[Tensor, ""]


def batched(function: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """`function` of many rows, computed `size` rows at a time so that it fits in memory.

    Arguments:
        function: Maps (n, ...) to (n, ...), each row of the result depending on its own row only.
        rows: Shape (n, ...).
        size: Rows per call, 1 or more.

    Returns:
        The results of all calls as one tensor, shape (n, ...).
    """
    return torch.cat([function(part) for part in rows.split(size)])


def to_float(images: Tensor) -> Tensor:
    """Images as floats in [0, 1]: bytes are divided by 255, floats stay as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
