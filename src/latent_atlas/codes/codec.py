"""Images to codes and back, for one or many images or codes, flat or spatial."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latent_atlas.codes.posterior import Codes
from latent_atlas.codes.wrapped_autoencoder import Autoencoder, Function
from latent_atlas.errors import UserError
from latent_atlas.shapes import (
    ArrayLike,
    Images,
    Latents,
    Pixels,
    Points,
    as_array,
    as_floats,
    as_images,
    to_float,
)

__all__ = ["Codec", "reconstruction_errors"]

BATCH = 512  # images compared with their reconstructions at a time
# Squared gradients below which an image is flat, with pixels in [0, 1]: at one pixel, and in
# the mean.
FAINT, FLAT = 1e-4, 1e-6


class Codec:
    """Encodes and decodes for an atlas, which may have codes without an autoencoder.

    Attributes:
        embeds: Whether another model than the autoencoder makes the codes.
    """

    def __init__(
        self,
        model: Autoencoder | None,
        latent_shape: tuple[int, ...],
        device: torch.device,
        embed: Callable[[ArrayLike], Latents] | None = None,
    ) -> None:
        """Hold what encodes and decodes.

        Arguments:
            model: The autoencoder, or None.
            latent_shape: Of a code.
            device: Where codes are put.
            embed: Images to codes, where the autoencoder does not make them.
        """
        self._model = model
        self._shape = latent_shape
        self._device = device
        self._embed = embed
        self.embeds = embed is not None

    @property
    def model(self) -> Autoencoder:
        """The autoencoder.

        Raises:
            UserError: there is none.
        """
        if self._model is None and self.embeds:
            raise UserError(
                "the codes of this run are embeddings, which no decoder makes images of; "
                "`latent-atlas report`, `anomalies`, `duplicates` and `compare` tell what it knows "
                "of its images, and `travel` and `sample` show codes by the nearest ones"
            )
        if self._model is None:
            raise UserError(
                "this run has codes but no decoder and no encoder, so it knows no images; "
                "`latent-atlas map` draws it, and travel and sample write codes with --out FILE.npy"
            )
        return self._model

    def encode(self, images: ArrayLike) -> Latents:
        """Means of q(z|x), shape (n, d)."""
        encode = self._embed or self.model.encode
        return encode(images).to(self._device)

    def posterior(self, images: ArrayLike) -> Codes:
        """q(z|x) of images."""
        means, spread = self.model.posterior(images)
        return Codes(means.flatten(1), None if spread is None else spread.flatten(1)).to(
            self._device
        )

    def errors(self, images: ArrayLike, latents: Latents) -> Float[Tensor, "n 3"]:
        """How images differ from G(z), by `reconstruction_errors`."""
        checked = as_images(images)
        some = checked[None] if checked.ndim == 3 else checked
        return reconstruction_errors(self.decode, some, latents)

    def decode(self, latents: ArrayLike) -> Images:
        """G(z), images (n, c, h, w) in [0, 1]."""
        return self.model.decode(self.rows(latents)).to(self._device)

    def differentiable(self, latents: Latents) -> Images:
        """`decode` with a gradient."""
        return self.model.differentiable(latents).to(self._device)

    @property
    def cycle(self) -> Callable[[Latents], Latents] | None:
        """What codes (n, d) become by decoding and encoding; None without both networks."""
        if self._model is None or not self._model.has_encoder:
            return None
        return lambda latents: self.encode(self.decode(latents))

    def codes(self, places: ArrayLike) -> Latents:
        """Codes (n, d) of images or of codes; errors as for `encode` and `rows`."""
        return self.encode(places) if self.are_images(places) else self.rows(places)

    def are_images(self, places: ArrayLike) -> bool:
        """Whether these are images, not codes; if both have the same shape, they are images."""
        shape = tuple(as_array(places).shape)
        if self._model is not None and shape[-3:] == self._model.image_shape:
            return len(shape) in (3, 4)
        return len(shape) >= 3 and self._trailing(shape) != self._shape

    def _is_one(self, place: ArrayLike) -> bool:
        """Whether this is one image or code, and not several."""
        if isinstance(place, list | tuple) and (not place or any(as_array(x).ndim for x in place)):
            return False
        shape, dimension = tuple(as_array(place).shape), torch.Size(self._shape).numel()
        if len(shape) < 2:  # each number is a code where codes have one coordinate
            return dimension > 1 or shape in ((), (1,))
        return shape == self._shape or (len(shape) == 3 and self.are_images(place))

    def _trailing(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The part of a shape that is one code's, if these are codes in the map's own shape."""
        return shape[-len(self._shape) :]

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

    def stops(self, start: ArrayLike, end: ArrayLike | None = None) -> Points:
        """Codes of two or more places, shape (stops, n, d): of both ends, or of what `start` holds.

        Raises:
            UserError: there are too few, or not as many codes at each.
        """
        places = start
        if end is not None:
            places = [start, end]
        elif self._is_one(start):
            places = [start]
        elif not isinstance(start, list | tuple):
            places = as_array(start)
        stops = [self.codes(place) for place in places]
        if len(stops) < 2:
            seen = "one was" if stops else "none were"
            raise UserError(
                f"a path needs two or more waypoints, and {seen} given; give an end, or several "
                "waypoints"
            )
        if len({len(stop) for stop in stops}) > 1:
            counts = ", ".join(str(len(stop)) for stop in stops)
            listed = end is not None and isinstance(start, list | tuple)
            hint = ": put the end among the stops to visit all of them" if listed else ""
            raise UserError(
                "a path needs equally many images or codes at each waypoint; there are "
                f"{counts}{hint}"
            )
        return torch.stack(stops)

    def rows(self, latents: ArrayLike) -> Latents:
        """Codes as rows (n, d), on the device of the atlas and in single precision.

        Raises:
            UserError: they have another shape than the map's, or are not finite.
        """
        codes = as_floats(latents).detach()
        if self._trailing(tuple(codes.shape)) == self._shape:
            codes = codes.flatten(-len(self._shape))
        rows, dimension = torch.atleast_2d(codes), torch.Size(self._shape).numel()
        if rows.ndim != 2 or rows.shape[1] != dimension:
            have = rows.shape[1] if rows.ndim == 2 else f"shape {tuple(rows.shape)}"
            raise UserError(f"codes must have {dimension} coordinates; these have {have}")
        bad = (~rows.isfinite().all(dim=1)).nonzero()[:, 0].tolist()
        if bad:
            raise UserError(
                f"{len(bad)} of {len(rows)} codes are not finite, the first is number {bad[0]}; "
                "encode it again from a readable image"
            )
        return rows.to(self._device, torch.float32)


