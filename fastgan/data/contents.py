"""Recognizes whether data have changed, even if they have moved."""

from __future__ import annotations

import hashlib
from pathlib import Path
from zipfile import ZipFile

from fastgan.data.folder import image_paths
from fastgan.data.idx import labels_file
from fastgan.data.load import BUILT_IN, member_of

_MAX_HASHED_BYTES = 2**28  # read in a fraction of a second
_PART_BYTES = 2**20


def located(source: str) -> str:
    """A source that does not depend on the working directory: a built-in data set or an absolute path."""
    return source if source in BUILT_IN else str(Path(source).absolute())


def file_of(source: str) -> Path:
    """The file or folder of a path, which may name an array of an .npz file after a colon."""
    return member_of(Path(source))[0]


def digest(source: str) -> str | None:
    """A hash that changes with the data.

    It covers the names and sizes of a folder's images, or the bytes of a file (for a large file, 256 evenly
    spaced parts). If an .npz file has several arrays, it covers the array's name too.

    Args:
        source: as for :func:`fastgan.data.load`.

    Returns:
        Hexadecimal digits; None for a built-in data set, which does not change.

    Raises:
        DataError: if a folder holds no image.
        OSError: if a file cannot be read.
    """
    if source in BUILT_IN:
        return None
    path, member = member_of(Path(source))
    found = hashlib.sha256()
    if path.is_dir():
        for image in image_paths(path):
            found.update(f"{image.relative_to(path).as_posix()}\0{image.stat().st_size}\0".encode())
    else:
        size = path.stat().st_size
        found.update(str(size).encode())
        with path.open("rb") as file:
            step = _PART_BYTES if size <= _MAX_HASHED_BYTES else size // (_MAX_HASHED_BYTES // _PART_BYTES)
            for begin in range(0, size, step):
                file.seek(begin)
                found.update(file.read(_PART_BYTES))
    if member is not None and _has_several(path):
        found.update(f":{member}".encode())
    return found.hexdigest()


def labels_digest(source: str) -> str | None:
    """A hash of the labels next to an IDX file of images, which :func:`digest` does not cover.

    Args:
        source: as for :func:`fastgan.data.load`.

    Returns:
        Hexadecimal digits; None for data without such a file.

    Raises:
        OSError: if the file cannot be read.
    """
    path = labels_file(Path(source))
    return None if path is None else digest(str(path))


def _has_several(archive: Path) -> bool:
    with ZipFile(archive) as members:
        return len(members.namelist()) > 1
