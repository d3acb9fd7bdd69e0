"""Any autoencoder, wrapped as encode and decode between images and flat codes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from latent_atlas.errors import UserError, checked
from latent_atlas.shapes import (
    ArrayLike,
    Images,
    Latents,
    as_floats,
    as_images,
    as_rows,
    batched,
    to_float,
)

__all__ = ["Autoencoder", "Function", "adapt"]

BATCH = 512  # images or codes that pass through a network at a time

Function = Callable[[Tensor], Any]
"""Of images or of codes, (n, ...)."""


class Autoencoder:
    """Encode and decode as functions of images in [0, 1] and of codes (n, d).

    Images and codes are moved to the network's device and precision in batches; modules are put
    into evaluation mode.

    Attributes:
        image_shape: (c, h, w) of an image.
        latent_shape: Of a code: (d,), or any other such as (c, h, w), which is flattened for users
            and restored for decode.
    """

    @checked
    def __init__(
        self,
        encode: Function | None,
        decode: Function,
        image_shape: tuple[int, ...],
        latent_shape: tuple[int, ...],
        *,
        pixel_range: tuple[float, float] = (0.0, 1.0),
        batch: int = BATCH,
        device: torch.device,
    ) -> None:
        """Wrap two functions; `adapt` finds the shapes.

        Arguments:
            encode: Maps images (n, c, h, w) to means, to a pair of means and log-variances, or to
                an object with `latent_dist`, `latents` or `latent`, as those of diffusers. None
                where another model makes the codes.
            decode: Maps codes (n, *latent_shape) to images, or to an object with `sample`.
            image_shape, latent_shape: As the attributes.
            pixel_range: The values of black and white for encode and decode.
            batch: Images or codes per call of a network.
            device: Where the inputs of a function that is not a module's are put.
        """
        self.image_shape = image_shape
        self.latent_shape = latent_shape
        self._encode = encode
        self._decode = decode
        self._low, self._high = pixel_range
        self._batch = batch
        self._device = device
        for module in self.networks:
            module.eval()

    @torch.no_grad()
    def posterior(self, images: ArrayLike) -> tuple[Tensor, Tensor | None]:
        """Means and log-variances of q(z|x), shape (n, *latent_shape) each; the latter may be None.

        Arguments:
            images: Shape (n, c, h, w) or (c, h, w), in [0, 1], or bytes in 0..255.

        Raises:
            UserError: the images do not have the shape `image_shape` or are not in [0, 1], there is
                no encode, or what it returns is not known here, or has log-variances for some
                images only.
        """
        images = as_images(images)
        images = images[None] if images.ndim == 3 else images
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            sides = ", ".join(map(str, self.image_shape))
            raise UserError(
                f"images must have shape (n, {sides}); these have {tuple(images.shape)}"
            )
        parts = [self.unchecked_posterior(part) for part in images.split(self._batch)]
        spreads = [spread for _, spread in parts if spread is not None]
        if len(spreads) not in (0, len(parts)):
            raise UserError(
                f"encode returned log-variances for {len(spreads)} of {len(parts)} batches; return "
                "them for all images or for none"
            )
        return torch.cat([means for means, _ in parts]), torch.cat(spreads) if spreads else None

    @property
    def networks(self) -> list[nn.Module]:
        """The modules that encode and decode are or belong to, each once."""
        found = (_module_of(self._encode), _module_of(self._decode))
        return [*dict.fromkeys(module for module in found if module is not None)]

    @property
    def has_encoder(self) -> bool:
        """Whether encode is a module or a module's method, and not, say, an optimisation."""
        return _module_of(self._encode) is not None

    def encode(self, images: ArrayLike) -> Latents:
        """Means of q(z|x), shape (n, d), of images as for `posterior`."""
        return self.posterior(images)[0].flatten(1)

    @torch.no_grad()
    def decode(self, latents: ArrayLike) -> Images:
        """G(z), images (n, c, h, w) in [0, 1], for codes (n, d).

        Raises:
            UserError: these are no such codes, or an image of them has NaN pixels.
        """
        images = self.differentiable(latents)
        bad = images.flatten(1).isnan().any(dim=1).nonzero()[:, 0].tolist()
        if bad:
            largest = as_floats(latents)[bad[0]].abs().max().item()
            raise UserError(
                f"decode made NaN pixels of {len(bad)} of {len(images)} codes, the first is number "
                f"{bad[0]}, with a coordinate of {largest:.3g}; give codes near real ones, or look "
                "for NaN in the decoder's weights"
            )
        return images

    def differentiable(self, latents: ArrayLike) -> Images:
        """`decode` with a gradient; pixels outside [0, 1] are clamped and have none."""
        codes = as_rows(latents, math.prod(self.latent_shape)).unflatten(1, self.latent_shape)
        images = batched(lambda part: _image(self._call(self._decode, part)), codes, self._batch)
        return ((images - self._low) / (self._high - self._low)).clamp(0, 1)

    def unchecked_posterior(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """`posterior` of one batch of floats in [0, 1]: traceable, as it looks at no pixel."""
        if self._encode is None:
            raise UserError(
                "this decoder has no encoder, since another model made the codes; give codes "
                "(n, d), or name images of the collection"
            )
        means, spread = _means_and_spread(self._call(self._encode, self._to_pixels(images)))
        if means.ndim < 2 or len(means) != len(images):
            raise UserError(
                f"encode made codes of shape {tuple(means.shape)} of {len(images)} images; a map "
                "needs (n, d), or (n, ...) of any shape"
            )
        return means, spread

    def _to_pixels(self, images: Tensor) -> Tensor:
        """Images in the pixel range of encode, from bytes or from [0, 1]."""
        return to_float(images) * (self._high - self._low) + self._low

    def _call(self, function: Function, rows: Tensor) -> Any:
        """The function of rows, on its module's device and in its precision."""
        module = _module_of(function)
        weight = None if module is None else next(module.parameters(), None)
        return function(
            rows.to(self._device) if weight is None else rows.to(weight.device, weight.dtype)
        )


def adapt(
    autoencoder: object | None,
    images: ArrayLike,
    *,
    encode: Function | None = None,
    decode: Function | None = None,
    pixel_range: tuple[float, float] = (0.0, 1.0),
    batch: int = BATCH,
    device: torch.device,
) -> Autoencoder:
    """Wrap an autoencoder, and try it on one image.

    Arguments:
        autoencoder: An object with `encode` and `decode`, such as diffusers.AutoencoderKL; None if
            these are given.
        images: Shape (n, c, h, w), in [0, 1], or bytes in 0..255.
        encode, decode, pixel_range, batch, device: As for `Autoencoder`.

    Raises:
        UserError: a function is missing, the images have the wrong shape or range, or decode does
            not return an image of that shape.
    """
    encode, decode = _pair(autoencoder, encode, decode)
    if not pixel_range[0] < pixel_range[1]:
        raise UserError(
            f"pixel_range is {pixel_range}; give what black and white are to encode, such as "
            "(-1, 1)"
        )
    if batch < 1:
        raise UserError(f"batch is {batch}; choose 1 or more images at a time")
    images = _checked(images)
    shape = tuple(images.shape[1:])
    how: dict[str, Any] = {"pixel_range": pixel_range, "batch": batch, "device": device}
    means, _ = Autoencoder(encode, decode, shape, (), **how).posterior(images[:1])
    if not means.isfinite().all():
        raise UserError(
            "encode made a code that is not finite of the first image; look for NaN in its weights "
            "and at pixel_range"
        )
    adapted = Autoencoder(encode, decode, shape, tuple(means.shape[1:]), **how)
    came_back = tuple(adapted.decode(means.flatten(1)).shape[1:])
    if came_back != shape:
        raise UserError(
            f"decode made an image of shape {came_back} of one of {shape}; resize images to what "
            "it makes"
        )
    return adapted


def _pair(
    autoencoder: object | None, encode: Function | None, decode: Function | None
) -> tuple[Function, Function]:
    """Encode and decode, given as functions or as methods of one object.

    Raises:
        UserError: one is missing, or an object was given and a function as well.
    """
    if autoencoder is not None:
        if encode is not None or decode is not None:
            raise UserError(
                "an autoencoder was given and functions beside it; give one object, or encode= and "
                "decode="
            )
        encode, decode = getattr(autoencoder, "encode", None), getattr(autoencoder, "decode", None)
    if encode is None or decode is None:
        missing = " and ".join(
            name for name, function in (("encode", encode), ("decode", decode)) if function is None
        )
        raise UserError(
            f"there is no {missing}; give an object with encode and decode, or both as functions"
        )
    return encode, decode


def _checked(images: ArrayLike) -> Tensor:
    """Images (n, c, h, w), n of 1 or more, by `as_images`."""
    checked = as_images(images)
    if checked.ndim != 4 or 0 in checked.shape:
        raise UserError(
            "images must have shape (n, c, h, w), n of 1 or more; these have "
            f"{tuple(checked.shape)}"
        )
    return checked


def _module_of(function: Function | None) -> nn.Module | None:
    """The module that a function is or belongs to."""
    owner = getattr(function, "__self__", function)
    return owner if isinstance(owner, nn.Module) else None


def _means_and_spread(given: Any) -> tuple[Tensor, Tensor | None]:
    """What an encoder returned, in single precision.

    Raises:
        UserError: its form is not known here.
    """
    for name in ("latent_dist", "latents", "latent"):
        if hasattr(given, name):
            return _means_and_spread(getattr(given, name))
    if isinstance(given, Tensor):
        return given.float(), None
    if isinstance(given, tuple | list) and len(given) == 1:
        return _means_and_spread(given[0])
    pair = (
        given
        if isinstance(given, tuple | list)
        else (getattr(given, "mean", None), getattr(given, "logvar", None))
    )
    if len(pair) == 2 and isinstance(pair[0], Tensor) and isinstance(pair[1], Tensor):
        return pair[0].float(), pair[1].float()
    raise UserError(
        f"encode returned {_described(given)}; it must return means, or means and log-variances"
    )


def _image(given: Any) -> Tensor:
    """What a decoder returned, in single precision.

    Raises:
        UserError: its form is not known here.
    """
    if isinstance(given, tuple | list) and len(given) == 1:
        given = given[0]
    image = given if isinstance(given, Tensor) else getattr(given, "sample", None)
    if isinstance(image, Tensor) and image.ndim == 4:
        return image.float()
    raise UserError(
        f"decode returned {_described(given)}; it must return images (n, c, h, w), or an object "
        "with sample"
    )


def _described(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    return (
        f"{len(given)} values" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
    )
