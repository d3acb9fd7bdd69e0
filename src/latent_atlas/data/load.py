"""From the name of a source to an `ImageSet`."""

import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from latent_atlas.config.data import DataConfig
from latent_atlas.data.arrays import array_source
from latent_atlas.data.decode import (
    IMAGE_SUFFIXES,
    Square,
    UndecodableError,
    decode_whole,
    quiet,
)
from latent_atlas.data.files import folder_source, is_tar, tar_source, zip_source
from latent_atlas.data.findings import Facts, refuse_few, remarks, summary_of
from latent_atlas.data.huggingface import huggingface_source
from latent_atlas.data.imageset import ImageSet, Reject
from latent_atlas.data.levels import Levels, Scale, usual_scale
from latent_atlas.data.named import NAMED_SETS
from latent_atlas.data.packed import Pack, packed_set, packed_source
from latent_atlas.data.parallel_read import Progress, digest_all, read_all, reject_or_content
from latent_atlas.data.source import Item, Source
from latent_atlas.data.split import (
    Digests,
    as_digests,
    first_by_content,
    held_out_by_content,
)
from latent_atlas.device import free_memory
from latent_atlas.errors import UserError, did_you_mean, require
from latent_atlas.files import signed, write_text
from latent_atlas.shapes import Mask

__all__ = [
    "NoSourceError",
    "load_images",
    "open_source",
    "probe_source",
    "square_of",
    "with_levels",
]


class NoSourceError(UserError):
    """There is nothing where the images should be."""


_PROBED = 64  # images that suggest the size and channels
MUCH = 0.25  # share of the free memory that decoded images may take without a remark
COPIES = 2.2  # times the decoded images that are in memory while training begins


