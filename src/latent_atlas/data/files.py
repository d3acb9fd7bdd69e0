"""Images in folders and in archives.

Ignored are files without an image suffix, and those of `layout.is_ignored`. Files with an image
suffix that cannot be decoded are rejects. Where there are no others, .npy files are images, one
each. `layout` says what the folders mean, and `tables` what tables beside the images say.
"""

import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NoReturn

from latent_atlas.data.decode import (
    IMAGE_SUFFIXES,
    MAX_BYTES,
    UndecodableError,
    check_size,
    read_file,
)
from latent_atlas.data.layout import is_ignored
from latent_atlas.data.source import Item, Source, arranged, refuse_bomb
from latent_atlas.data.tables import is_table
from latent_atlas.errors import UserError, counted

__all__ = ["folder_source", "is_tar", "tar_source", "zip_source"]


def folder_source(root: Path) -> Source:
    """All images below a folder; links are followed, and each real folder is visited once.

    Arguments:
        root: An existing folder.

    Returns:
        Items named by their path below `root`, sorted.
    """
    found = _collected(
        Item(path.relative_to(root).as_posix(), partial(read_file, path))
        for path in _walk(root, set())
    )
    return replace(found, portable=True)


def _collected(files: Iterable[Item]) -> Source:
    """The images among some files, with what tables beside them say."""
    images: list[Item] = []
    arrays: list[Item] = []
    tables: dict[str, bytes] = {}
    notes: list[str] = []
    ignored = 0
    for file in files:
        suffix = PurePosixPath(file.name).suffix.lower()
        if is_ignored(file.name):
            # Hidden files are nobody's images; a folder of thumbnails may be meant.
            ignored += suffix in IMAGE_SUFFIXES and "thumb" in file.name.lower()
        elif suffix in IMAGE_SUFFIXES:
            images.append(file)
        elif suffix == ".npy":
            arrays.append(file)
        elif is_table(file.name):
            try:
                tables[file.name] = bytes(file.read())
            # Readers of damaged archives raise almost anything; the images may be whole.
            except Exception as error:
                notes.append(f"{file.name} is not used: it cannot be read ({error})")
    if ignored:
        notes.append(f"{counted(ignored, 'image')} in folders of thumbnails left out")
    if images and arrays:
        notes.append(f"{len(arrays):,} .npy files beside the images are not read")
    found = arranged(images or arrays, tables)
    return replace(found, notes=(*notes, *found.notes))


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
        # On damaged directories zipfile raises almost anything, from struct.error to OverflowError.
        except Exception as error:
            raise _damaged(path, error) from None
        members = archive.infolist()
        refuse_bomb(path, path.stat().st_size, sum(member.file_size for member in members))
        found = _collected(
            Item(_name(member.filename), partial(_read_zipped, archive, member))
            for member in members
            if not member.is_dir()
        )
        return replace(found, close=opened.pop_all().close)


def _read_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.flag_bits & 1:
        raise UndecodableError("it is encrypted")
    check_size(member.file_size)
    with archive.open(member) as stream:
        return _read_at_most(stream.read)


def tar_source(path: Path) -> Source:
    """All images in a tar archive, compressed or not; nothing is unpacked to the disk.

    Members of an archive that is not compressed are read at their places in the file, in any order
    and by any process; those of a compressed one in turn, as it can only be read forwards.

    Raises:
        UserError: the archive is damaged, or unpacks to far more than its own size.
    """
    with ExitStack() as opened:
        try:
            archive = opened.enter_context(tarfile.open(path))
            members = list(_tar_members(archive, path))
        except (
            tarfile.TarError,
            OSError,
            EOFError,
            zlib.error,
            lzma.LZMAError,
            ValueError,
            OverflowError,
        ) as error:
            if isinstance(error, UserError):
                raise
            raise _damaged(path, error) from None
        plain = isinstance(archive.fileobj, io.BufferedReader)
        found = _collected(
            Item(
                _name(one.name),
                _reader(path, one) if plain else partial(_read_tarred, archive, one),
                place=one.offset,
            )
            for one in members
        )
        if plain:
            return replace(found, portable=True)
        return replace(found, in_turn=True, close=opened.pop_all().close)


def is_tar(name: str) -> bool:
    """Whether a file is a tar archive by its name, compressed or not."""
    return re.search(r"\.(tar|tar\.(gz|bz2|xz|zst)|tgz)$", name.lower()) is not None


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


def _reader(path: Path, member: tarfile.TarInfo) -> Callable[[], bytes]:
    """Reads a member of an archive that is not compressed, in any process."""
    if not member.isreg() or member.issparse():
        return _refuse_link
    return partial(_read_at, path, member.offset_data, member.size)


def _refuse_link() -> NoReturn:
    raise UndecodableError("it is a link, a device or a sparse file")


def _read_at(path: Path, offset: int, size: int) -> bytes:
    """A piece of a file."""
    check_size(size)
    with path.open("rb", buffering=0) as file:
        content = os.pread(file.fileno(), size, offset)
    if len(content) < size:
        raise UndecodableError("the archive was cut")
    return content


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
    """The path of an archive's member; some programs write backslashes."""
    return PurePosixPath(member.replace("\\", "/").lstrip("/")).as_posix()


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"cannot read the archive '{path}' ({error}); it is damaged: create or download it again"
    )