@torch.no_grad()
def reconstruction_errors(
    decode: Callable[[Latents], Images], images: Tensor | Pixels, latents: Latents
) -> Float[Tensor, "n 3"]:
    r"""How each image x differs from G(z): in its pixels, its sharpness and its texture.

    Error is the mean squared difference per pixel. The others see a blur or a faint noise where
    that is as small as usual. They are 0 for images alike, and positive where x has more:

        sharpness = log(mean |∇x|² / mean |∇G(z)|²),
        texture   = mean log((|∇x|² + c) / (|∇G(z)|² + c)),    c = 1e-4,

    with means over pixels. A few strong edges decide the sharpness, and what would be flat the
    texture.

    Arguments:
        decode: G, from codes (n, d) to images in [0, 1].
        images: Shape (n, c, h, w), in [0, 1], or bytes in 0..255.
        latents: Their codes.
    """
    errors = []
    for start in range(0, len(latents), BATCH):
        rows = slice(start, start + BATCH)
        part, z = images[rows], latents[rows]
        x, rebuilt = to_float(part.to(z.device)), decode(z)
        error = (rebuilt - x).square().flatten(1).mean(dim=1)
        sharpness, texture = (_edges(x) - _edges(rebuilt)).unbind(dim=1)
        errors.append(torch.stack([error, sharpness, texture], dim=1))
    return torch.cat(errors)


def _edges(images: Images) -> Float[Tensor, "n 2"]:
    """log mean |∇x|² and mean log(|∇x|² + c), by differences to the right and below."""
    right = F.pad(images.diff(dim=3), (0, 1)).square()
    below = F.pad(images.diff(dim=2), (0, 0, 0, 1)).square()
    squares = (right + below).mean(dim=1).flatten(1)
    return torch.stack(
        [(squares.mean(dim=1) + FLAT).log(), (squares + FAINT).log().mean(dim=1)], dim=1
    )
