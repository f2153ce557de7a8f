"""Whether data are still what they were, wherever they lie now."""

from __future__ import annotations

import hashlib
from pathlib import Path
from zipfile import ZipFile

from fastgan.data.folder import image_paths
from fastgan.data.load import BUILT_IN, member_of

_WHOLE = 2**28  # bytes of a file that are read in a fraction of a second
_PART = 2**20


def located(source: str) -> str:
    """What the user named, with one meaning in every folder: a built-in data set, or an absolute path."""
    return source if source in BUILT_IN else str(Path(source).absolute())


def file_of(source: str) -> Path:
    """The file or folder of a path, which may name an array of an .npz file after a colon."""
    return member_of(Path(source))[0]


def digest(source: str) -> str | None:
    """A number that other data would not have.

    It is made of the names and sizes of a folder's images, or of the bytes of a file; of a large file only
    those of 256 parts at even distances. The name of an array counts where an .npz file has several.

    Args:
        source: what :func:`fastgan.data.load` takes.

    Returns:
        Hexadecimal; None for a built-in data set, which cannot be another.

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
            step = _PART if size <= _WHOLE else size // (_WHOLE // _PART)
            for begin in range(0, size, step):
                file.seek(begin)
                found.update(file.read(_PART))
    if member is not None and _has_several(path):
        found.update(f":{member}".encode())
    return found.hexdigest()


def _has_several(archive: Path) -> bool:
    with ZipFile(archive) as members:
        return len(members.namelist()) > 1