def load_images(
    data: DataConfig,
    image_size: int,
    channels: int,
    *,
    progress: Progress | None = None,
    rejects_file: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> ImageSet:
    """Read all images of a source, bring them to one size, and hold some of them out.

    Arguments:
        data: The source, how images become squares, and the fractions held out and rejected.
        image_size: Side wanted, in pixels.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        progress: Called now and then with the number of items done, of all items, and of rejects.
        rejects_file: File for the rejects: one JSON object per line, with path and reason. Without
            rejects, a file that an earlier run left there is removed.
        say: Called before they are read with a sentence where the images need much memory.

    Returns:
        The images in the order of their names or rows, the same for the same source. Those of a
        packed source stay on the disk.

    Raises:
        UserError: there is no such source, too many of its images cannot be decoded, there are
            fewer than 20 to train on, or more than fit into memory.
    """
    square = square_of(data, image_size, channels)
    if Pack.is_at(data.source):
        return packed_set(data, square)
    came = None if progress is None else lambda n: progress(n, data.limit or n, 0)
    with quiet(), closing(open_source(data.source, data.limit, came)) as source:
        chosen = list(range(len(source.items)))
        if data.limit is not None and data.limit < len(chosen):
            chosen = first_by_content(digest_all(source.items, source.in_turn), data.limit)
        items = tuple(source.items[i] for i in chosen)
        _check_memory(data, square, len(items), say)
        reading = read_all(items, square, source.in_turn, progress)
    _report(reading.rejects, len(items), data.max_rejects, rejects_file)
    kept = [source.items[chosen[i]] for i in reading.kept]
    digests = as_digests([look.digest for look in reading.looks])
    held_out = _held_out(kept, digests, data.held_out)
    where = torch.tensor([chosen[i] for i in reading.kept])
    found = ImageSet(
        images=reading.images,
        labels=torch.tensor([item.label for item in kept], dtype=torch.long)
        if source.label_names
        else None,
        label_names=source.label_names,
        names=_names(kept),
        held_out=held_out,
        rejects=reading.rejects,
        attributes=source.attributes
        and {name: values[where] for name, values in source.attributes.items()},
        attribute_names=source.attribute_names,
        source=data.source,
        levels=reading.levels,
    )
    refuse_few(found, digests)
    facts = Facts.of(reading.looks, reading.images)
    return replace(
        found,
        notes=(*source.notes, *reading.levels.notes, *remarks(found, facts, digests)),
        summary=summary_of(found, facts, digests),
    )


def _check_memory(
    data: DataConfig, square: Square, n: int, say: Callable[[str], object] | None
) -> None:
    """Say how much memory the decoded images take where it is much, and name `pack`.

    Raises:
        UserError: they cannot fit into the memory that is free.
    """
    decoded, free = n * square.channels * square.size**2, free_memory(torch.device("cpu"))
    if free is None or decoded <= MUCH * free:
        return
    sentence = (
        f"{n:,} images of {square.size} x {square.size} pixels take {decoded / 2**30:.1f} GiB in "
        f"memory, and {COPIES * decoded / 2**30:.1f} GiB while training begins; "
        f"{free / 2**30:.1f} GiB are free: `latent-atlas pack {data.source} PACK --image-size "
        f"{square.size}` decodes them once onto the disk, and `latent-atlas train PACK` needs "
        "hardly any memory for them"
    )
    require(COPIES * decoded <= free, sentence)
    if say is not None:
        say(sentence)


def square_of(data: DataConfig, image_size: int, channels: int) -> Square:
    """What the images of a run become."""
    floats = None if data.float_range is None else Scale(*data.float_range)
    integers = None if data.integer_white is None else Scale(0, data.integer_white)
    return Square(image_size, channels, data.fit, Levels(floats, integers))


def with_levels(data: DataConfig, levels: Levels) -> DataConfig:
    """The settings with the scales that were found, so that later images are read alike."""
    floats, integers = levels.floats, levels.integers
    return replace(
        data,
        float_range=(floats.black, floats.white) if isinstance(floats, Scale) else None,
        integer_white=int(integers.white) if isinstance(integers, Scale) else None,
    )


def open_source(
    source: str, limit: int | None = None, came: Callable[[int], object] | None = None
) -> Source:
    """Find what a source is, and list its items. The caller closes it.

    Arguments:
        source: The name of a data set (write `./digits` for a folder of such a name),
            `hf:owner/name`, or the path of a folder, a zip or tar archive, a packed source, or a
            .npy or .npz file; `file.npz:key` is one array of such a file.
        limit: List at most so many items where the source can be streamed; None lists all.
        came: As for `huggingface_source`.

    Raises:
        UserError: the source is none of these, is damaged, or holds no image file.
    """
    if source in NAMED_SETS:
        return NAMED_SETS[source]()
    if source.startswith("hf:"):
        return huggingface_source(source.removeprefix("hf:"), limit, came)
    path = Path(source).expanduser()
    archive, colon, key = source.rpartition(":")
    if colon and archive.lower().endswith(".npz") and os.path.isfile(Path(archive).expanduser()):
        return array_source(Path(archive).expanduser(), key)
    if not source or not os.path.exists(path):
        raise NoSourceError(
            f"no images at '{source}': it is not a named data set ({', '.join(NAMED_SETS)}), and "
            f"there is no file or folder {path.absolute()}; give a folder, an archive, a .npy or "
            f".npz file, or hf:owner/name{did_you_mean(source, NAMED_SETS)}"
        )
    opened = _open_path(path)
    if not opened.items:
        opened.close()
        archives = path.is_dir() and any(is_tar(name) for name in os.listdir(path))
        require(
            not archives,
            f"'{source}' is a folder of archives; `latent-atlas pack {source} PACK` makes one "
            f"source of them; `latent-atlas encode RUN {source} --out CODES` and `latent-atlas "
            f"anomalies RUN {source} --out SCORES` take the folder as it is",
        )
        raise UserError(
            f"'{source}' holds no image file; the names of images end in "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return opened


def probe_source(source: str) -> tuple[int, int]:
    """Suggest an image size and a number of channels, from 64 images spread over the source.

    Arguments:
        source: As in `open_source`.

    Returns:
        The median of their shorter sides, clipped to 8..256 pixels; and 1 if all are grey, else 3.
        Of a packed source, the side and the channels that were packed.

    Raises:
        UserError: there is no such source, or none of these images can be decoded.

    Examples:
        >>> probe_source("digits")
        (8, 1)
    """
    if Pack.is_at(source):
        about = Pack.open(source).about
        return about["image_size"], about["channels"]
    sides: list[int] = []
    grey = True
    rejects: list[Reject] = []
    with quiet(), closing(open_source(source, _PROBED)) as opened:
        inorder = sorted(opened.items, key=lambda item: item.place)
        spread = np.linspace(0, len(inorder) - 1, min(_PROBED, len(inorder))).astype(int)
        for i in spread:
            looked = _side_and_grey(inorder[i])
            if isinstance(looked, Reject):
                rejects.append(looked)
                continue
            sides.append(looked[0])
            grey = grey and looked[1]
    if not sides:
        raise UserError(
            f"none of {len(rejects)} images of '{source}' can be decoded, for instance "
            f"{rejects[0].path}: {rejects[0].reason}; check the files"
        )
    return min(256, max(8, int(np.median(sides)))), 1 if grey else 3


def _side_and_grey(item: Item) -> tuple[int, bool] | Reject:
    content = reject_or_content(item)
    if isinstance(content, Reject):
        return content
    try:
        whole = decode_whole(content, usual_scale)  # which changes no size
    except UndecodableError as error:
        return Reject(item.name, str(error))
    return min(whole.size), whole.pixels.shape[2] <= 2


def _open_path(path: Path) -> Source:
    if Pack.is_at(path):
        return packed_source(path)
    if path.is_dir():
        return folder_source(path)
    if path.suffix.lower() in (".npy", ".npz"):
        return array_source(path)
    try:
        if zipfile.is_zipfile(path):
            return zip_source(path)
        if tarfile.is_tarfile(path):
            return tar_source(path)
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({error.strerror}); make it readable") from None
    except UserError:
        raise
    except Exception as error:  # on damaged archives these raise almost anything
        raise UserError(
            f"cannot read the archive '{path}' ({error}); it is damaged: create or download it "
            "again"
        ) from None
    raise UserError(
        f"'{path}' is not a folder, a .npy or .npz file, or a zip or tar archive, or it is damaged"
        "; give one of these (for a single image, its folder)"
    )


def _report(rejects: tuple[Reject, ...], n: int, allowed: float, file: Path | None) -> None:
    """Write the rejects to the file, and raise an error if there are too many."""
    if file and rejects:
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(signed({"path": reject.path, "reason": reject.reason})) + "\n"
            for reject in rejects
        ]
        write_text(file, "".join(lines))
    elif file:
        file.unlink(missing_ok=True)
    if len(rejects) > allowed * n:
        if len(rejects) == n and len({reject.reason for reject in rejects}) == 1:
            raise UserError(f"none of {n:,} images can be read: {rejects[0].reason}")
        listed = f"; all are listed in {file}" if file else ""
        raise UserError(
            f"{len(rejects)} of {n} images cannot be decoded, more than the fraction {allowed:g} "
            f"that is allowed; the first is {rejects[0].path} ({rejects[0].reason}){listed}; "
            "repair or remove them, or allow more with --max-rejects"
        )


def _held_out(items: list[Item], digests: Digests, share: float) -> Mask:
    """Held-out images: as the source says, else by their content."""
    if not items or all(item.held_out is not None for item in items):
        return torch.tensor([item.held_out is True for item in items], dtype=torch.bool)
    return held_out_by_content(digests, share)


def _names(items: list[Item]) -> tuple[str, ...]:
    """Names of images; those of an official test part are numbered `test:0`, `test:1`, ..."""
    held = iter(range(len(items)))
    return tuple(f"test:{next(held)}" if item.held_out else item.name for item in items)
