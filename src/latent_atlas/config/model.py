"""The sizes of the encoder E, the decoder G and the image discriminator D_x."""

import math
import re
from dataclasses import dataclass

from latent_atlas.errors import UserError, checked, require

__all__ = ["FEWEST_PATCHES", "ModelConfig", "resolutions"]

FEWEST_PATCHES = 4  # on a side of an image


def resolutions(image_size: int, patch_size: int = 1) -> list[int]:
    """Sides of the feature maps, from that in patches down to 4 or less, halved and rounded up.

    Examples:
        >>> resolutions(28), resolutions(8), resolutions(27, 2)
        ([28, 14, 7, 4], [8, 4], [14, 7, 4])
    """
    sides = [-(-image_size // patch_size)]
    while sides[-1] > 4:
        sides.append((sides[-1] + 1) // 2)
    return sides


@checked
@dataclass(frozen=True)
class ModelConfig:
    """The sizes of the encoder E, the decoder G and the image discriminator D_x."""

    image_size: int = 32
    """Side of the square images in pixels, 8 to 256."""
    channels: int = 3
    """Channels of the images: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    latent_dim: int = 32
    """Dimension d of the latent codes, 1 or more. With `latent_shape` it is c·h·w."""
    latent_shape: str | None = None
    """Shape of spatial codes, such as 4x8x8: channels, height and width. The last two are equal,
    and one of the sides that halving `image_size` gives, down to 4 or less. null makes vectors of
    `latent_dim` coordinates."""
    width: int = 32
    """Channels of E and G at full resolution, 1 or more. They double at each halving of the
    resolution, up to four times this number."""
    patch_size: int = 1
    """Side in pixels, 1 or more, of the patches that all three networks take as one place of a
    feature map. With 2, a step takes a quarter of the time, or about the same at twice the
    width."""
    encoder_patch_size: int | None = None
    """Side in pixels of the patches that E takes, a multiple of `patch_size`; null is `patch_size`.
    E makes no details, so with larger patches it learns as much in less time."""
    depth: int = 1
    """Residual blocks per resolution in all three networks, 1 or more."""
    discriminator_width: int = 32
    """Channels of D_x at full resolution, 1 or more. They double like `width`."""
    spectral_norm: bool = False
    """Divide each weight matrix of D_x by its largest singular value (Miyato et al. 2018)."""

    def __post_init__(self) -> None:
        """Refuse sizes that the networks cannot have."""
        require(
            8 <= self.image_size <= 256,
            f"model.image_size is {self.image_size}; choose 8 to 256 pixels",
        )
        require(1 <= self.channels <= 4, f"model.channels is {self.channels}; choose 1, 2, 3 or 4")
        for name in ("latent_dim", "width", "depth", "patch_size", "discriminator_width"):
            value = getattr(self, name)
            require(value >= 1, f"model.{name} is {value}; choose 1 or more")
        most = self.image_size // FEWEST_PATCHES
        for name, side in (
            ("patch_size", self.patch_size),
            ("encoder_patch_size", self.patch_of_encoder),
        ):
            require(
                side <= most,
                f"model.{name} is {side}; choose 1 to {most} pixels, so that images of "
                f"{self.image_size} have {FEWEST_PATCHES} patches or more on a side",
            )
        require(
            self.patch_of_encoder > 0 and self.patch_of_encoder % self.patch_size == 0,
            f"model.encoder_patch_size is {self.encoder_patch_size}; choose a multiple of "
            f"model.patch_size, which is {self.patch_size}",
        )
        if self.latent_shape is not None:
            object.__setattr__(self, "latent_dim", math.prod(self.code_shape))

    @property
    def patch_of_encoder(self) -> int:
        """Side in pixels of the patches that E takes."""
        return self.patch_size if self.encoder_patch_size is None else self.encoder_patch_size

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape of a code: (c, h, w) of `latent_shape`, or (d,).

        Raises:
            UserError: `latent_shape` is no shape, or its sides are none of the encoder's.
        """
        if self.latent_shape is None:
            return (self.latent_dim,)
        both = (self.patch_size, self.patch_of_encoder)
        of_decoder, of_encoder = (resolutions(self.image_size, patch) for patch in both)
        sides = [side for side in of_encoder if side in of_decoder]
        require(
            len(sides) > 0,
            f"model.encoder_patch_size is {self.encoder_patch_size}, with which E and G have no "
            "maps of one size, as model.latent_shape needs; set it to null",
        )
        found = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})x\2", self.latent_shape)
        if found and int(found[2]) in sides:
            return (int(found[1]), int(found[2]), int(found[2]))
        choices = ", ".join(f"4x{side}x{side}" for side in sides)
        raise UserError(
            f"model.latent_shape is '{self.latent_shape}'; give 1 or more channels, height and "
            f"width, for images of {self.image_size} pixels such as {choices}"
        )
