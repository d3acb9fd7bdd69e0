"""What was found in a source: the sentences and the numbers that `train` shows before it trains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from latent_atlas.data.imageset import ImageSet
from latent_atlas.data.parallel_read import Look
from latent_atlas.data.split import Digests
from latent_atlas.errors import UserError, counted
from latent_atlas.shapes import ByteImages

__all__ = ["Facts", "in_words", "refuse_few", "remarks", "summary_of"]

FEWEST = 20  # fewer distinct images to train on are refused
FEW = 200  # fewer distinct images to train on are remarked on
FEW_HELD_OUT = 20  # fewer are remarked on
DARK = 32  # a collection whose brightest value is below is remarked on
MOST_CLASSES = 12  # named in a sentence

CHANNELS = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Facts:
    """What images were like before they became squares; the facts of two parts can be added.

    Attributes:
        images: How many there are.
        coloured, transparent: How many have colours, and transparent pixels.
        shortened: Of how many only the upper 8 of 16 bits a channel were read.
        small: How many have a side below that of the squares.
        paged, left_out: How many have several pages, and how many pages were not read.
        brightest: The brightest value of the squares, in 0..255.
        smallest, largest: Width and height of those with the fewest and the most pixels.
    """

    images: int
    coloured: int
    transparent: int
    shortened: int
    small: int
    paged: int
    left_out: int
    brightest: int
    smallest: tuple[int, int]
    largest: tuple[int, int]

    @classmethod
    def of(cls, looks: Sequence[Look], squares: ByteImages) -> "Facts":
        """The facts of some images, at least one, and of their squares."""
        sizes = [(look.width, look.height) for look in looks]
        return cls(
            images=len(looks),
            coloured=sum(look.channels >= 3 for look in looks),
            transparent=sum(look.channels in (2, 4) for look in looks),
            shortened=sum(look.shortened for look in looks),
            small=sum(min(size) < squares.shape[2] for size in sizes),
            paged=sum(look.pages > 1 for look in looks),
            left_out=sum(look.pages - 1 for look in looks if look.pages > 1),
            brightest=int(squares.max()),
            smallest=min(sizes, key=_pixels),
            largest=max(sizes, key=_pixels),
        )

    def __add__(self, other: "Facts") -> "Facts":
        """The facts of both parts."""
        sums = {
            name: value + getattr(other, name)
            for name, value in vars(self).items()
            if isinstance(value, int)
        }
        return Facts(
            **sums
            | {
                "brightest": max(self.brightest, other.brightest),
                "smallest": min(self.smallest, other.smallest, key=_pixels),
                "largest": max(self.largest, other.largest, key=_pixels),
            }
        )


def _pixels(size: tuple[int, int]) -> tuple[int, int, int]:
    """Width and height in the order of their pixels."""
    return size[0] * size[1], *size


def refuse_few(found: ImageSet, digests: Digests) -> None:
    """Refuse a set that is too small to train on.

    Raises:
        UserError: there are fewer than 20 distinct images to train on.
    """
    n = _distinct(digests[~found.held_out.numpy()])
    if n < FEWEST:
        raise UserError(
            f"'{found.source}' leaves {n} distinct images to train on ({len(found)} usable, "
            f"{_distinct(digests)} distinct, {int(found.held_out.sum())} held out), and at least "
            f"{FEWEST} are needed; give more images"
        )


def remarks(found: ImageSet, facts: Facts, digests: Digests) -> tuple[str, ...]:
    """Sentences on a small set, on copies, and on what the size and channels do to the images."""
    return (*_on_number(found, digests), *_on_channels(found, facts), *_on_sizes(found, facts))


def _on_number(found: ImageSet, digests: Digests) -> Iterator[str]:
    held = found.held_out.numpy()
    learned, distinct = _distinct(digests[~held]), _distinct(digests)
    if learned < FEW:
        yield (
            f"only {learned} distinct images to train on: the networks will memorise them; "
            f"{FEW} or more make a better map"
        )
    if 0 < (count := int(held.sum())) < FEW_HELD_OUT:
        of = counted(count, "image is", "images are")
        yield f"only {of} held out, so all that is measured on them is rough"
    if distinct < len(digests):
        yield f"{len(digests):,} images are {distinct:,} distinct pictures and copies of them"
    if both := learned + _distinct(digests[held]) - distinct:
        yield (
            f"{counted(both, 'picture is', 'pictures are')} in a held-out part of the source and "
            "trained on as well, so what is measured there is too good"
        )


def _on_channels(found: ImageSet, facts: Facts) -> Iterator[str]:
    channels, many = found.images.shape[1], f"of {facts.images:,} images"
    if facts.coloured and channels <= 2:
        yield f"{facts.coloured:,} {many} have colours and become grey; --channels 3 keeps them"
    if facts.transparent and channels in (1, 3):
        yield (
            f"{facts.transparent:,} {many} have transparent pixels and are put on white; "
            f"--channels {channels + 1} keeps them"
        )
    if facts.shortened:
        yield (
            f"{facts.shortened:,} {many} have 16 bits a channel in colour, of which the upper 8 "
            "are read; .npy files keep all"
        )
    if facts.brightest < DARK:
        yield (
            f"the brightest value of all images is {facts.brightest} of 255, so they are nearly "
            "black; if that is not meant, bring them to 0..255"
        )


def _on_sizes(found: ImageSet, facts: Facts) -> Iterator[str]:
    side, many = found.images.shape[2], f"of {facts.images:,} images"
    if facts.small:
        yield f"{facts.small:,} {many} have a side below {side} pixels and are enlarged"
    if facts.paged:
        yield (
            f"{facts.paged:,} {many} have several pages; the first is read, and "
            f"{counted(facts.left_out, 'page is', 'pages are')} left out"
        )


def _distinct(digests: Digests) -> int:
    """The number of distinct pictures."""
    return len(np.unique(np.ascontiguousarray(digests).view("V16")))


def summary_of(found: ImageSet, facts: Facts, digests: Digests) -> dict[str, Any]:
    """Numbers of images by part and class, their sizes in pixels, and the memory they take."""
    labels = torch.empty(0) if found.labels is None else found.labels
    return {
        "images": len(found),
        "distinct": _distinct(digests),
        "rejected": len(found.rejects),
        "train": int((~found.held_out).sum()),
        "held_out": int(found.held_out.sum()),
        "smallest": list(facts.smallest),
        "largest": list(facts.largest),
        "image_size": found.images.shape[2],
        "channels": found.images.shape[1],
        "classes": {name: int((labels == i).sum()) for i, name in enumerate(found.label_names)},
        "unlabelled": int((labels < 0).sum()),
        "bytes": found.images.nbytes,
    }


def in_words(summary: Mapping[str, Any]) -> list[str]:
    """The numbers of a summary as sentences."""
    smallest, largest = (
        f"{width} x {height}" for width, height in (summary["smallest"], summary["largest"])
    )
    sizes = smallest if smallest == largest else f"{smallest} to {largest}"
    side, classes = summary["image_size"], summary["classes"]
    lines = [
        f"{summary['images']:,} images of {sizes} pixels become {side} x {side}, "
        f"{CHANNELS[summary['channels']]}",
        f"{summary['train']:,} to train on, {summary['held_out']:,} held out, "
        f"{summary['rejected']:,} rejected",
    ]
    if classes:
        listed = [f"{name} ({count:,})" for name, count in list(classes.items())[:MOST_CLASSES]]
        more = f" and {len(classes) - MOST_CLASSES:,} more" if len(classes) > MOST_CLASSES else ""
        without = summary["unlabelled"]
        unlabelled = f"; {counted(without, 'image')} without a class" if without else ""
        lines.append(
            f"{counted(len(classes), 'class', 'classes')}: {', '.join(listed)}{more}{unlabelled}"
        )
    else:
        lines.append("no classes")
    return lines
