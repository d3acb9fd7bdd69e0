"""What was found in a source: the sentences and the numbers that `train` shows before it trains."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from latent_atlas.data.imageset import ImageSet
from latent_atlas.data.parallel_read import Look
from latent_atlas.errors import UserError, counted
from latent_atlas.shapes import Mask

__all__ = ["in_words", "refuse_few", "remarks", "summary_of"]

FEWEST = 20  # fewer distinct images to train on are refused
FEW = 200  # fewer distinct images to train on are remarked on
DARK = 32  # a collection whose brightest value is below is remarked on
MOST_CLASSES = 12  # named in a sentence

CHANNELS = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGBA"}


def refuse_few(found: ImageSet, looks: list[Look]) -> None:
    """Refuse a set that is too small to train on.

    Raises:
        UserError: there are fewer than 20 distinct images to train on.
    """
    n = len(_pictures(looks, ~found.held_out))
    if n < FEWEST:
        distinct = len({look.digest for look in looks})
        raise UserError(
            f"'{found.source}' leaves {n} distinct images to train on ({len(found)} usable, "
            f"{distinct} distinct, {int(found.held_out.sum())} held out), and at least {FEWEST} "
            "are needed; give more images"
        )


def remarks(found: ImageSet, looks: list[Look]) -> tuple[str, ...]:
    """Sentences on a small set, on copies, and on what the size and channels do to the images."""
    return (*_on_number(found, looks), *_on_channels(found, looks), *_on_sizes(found, looks))


def _on_number(found: ImageSet, looks: list[Look]) -> Iterator[str]:
    learned = _pictures(looks, ~found.held_out)
    if len(learned) < FEW:
        yield (
            f"only {len(learned)} distinct images to train on: the networks will memorise them; "
            f"{FEW} or more make a better map"
        )
    held_out = _pictures(looks, found.held_out)
    distinct = len(learned | held_out)
    if distinct < len(looks):
        yield f"{len(looks):,} images are {distinct:,} distinct pictures and copies of them"
    if both := len(learned & held_out):
        yield (
            f"{counted(both, 'picture is', 'pictures are')} in a held-out part of the source and "
            "trained on as well, so what is measured there is too good"
        )


def _on_channels(found: ImageSet, looks: list[Look]) -> Iterator[str]:
    channels, many = found.images.shape[1], f"of {len(looks):,} images"
    coloured = sum(look.channels >= 3 for look in looks)
    if coloured and channels <= 2:
        yield f"{coloured:,} {many} have colours and become grey; --channels 3 keeps them"
    transparent = sum(look.channels in (2, 4) for look in looks)
    if transparent and channels in (1, 3):
        yield (
            f"{transparent:,} {many} have transparent pixels and are put on white; "
            f"--channels {channels + 1} keeps them"
        )
    if shortened := sum(look.shortened for look in looks):
        yield (
            f"{shortened:,} {many} have 16 bits a channel in colour, of which the upper 8 are "
            "read; .npy files keep all"
        )
    if len(found) and (brightest := int(found.images.max())) < DARK:
        yield (
            f"the brightest value of all images is {brightest} of 255, so they are nearly black; "
            "if that is not meant, bring them to 0..255"
        )


def _on_sizes(found: ImageSet, looks: list[Look]) -> Iterator[str]:
    side, many = found.images.shape[2], f"of {len(looks):,} images"
    small = sum(min(look.width, look.height) < side for look in looks)
    if small:
        yield f"{small:,} {many} have a side below {side} pixels and are enlarged"
    paged = sum(look.pages > 1 for look in looks)
    if paged:
        left_out = sum(look.pages - 1 for look in looks)
        yield (
            f"{paged:,} {many} have several pages; the first is read, and "
            f"{counted(left_out, 'page is', 'pages are')} left out"
        )


def _pictures(looks: list[Look], which: Mask) -> set[bytes]:
    """The distinct pictures among some images."""
    return {looks[i].digest for i in which.nonzero().flatten().tolist()}


def summary_of(found: ImageSet, looks: list[Look]) -> dict[str, Any]:
    """Numbers of images by part and class, their sizes in pixels, and the memory they take."""
    sizes = sorted((look.width * look.height, look.width, look.height) for look in looks)
    labels = torch.empty(0) if found.labels is None else found.labels
    return {
        "images": len(found),
        "distinct": len({look.digest for look in looks}),
        "rejected": len(found.rejects),
        "train": int((~found.held_out).sum()),
        "held_out": int(found.held_out.sum()),
        "smallest": list(sizes[0][1:]),
        "largest": list(sizes[-1][1:]),
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
