"""Images in folders and in archives.

Ignored are files without an image suffix, and hidden files (a name or folder that begins with a
dot). Files with an image suffix that cannot be decoded are rejects. The first folder below the root
is the label.
"""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath

from latent_atlas.data.decode import (
    IMAGE_SUFFIXES,
    MAX_BYTES,
    UndecodableError,
    check_size,
    read_file,
)
from latent_atlas.data.source import Item, Source, label_by_folder, refuse_bomb
from latent_atlas.errors import UserError

__all__ = ["folder_source", "tar_source", "zip_source"]


def folder_source(root: Path) -> Source:
    """All images below a folder; links are followed, and each real folder is visited once.

    Arguments:
        root: An existing folder.

    Returns:
        Items named by their path below `root`, sorted.
    """
    return label_by_folder(
        [
            Item(path.relative_to(root).as_posix(), partial(read_file, path))
            for path in _walk(root, set())
            if _is_image(path.relative_to(root).as_posix())
        ]
    )


def _walk(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    """Files in sorted order; `visited` has (device, inode) of folders, so that link loops end."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"cannot read the folder '{folder}' ({error.strerror}); make it readable, or move it "
            "out of the source"
        ) from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        # Not entry.is_dir(), which raises where a link points at itself.
        if os.path.isdir(path):
            yield from _walk(path, visited)
        else:
            yield path


def zip_source(path: Path) -> Source:
    """All images in a zip archive; nothing is unpacked to the disk.

    Raises:
        UserError: the archive is damaged, or unpacks to far more than its own size.
    """
    with ExitStack() as opened:
        try:
            archive = opened.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise _damaged(path, error) from None
        members = archive.infolist()
        refuse_bomb(path, path.stat().st_size, sum(member.file_size for member in members))
        found = label_by_folder(
            [
                Item(_name(member.filename), partial(_read_zipped, archive, member))
                for member in members
                if not member.is_dir() and _is_image(_name(member.filename))
            ]
        )
        return Source(found.items, found.label_names, close=opened.pop_all().close)


def _read_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.flag_bits & 1:
        raise UndecodableError("it is encrypted")
    check_size(member.file_size)
    with archive.open(member) as stream:
        return _read_at_most(stream.read)


def tar_source(path: Path) -> Source:
    """All images in a tar archive, compressed or not; nothing is unpacked to the disk.

    Members are read in the order of the archive, as a compressed one can only be read forwards.

    Raises:
        UserError: the archive is damaged, or unpacks to far more than its own size.
    """
    with ExitStack() as opened:
        archive = opened.enter_context(tarfile.open(path))
        try:
            members = list(_tar_members(archive, path))
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise _damaged(path, error) from None
        found = label_by_folder(
            [
                Item(_name(one.name), partial(_read_tarred, archive, one), place=one.offset)
                for one in members
                if _is_image(_name(one.name))
            ]
        )
        return Source(found.items, found.label_names, in_turn=True, close=opened.pop_all().close)


def _tar_members(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    packed = path.stat().st_size
    for member in archive:
        # Check before the next header is read: everything up to there is unpacked on the way.
        refuse_bomb(path, packed, member.offset_data + member.size)
        if not member.isdir():
            yield member
    # tarfile takes a truncated header for the end, and would drop the rest without an error.
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends before its end mark")


def _read_tarred(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg():
        raise UndecodableError("it is a link or a device, not a file")
    check_size(member.size)
    stream = archive.extractfile(member)
    assert stream is not None  # a regular member has content
    with stream:
        return _read_at_most(stream.read)


def _read_at_most(read: Callable[[int], bytes]) -> bytes:
    content = read(MAX_BYTES + 1)
    check_size(len(content))
    return content


def _name(member: str) -> str:
    return PurePosixPath(member.lstrip("/")).as_posix()


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not any(
        part.startswith(".") for part in path.parts
    )


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"cannot read the archive '{path}' ({error}); it is damaged: create or download it again"
    )
