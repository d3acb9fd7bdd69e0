"""The images of an evaluation: two disjoint halves of the held-out images, and their codes."""

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
from latent_atlas.geometry.manifold import NEIGHBOURS
from latent_atlas.shapes import ByteImages, Images

__all__ = ["FEWEST", "EvaluationSet", "evaluation_set_of"]

FEWEST = 4 * (NEIGHBOURS + 1)  # held-out images: half of a half still has k neighbours


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """A run and the images it is evaluated on.

    Attributes:
        atlas: Model and map.
        extractor: Feature extractor.
        reference: n held-out images that others are compared with.
        others: n other held-out images.
        learned: Training images.
        seed: Seed of all randomness.
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
        """The random generator of one section, the same whichever other sections there are."""
        return torch.Generator(on).manual_seed(self.seed * 1_000 + question)

    def codes(self, images: ByteImages) -> Codes:
        """q(z|x) of images, on the device of the map."""
        model = self.atlas.model
        assert model is not None
        means, spread = model.posterior(images)
        return Codes(means.flatten(1), None if spread is None else spread.flatten(1)).to(
            self.atlas.device
        )

    def decoded_codes(self, images: ByteImages, generator: torch.Generator) -> Images:
        """Reconstructions, each from one sample of q(z|x)."""
        return self.atlas.decode(self.codes(images).sample_each(generator=generator)).cpu()

    def features(self, images: Tensor) -> Float[np.ndarray, "n f"]:
        """Features of images, given as bytes or in [0, 1], shape (n, f)."""
        return self.extractor.features(
            images if images.dtype == torch.uint8 else as_bytes(images)
        ).numpy()

    @cached_property
    def reference_features(self) -> Float[np.ndarray, "n f"]:
        """Features of the reference."""
        return self.features(self.reference)

    @cached_property
    def mixture(self) -> Density:
        """A Gaussian mixture of the training codes: a baseline, and a model to evaluate paths."""
        generator = self.generator(0, on=self.atlas.device)
        return fit_gaussian_mixture(
            self.atlas.codes["train"].sample_each(generator=generator), generator=generator
        )


def evaluation_set_of(
    atlas: Atlas, images: ImageSet, extractor: Extractor, *, most: int, learned: int, seed: int
) -> EvaluationSet:
    """Choose the images of an evaluation.

    Arguments:
        atlas: Model and map.
        images: The run's images; it is evaluated on the held-out ones.
        extractor: Feature extractor.
        most: n, at most; half of the held-out images if these are fewer than 2 n.
        learned: Number of training images, at most.
        seed: Seed of all randomness.

    Raises:
        UserError: too few images are held out, or they have another shape than the model's.
    """
    if images.images.shape[1:] != atlas.image_shape:
        raise UserError(
            f"the images have shape {tuple(images.images.shape[1:])}, those of the model "
            f"{tuple(atlas.image_shape)}; evaluate a run on the images it was trained on"
        )
    held_out, train = (mask.nonzero().flatten() for mask in (images.held_out, ~images.held_out))
    if len(held_out) < FEWEST or most < FEWEST // 2:
        raise UserError(
            f"an evaluation compares {FEWEST // 2} held-out images or more with as many others; "
            f"{most} were asked for and {len(held_out)} are held out; ask for more, or train with "
            "more images or a larger data.held_out"
        )
    generator = torch.Generator().manual_seed(seed)
    held_out, train = (
        rows[torch.randperm(len(rows), generator=generator)] for rows in (held_out, train)
    )
    n = min(most, len(held_out) // 2)
    return EvaluationSet(
        atlas,
        extractor,
        reference=images.images[held_out[:n]],
        others=images.images[held_out[n : 2 * n]],
        learned=images.images[train[:learned]],
        seed=seed,
    )
