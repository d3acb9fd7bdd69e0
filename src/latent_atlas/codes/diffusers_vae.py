"""An autoencoder with the interface that pipelines of diffusers call a VAE."""

import importlib
import importlib.util
import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from latent_atlas.codes.wrapped_autoencoder import Autoencoder
from latent_atlas.errors import require

__all__ = ["DiffusersVAE"]


class DiffusersVAE(nn.Module):
    """E and G as `diffusers.AutoencoderKL`: pixels in [-1, 1], codes (n, c, h, w).

    Codes (n, d) are (n, d, 1, 1) here. As there, `encode` and `decode` take codes as they are; the
    pipeline multiplies those that a diffusion model sees by `config.scaling_factor`.

    Attributes:
        config: `scaling_factor`; `latent_channels`, `in_channels` and `out_channels`;
            `sample_size`, the side of an image; and `block_out_channels`, whose number tells
            pipelines how often E halves that side.
    """

    def __init__(self, model: Autoencoder, shape: tuple[int, ...], scaling_factor: float) -> None:
        """Arguments: the autoencoder, the shape of a code, and what brings codes to unit variance.

        Raises:
            UserError: the autoencoder has no encoder, or diffusers is not installed.
        """
        super().__init__()
        require(
            model.has_encoder,
            "a VAE of diffusers encodes by a network, which this atlas has not; give one of "
            "`latent-atlas train`",
        )
        require(
            importlib.util.find_spec("diffusers") is not None,
            "a VAE of diffusers needs the package diffusers, which is not installed; "
            "pip install diffusers",
        )
        self.networks = nn.ModuleList(model.networks)
        self._model = model
        self._shape = shape if len(shape) == 3 else (math.prod(shape), 1, 1)
        channels, side, _ = model.image_shape
        width, height, _ = self._shape
        self.config = SimpleNamespace(
            scaling_factor=scaling_factor,
            latent_channels=width,
            in_channels=channels,
            out_channels=channels,
            sample_size=side,
            block_out_channels=(width,) * (side // height).bit_length(),
        )

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the networks."""
        return next(self.parameters()).dtype

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """`latent_dist`, the distribution q(z|x), for images (n, c, h, w) in [-1, 1]."""
        means, spread = self._model.unchecked_posterior((x + 1) / 2)
        if spread is None:
            spread = torch.full_like(means, -30.0)  # one point, to single precision
        both = torch.cat([part.flatten(1).unflatten(1, self._shape) for part in (means, spread)], 1)
        vae: Any = importlib.import_module("diffusers.models.autoencoders.vae")
        outputs: Any = importlib.import_module("diffusers.models.modeling_outputs")
        found = vae.DiagonalGaussianDistribution(both)
        return outputs.AutoencoderKLOutput(latent_dist=found) if return_dict else (found,)

    def decode(self, z: Tensor, return_dict: bool = True, **_more: object) -> Any:
        """`sample`, images (n, c, h, w) in [-1, 1], for codes (n, c, h, w)."""
        images = 2 * self._model.differentiable(z.flatten(1)) - 1
        vae: Any = importlib.import_module("diffusers.models.autoencoders.vae")
        return vae.DecoderOutput(sample=images) if return_dict else (images,)
