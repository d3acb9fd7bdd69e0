"""The vocabulary of tensors.

`n` counts images or codes, `c h w` are an image's channels, height and width, and `d` is the dimension of
the latent space. The axes are checked when the tests run; elsewhere the names only inform the reader.
"""

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
]

Images = Float[Tensor, "n c h w"]  # in [0, 1]
ByteImages = UInt8[Tensor, "n c h w"]  # in 0..255, as stored and as sent to a device
Labels = Int[Tensor, " n"]  # class numbers; -1 where an image has none
Mask = Bool[Tensor, " n"]  # True for the images or codes that are meant
Latents = Float[Tensor, "n d"]
Located = Float[
    Tensor, "n ..."
]  # codes as rows (n, d), or in the shape in which an autoencoder gives them
Points = Float[Tensor, "frames n d"]  # n paths of as many frames each
Films = Float[Tensor, "frames n c h w"]  # their images in [0, 1]
Trace = Float[Tensor, "steps n d"]  # every step of n walks
Angles = Float[Tensor, "_"]  # noise levels in radians, one per code or one for all
Values = Float[Tensor, " n"]  # one number per image or code
Scalar = Float[Tensor, ""]
