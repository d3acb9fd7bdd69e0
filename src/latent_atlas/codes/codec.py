"""Images to codes and back, for one or many images or codes, flat or spatial."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder, Function
from latent_atlas.errors import UserError
from latent_atlas.shapes import Images, Latents, Points, Values, to_float

__all__ = ["Codec", "squared_errors"]

BATCH = 512  # images compared with their reconstructions at a time


class Codec:
    """Encodes and decodes for an atlas, which may have codes without an autoencoder."""

    def __init__(
        self, model: Autoencoder | None, latent_shape: tuple[int, ...], device: torch.device
    ) -> None:
        """Arguments: the autoencoder or None; the shape of a code; the device to put codes on."""
        self._model = model
        self._shape = latent_shape
        self._device = device

    @property
    def model(self) -> Autoencoder:
        """The autoencoder.

        Raises:
            UserError: there is none.
        """
        if self._model is None:
            raise UserError(
                "this run has codes but no decoder and no encoder, so it knows no images; "
                "`latent-atlas map` draws it, and travel and sample write codes with --out FILE.npy"
            )
        return self._model

    def encode(self, images: Tensor) -> Latents:
        """Means of q(z|x), shape (n, d)."""
        return self.model.encode(images).to(self._device)

    def posterior(self, images: Tensor) -> Codes:
        """q(z|x) of images."""
        means, spread = self.model.posterior(images)
        return Codes(means.flatten(1), None if spread is None else spread.flatten(1)).to(
            self._device
        )

    def errors(self, images: Tensor, latents: Latents) -> Values:
        """Mean squared error of G(z) per image, by `squared_errors`."""
        return squared_errors(self.decode, images[None] if images.ndim == 3 else images, latents)

    def decode(self, latents: Tensor) -> Images:
        """G(z), images (n, c, h, w) in [0, 1]."""
        return self.model.decode(self.rows(latents)).to(self._device)

    def differentiable(self, latents: Latents) -> Images:
        """`decode` with a gradient."""
        return self.model.differentiable(latents).to(self._device)

    def codes(self, places: Tensor) -> Latents:
        """Codes (n, d) of images or of codes."""
        return self.encode(places) if self.are_images(places) else self.rows(places)

    def are_images(self, places: Tensor) -> bool:
        """Whether these are images, not codes; if both have the same shape, they are images."""
        shape = tuple(places.shape[-3:])
        is_image = self._model is not None and shape == self._model.image_shape
        return len(shape) == 3 and (is_image or shape != self._shape)

    def perceived(self, pace: str, features: Function | None) -> Function | None:
        """Features of codes that set the pace of a path; None for distances in Z.

        Raises:
            UserError: there is no such pace, or features without one.
        """
        if pace == "latent" and features is None:
            return None
        if pace != "perceived":
            raise UserError(
                f"the pace is '{pace}'; choose latent, or perceived, which is by features of images"
            )
        seen = features or (lambda images: images.flatten(1))
        return lambda latents: seen(self.decode(latents)).to(self._device)

    def stops(self, start: Tensor | Sequence[Tensor], end: Tensor | None = None) -> Points:
        """Codes of two or more places, shape (stops, n, d): of both ends, or of what `start` holds.

        Raises:
            UserError: there are too few, or not as many codes at each.
        """
        if end is None:
            stops = [self.codes(place) for place in start]
        elif isinstance(start, Tensor):
            stops = [self.codes(start), self.codes(end)]
        else:
            raise UserError(
                f"{len(start)} stops were given and an end beside them; put the end among the stops"
            )
        if len(stops) < 2 or len({len(stop) for stop in stops}) > 1:
            counts = ", ".join(str(len(stop)) for stop in stops)
            raise UserError(
                f"a path needs two or more waypoints with equally many images or codes; there "
                f"are {counts}"
            )
        return torch.stack(stops)

    def rows(self, latents: Tensor) -> Latents:
        """Codes as rows (n, d), on the device of the atlas and in single precision.

        Raises:
            UserError: they have another shape than the map's.
        """
        if tuple(latents.shape[-3:]) == self._shape:
            latents = latents.flatten(-len(self._shape))
        rows, dimension = torch.atleast_2d(latents), torch.Size(self._shape).numel()
        if rows.ndim != 2 or rows.shape[1] != dimension:
            have = rows.shape[1] if rows.ndim == 2 else f"shape {tuple(rows.shape)}"
            raise UserError(f"codes must have {dimension} coordinates; these have {have}")
        return rows.to(self._device, torch.float32)


@torch.no_grad()
def squared_errors(decode: Callable[[Latents], Images], images: Tensor, latents: Latents) -> Values:
    """Mean squared error per pixel between each image and G(z), shape (n,), on the codes' device.

    Arguments:
        decode: G, from codes (n, d) to images in [0, 1].
        images: Shape (n, c, h, w), in [0, 1], or bytes in 0..255.
        latents: Their codes.
    """
    errors = []
    for part, z in zip(images.split(BATCH), latents.split(BATCH), strict=True):
        errors.append((decode(z) - to_float(part.to(z.device))).square().flatten(1).mean(dim=1))
    return torch.cat(errors)
