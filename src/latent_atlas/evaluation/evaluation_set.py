"""What every question is asked of: held-out images in two halves that share none, their codes, and a judge."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.codes.posterior import Codes
from latent_atlas.data.imageset import ImageSet
from latent_atlas.density.base import Density
from latent_atlas.density.gaussian_mixture import fit_gaussian_mixture
from latent_atlas.errors import UserError
from latent_atlas.evaluation.features.base import Extractor, as_bytes
from latent_atlas.evaluation.precision_recall import NEIGHBOURS
from latent_atlas.shapes import ByteImages, Images

__all__ = ["FEWEST", "Material", "material_of"]

FEWEST = 4 * (NEIGHBOURS + 1)  # held-out images, so that a half of a half still has neighbours


@dataclass(frozen=True, eq=False)
class Material:
    """A run and the images it is judged by.

    Attributes:
        atlas: Model and map.
        extractor: What sees images.
        reference: n held-out images that others are compared with.
        others: n held-out images besides.
        learned: Images that the model has learned from.
        seed: Of everything that is drawn.
    """

    atlas: Atlas
    extractor: Extractor
    reference: ByteImages
    others: ByteImages
    learned: UInt8[Tensor, "m c h w"]
    seed: int

    @property
    def n(self) -> int:
        """Images of each half."""
        return len(self.reference)

    def generator(self, question: int, *, on: torch.device | str = "cpu") -> torch.Generator:
        """The randomness of one question: whichever others are asked, it is the same."""
        return torch.Generator(on).manual_seed(self.seed * 1_000 + question)

    def codes(self, images: ByteImages) -> Codes:
        """q(z|x) of images, where the map is."""
        model = self.atlas.model
        assert model is not None
        means, spread = model.posterior(images)
        return Codes(means.flatten(1), None if spread is None else spread.flatten(1)).to(
            self.atlas.device
        )

    def decoded_codes(self, images: ByteImages, generator: torch.Generator) -> Images:
        """Images rebuilt from one code each of q(z|x)."""
        return self.atlas.decode(self.codes(images).sample_each(generator=generator)).cpu()

    def seen(self, images: Tensor) -> Float[np.ndarray, "n f"]:
        """Features of images, in bytes or in [0, 1]."""
        return self.extractor.features(
            images if images.dtype == torch.uint8 else as_bytes(images)
        ).numpy()

    @cached_property
    def reference_features(self) -> Float[np.ndarray, "n f"]:
        """Features of the reference."""
        return self.seen(self.reference)

    @cached_property
    def mixture(self) -> Density:
        """Gaussians fitted to codes that the map has learned from too: an opponent, and a judge that plans nothing."""
        generator = self.generator(0, on=self.atlas.device)
        return fit_gaussian_mixture(
            self.atlas.codes["train"].sample_each(generator=generator), generator=generator
        )


def material_of(
    atlas: Atlas, images: ImageSet, extractor: Extractor, *, most: int, learned: int, seed: int
) -> Material:
    """Choose the images.

    Arguments:
        atlas: Model and map.
        images: The run's collection; only what is held out is judged by.
        extractor: What sees images.
        most: n, at most; half of the held-out images if these are fewer than 2 n.
        learned: How many images of the other part, at most.
        seed: Of the choice.

    Raises:
        UserError: too few images are held out, or they have another shape than the model's.
    """
    if images.images.shape[1:] != atlas.image_shape:
        raise UserError(
            f"the images have shape {tuple(images.images.shape[1:])}, the model's {tuple(atlas.image_shape)}; evaluate "
            "a run by the images it was made of"
        )
    held_out, train = (mask.nonzero().flatten() for mask in (images.held_out, ~images.held_out))
    if len(held_out) < FEWEST or most < FEWEST // 2:
        raise UserError(
            f"an evaluation compares {FEWEST // 2} held-out images or more with as many others; {most} were asked for "
            f"and {len(held_out)} are held out; ask for more, or train with more images or a larger data.held_out"
        )
    generator = torch.Generator().manual_seed(seed)
    held_out, train = (
        rows[torch.randperm(len(rows), generator=generator)] for rows in (held_out, train)
    )
    n = min(most, len(held_out) // 2)
    return Material(
        atlas,
        extractor,
        reference=images.images[held_out[:n]],
        others=images.images[held_out[n : 2 * n]],
        learned=images.images[train[:learned]],
        seed=seed,
    )
