"""The images of an atlas in lists: the rarest and the most typical, duplicates, a comparison.

Commands draw these lists, the report and the explorer show them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from latent_atlas.atlas.atlas import Atlas
from latent_atlas.atlas.collection import Collection
from latent_atlas.atlas.duplicates import Duplicates, find_duplicates
from latent_atlas.errors import counted, printable
from latent_atlas.geometry.comparison import Comparison
from latent_atlas.runs import read_tensors, reading, write_tensors
from latent_atlas.shapes import ByteImages, Images, Latents, Values

__all__ = [
    "COMPARISON",
    "ImageList",
    "Section",
    "compared",
    "comparison_of",
    "duplicated",
    "overview",
    "ranked",
]

COMPARISON = "comparison.safetensors"
"""The file of a run that `latent-atlas compare` writes, and `Section.load` reads."""

MOST = 16  # images of a list, and groups of duplicates
ACROSS = 8  # images of a group of duplicates
TOLD = 5  # images that a sentence names


@dataclass(frozen=True)
class ImageList:
    """Some images in an order.

    Attributes:
        title: What they have in common.
        names: Of the images, n.
        codes: Of the images, shape (n, d).
        images: Bytes, shape (n, c, h, w); None where the atlas shows none.
        values: What they are ordered by, n numbers; or none.
        own: Whether they are images of the atlas.
    """

    title: str
    names: tuple[str, ...]
    codes: Latents
    images: ByteImages | None
    values: tuple[float, ...] = ()
    own: bool = True


@dataclass(frozen=True)
class Section:
    """Lists of images that belong together.

    Attributes:
        title: In some words.
        sentences: What was found.
        lists: One or more, or none where nothing was found.
    """

    title: str
    sentences: tuple[str, ...]
    lists: tuple[ImageList, ...]

    def about(self) -> dict[str, object]:
        """All but the codes and the images, as JSON values."""
        lists = [
            {"title": o.title, "names": [*o.names], "values": [*o.values], "own": o.own}
            for o in self.lists
        ]
        return {"title": self.title, "sentences": [*self.sentences], "lists": lists}

    def save(self, path: Path) -> None:
        """Write it for `load`."""
        tensors = {f"{i}.codes": one.codes for i, one in enumerate(self.lists)}
        shown = enumerate(one.images for one in self.lists)
        tensors |= {f"{i}.images": images for i, images in shown if images is not None}
        write_tensors(path, tensors, {"about": json.dumps(self.about())})

    @classmethod
    def load(cls, path: Path) -> "Section":
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing or damaged.
        """
        tensors, metadata = read_tensors(path)
        with reading(path):
            about = json.loads(metadata["about"])
            lists = tuple(
                ImageList(
                    one["title"],
                    tuple(one["names"]),
                    tensors[f"{i}.codes"],
                    tensors.get(f"{i}.images"),
                    tuple(one["values"]),
                    one["own"],
                )
                for i, one in enumerate(about["lists"])
            )
            return cls(about["title"], tuple(about["sentences"]), lists)


def overview(atlas: Atlas) -> list[Section]:
    """The images of an atlas, ranked, and the duplicates of a collection.

    Raises:
        UserError: there is one image alone.
    """
    sections = [ranked(atlas, atlas.rarity())]
    if atlas.collection is not None:
        sections.append(duplicated(atlas.collection, find_duplicates(atlas.collection)))
    return sections


def comparison_of(run: Path | None) -> list[Section]:
    """What `latent-atlas compare` found last of a run, if it did.

    Raises:
        UserError: the file is damaged.
    """
    file = None if run is None else run / COMPARISON
    return [Section.load(file)] if file is not None and file.is_file() else []


@torch.no_grad()
def ranked(atlas: Atlas, rarity: Values) -> Section:
    """The rarest and the most typical images, at most 16 of each, by `Atlas.rarity`, (n,)."""
    codes, names = atlas.real_images
    order = rarity.argsort(descending=True)
    lists = tuple(
        ImageList(
            title,
            tuple(printable(names[row]) for row in rows.tolist()),
            codes[rows],
            _shown(atlas, codes[rows]),
            tuple(rarity[rows].tolist()),
        )
        for title, rows in (("rarest", order[:MOST]), ("most typical", order.flip(0)[:MOST]))
    )
    by = "the mean distance to the ten nearest others"
    if atlas.collection is None and atlas.map.has_log_prob:
        by = "−log q in nats"
    sentence = f"{counted(len(codes), 'image')} ranked by {by}: high values are rare"
    return Section("Rare and typical", (sentence,), lists)


def duplicated(collection: Collection, found: Duplicates) -> Section:
    """The first 16 groups of copies and near-duplicates, at most 8 images of each."""
    exact = sum(group.exact for group in found.groups)
    sentence = (
        f"{counted(exact, 'group')} of copies and {counted(len(found.groups) - exact, 'group')} of "
        f"near-duplicates: closer than {found.within:.3g}, where the nearest other image is "
        f"usually {found.typical:.3g} away"
    )
    codes, lists = collection.all_codes(), []
    for number, group in enumerate(found.groups[:MOST], 1):
        rows = torch.tensor(group.rows[:ACROSS])
        kind = "copies" if group.exact else f"within {group.distance:.3g}"
        lists.append(
            ImageList(
                f"{number}. {kind}",
                tuple(printable(collection.names[row]) for row in rows.tolist()),
                codes[rows],
                torch.as_tensor(collection.images[rows.numpy()]),
            )
        )
    return Section("Duplicates", (sentence,), tuple(lists))


def compared(
    atlas: Atlas,
    other: str,
    codes: Float[Tensor, "m d"],
    shown: Callable[[list[int]], Images] | None,
    found: Comparison,
) -> Section:
    """The images that are on one side alone, at most 16 of each.

    Arguments:
        atlas: The atlas.
        other: What the other images are called.
        codes: Of the other images, shape (m, d).
        shown: Other images by their numbers, (n, c, h, w) in [0, 1]; None where there are none.
        found: By `Atlas.compare`.
    """
    real, (unlike, examples) = atlas.real_images[0], (found.unlike[:MOST], found.examples[:MOST])
    sides = (
        (
            "unlike the run",
            f"{counted(len(found.unlike), 'image')} of {other} unlike those of the run",
            tuple(printable(found.names[row]) for row in unlike),
            codes[unlike],
            _bytes(shown(unlike)) if unlike and shown is not None else None,
        ),
        (
            "lacking in the other",
            f"{counted(len(found.missing), 'image')} of the run that {other} lacks",
            tuple(printable(found.real_names[row]) for row in examples),
            real[examples],
            _shown(atlas, real[examples]) if examples else None,
        ),
    )
    lists, sentences = [], found.sentences()
    for own, (title, sentence, names, z, images) in enumerate(sides):
        instance = f"{sentence}, for instance {', '.join(names[:TOLD])}"
        sentences.append(instance if names else sentence)
        if names:
            lists.append(ImageList(title, names, z, images, own=bool(own)))
    return Section(f"Compared with {other}", tuple(sentences), tuple(lists))


def _shown(atlas: Atlas, codes: Latents) -> ByteImages | None:
    return None if atlas.shown_shape is None else _bytes(atlas.decode(codes))


def _bytes(images: Images) -> ByteImages:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
