"""The sizes of the encoder E, the decoder G and the image discriminator D_x."""

from dataclasses import dataclass

from latent_atlas.errors import checked, require

__all__ = ["ModelConfig"]


@checked
@dataclass(frozen=True)
class ModelConfig:
    """The sizes of the encoder E, the decoder G and the image discriminator D_x."""

    image_size: int = 32
    """Side of the square images in pixels, 8 to 256."""
    channels: int = 3
    """Channels of the images: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    latent_dim: int = 32
    """Dimension d of the latent codes, 1 or more."""
    width: int = 32
    """Channels of E and G at full resolution, 1 or more. They double at each halving of the
    resolution, up to four times this number."""
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
        for name in ("latent_dim", "width", "depth", "discriminator_width"):
            value = getattr(self, name)
            require(value >= 1, f"model.{name} is {value}; choose 1 or more")
