"""The images of one run, with their labels, attributes and names."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from latent_atlas.data.levels import Levels
from latent_atlas.data.pixels import PackedImages, PackedNames, select
from latent_atlas.shapes import Images, Labels, Mask, Pixels, to_float

__all__ = ["ImageSet", "Reject"]


@dataclass(frozen=True)
class Reject:
    """A file that could not be decoded, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square images of one size, on the CPU or, if they were packed, on the disk.

    Arguments:
        images: In 0..255, shape (n, c, h, w).
        labels: Class numbers, -1 where unknown; None if the set has none.
        label_names: One per class; may be empty.
        names: One per image: relative path, archive member, `row:17`, or `test:17` in an official
            test part.
        held_out: True for images that no network trains on.
        rejects: The files that could not be decoded.
        notes: Sentences for the user, such as that the set is small.
        summary: What was found, for people and programs; empty for a set that was not loaded.
        attributes: Known properties, one number per image each; None if the set has none.
        attribute_names: For attributes that count categories, the names of these.
        source: Where the images come from, as the user wrote it.
        levels: The scales of floats and deep integers.
    """

    images: Pixels
    labels: Labels | None
    label_names: tuple[str, ...]
    names: Sequence[str]
    held_out: Mask
    rejects: tuple[Reject, ...] = ()
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, Tensor] | None = None
    attribute_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    summary: Mapping[str, object] = field(default_factory=dict)
    levels: Levels = field(default_factory=Levels)

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    @property
    def train(self) -> "ImageSet":
        """A copy of the part to train on."""
        return self.select(~self.held_out)

    @property
    def test(self) -> "ImageSet":
        """A copy of the held-out part: `test:17` is its image 17."""
        return self.select(self.held_out)

    def select(self, which: Tensor) -> "ImageSet":
        """Some of the images, with their labels, attributes and names.

        They are copied in memory, and only named on the disk.

        Arguments:
            which: A mask of shape (n,), or places in 0..n-1 in the order wanted.
        """
        places = which.nonzero().flatten() if which.dtype == torch.bool else which
        return replace(
            self,
            images=select(self.images, places),
            labels=None if self.labels is None else self.labels[places],
            names=self.names.at(places)
            if isinstance(self.names, PackedNames)
            else tuple(self.names[i] for i in places.tolist()),
            held_out=self.held_out[places],
            attributes=self.attributes and {name: v[places] for name, v in self.attributes.items()},
        )

    def as_float(self, which: Tensor | None = None) -> Images:
        """Images in [0, 1]: those at the places (or under the mask) `which`, or all."""
        return to_float(self.images[:] if which is None else self.images[which])

    def manifest(self) -> dict[str, object]:
        """A summary for JSON; its `digest` changes with any pixel, label, order or split."""
        whole = hashlib.blake2b(digest_size=16)
        if isinstance(self.images, PackedImages):
            whole.update(self.images.fingerprint())
        for tensor in (self.images, self.labels, self.held_out):
            if isinstance(tensor, Tensor):
                whole.update(repr(tuple(tensor.shape)).encode())
                whole.update(tensor.contiguous().numpy().data)
        return {
            "source": self.source,
            "n": len(self),
            "n_train": int((~self.held_out).sum()),
            "n_held_out": int(self.held_out.sum()),
            "image_size": self.images.shape[2],
            "channels": self.images.shape[1],
            "label_names": list(self.label_names),
            "rejects": len(self.rejects),
            "digest": whole.hexdigest(),
        }
