"""What the folders of a collection mean: its parts and its classes.

In this order:

1. Folders that all images share are skipped: archives often wrap everything in one.
2. Folders named `train`, `val`, `valid`, `validation`, `test` or `holdout`, such as `test_set`, are
   the parts of a split where one of them is to train on; the others are held out.
3. Folders that only say that there are images, such as `images` or `jpg`, are skipped.
4. The class is the last folder left if all images lie equally deep, and else the first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from latent_atlas.errors import counted

__all__ = ["Layout", "is_held_out_part", "is_ignored", "understand"]

_PART = re.compile(
    r"(?P<train>train(ing)?)|(?P<held>val(id(ation)?)?|test(ing)?|hold[-_ ]?out|held[-_ ]?out)"
)
_PART_SUFFIX = re.compile(r"[-_ ]?(set|data|images?|imgs?|split|part)$")
_PLAIN_FOLDERS = """data dataset files full images image imgs img jpeg jpegs jpg jpgs photos photo
pics pictures picture png pngs raw samples"""
_NO_CLASS = frozenset(_PLAIN_FOLDERS.split())
_IGNORED = frozenset(["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"])
_THUMBNAILS = frozenset(["thumbs", "_thumbs", "thumbnails", "_thumbnails"])


@dataclass(frozen=True)
class Layout:
    """What was understood of the names of images.

    Attributes:
        classes: The class of each image, "" where it has none.
        held_out: Whether each image is in a held-out part; None if the folders are no split.
        notes: What to tell the user.
    """

    classes: tuple[str, ...]
    held_out: tuple[bool, ...] | None
    notes: tuple[str, ...]


def is_ignored(name: str) -> bool:
    """Whether a path lies where only a system or a program keeps copies: hidden files and folders,
    `__MACOSX`, `@eaDir`, and folders of thumbnails.
    """
    *folders, file = PurePosixPath(name).parts
    return file.startswith(".") or any(
        folder.startswith(".") or folder in _IGNORED or folder.lower() in _THUMBNAILS
        for folder in folders
    )


def is_held_out_part(word: str) -> bool | None:
    """False for a name of a training part, True for one of a held-out part, None for others.

    Examples:
        >>> [is_held_out_part(word) for word in ("Train", "test_set", "valid", "tests", "cats")]
        [False, True, True, None, None]
    """
    found = _PART.fullmatch(_PART_SUFFIX.sub("", word.lower()))
    return None if found is None else found["held"] is not None


def understand(names: Sequence[str]) -> Layout:
    """Find the parts and the classes in the names of images.

    Arguments:
        names: Relative paths, with slashes.

    Examples:
        >>> found = understand(("x/train/owl/1.png", "x/train/tit/1.png", "x/test/owl/2.png"))
        >>> found.classes, found.held_out
        (('owl', 'tit', 'owl'), (False, False, True))
        >>> found.notes
        ('the folders train, test are the parts; held out: test',)
    """
    folders = _without_shared([PurePosixPath(name).parts[:-1] for name in names])
    notes: list[str] = []
    held_out: tuple[bool, ...] | None = None
    level = _level_of_parts(folders)
    if level is not None:
        parts = [is_held_out_part(path[level]) if len(path) > level else None for path in folders]
        held_out = tuple(part is True for part in parts)
        words = dict.fromkeys(
            path[level] for path, part in zip(folders, parts, strict=True) if part is not None
        )
        held = (word for word in words if is_held_out_part(word))
        notes.append(f"the folders {', '.join(words)} are the parts; held out: {', '.join(held)}")
        if outside := sum(part is None for part in parts):
            words = ("image lies in no part and is", "images lie in no part and are")
            notes.append(f"{counted(outside, *words)} trained on")
    elif only := _only_parts(folders):
        notes.append(f"the folders are the parts {', '.join(only)} and none to train on: ignored")
    # A part that is named once more below (training_set/training_set) is no class either.
    is_split = bool(notes)
    folders = _without_shared(
        [
            tuple(
                folder
                for folder in path
                if folder.lower() not in _NO_CLASS
                and not (is_split and is_held_out_part(folder) is not None)
            )
            for path in folders
        ]
    )
    classes = _classes(folders)
    found = {name for name in classes if name}
    if len(found) > 1 and len(found) == len(classes):
        notes.append("every folder holds one image, so folders are not taken as classes")
        classes = ("",) * len(classes)
    return Layout(classes, held_out, tuple(notes))


def _without_shared(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without the first folders that all paths share."""
    while folders and all(folders) and len({path[0] for path in folders}) == 1:
        folders = [path[1:] for path in folders]
    return folders


def _level_of_parts(folders: list[tuple[str, ...]]) -> int | None:
    """The first level where there are both a training part and a held-out part."""
    for level in range(max(map(len, folders), default=0)):
        kinds = {is_held_out_part(path[level]) for path in folders if len(path) > level}
        if {True, False} <= kinds:
            return level
    return None


def _only_parts(folders: list[tuple[str, ...]]) -> list[str]:
    """The first folders if all are held-out parts, such as `val` and `test`; else none."""
    firsts = dict.fromkeys(path[0] if path else "" for path in folders)
    return list(firsts) if all(is_held_out_part(first) for first in firsts) else []


def _classes(folders: list[tuple[str, ...]]) -> tuple[str, ...]:
    while folders and all(folders) and len({path[-1] for path in folders}) == 1:
        folders = [path[:-1] for path in folders]
    last = len({len(path) for path in folders if path}) == 1
    return tuple((path[-1] if last else path[0]) if path else "" for path in folders)
