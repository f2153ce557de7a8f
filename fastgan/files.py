"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

_FULL = (errno.ENOSPC, errno.EDQUOT)


class WriteError(OSError):
    """A file that cannot be written; the message names it and the remedy."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the path in the error of a write inside: a full disk's own error names none.

    Raises:
        WriteError: in place of any other OSError.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(_cannot_write(path, error)) from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file in a folder of its own, sync it and move it into place.

    Args:
        path: of the file; what it held is kept if anything fails.
        write: writes the content to the path that it is given, which has the same name.

    Raises:
        WriteError: if it cannot be written.
    """
    with naming(path):
        target = path.resolve()  # a link stays a link
        if target.exists() and not target.is_file():  # /dev/null must not become a file
            raise WriteError(f"{path}: is not a file; give another --out")
        with _folder_next_to(target) as folder:
            whole = folder / target.name
            write(whole)
            _sync(whole)
            whole.replace(target)
            _sync(target.parent)


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fill a new folder out of sight, and move it into place.

    Args:
        folder: must be new or empty.
        fill: writes into the folder that it is given.

    Raises:
        WriteError: if it cannot be written, or holds something already.
    """
    with naming(folder):
        target = folder.resolve()
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise WriteError(f"{folder}: is there already; give another --out, or remove it")
        with _folder_next_to(target) as neighbour:
            whole = neighbour / target.name
            whole.mkdir()
            fill(whole)
            for file in (*whole.iterdir(), whole):
                _sync(file)
            whole.replace(target)
            _sync(target.parent)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all.

    Raises:
        WriteError: if it cannot be written.
    """
    write_whole(path, lambda whole: whole.write_text(text, encoding="utf-8"))


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, readable to whom the umask says, as safetensors' own is not.

    Raises:
        OSError: if it cannot be written; safetensors has an error of its own for that.
    """
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code)) from error
    path.chmod(mode)


def save_array(array: NDArray[Any], path: Path) -> None:
    """Write an .npy file.

    Raises:
        OSError: if it cannot be written. NumPy hands a file to C, whose error has no reason.
    """
    with path.open("wb") as file:
        only_written_to: Any = SimpleNamespace(write=file.write)
        np.save(only_written_to, array)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove what killed processes left of files that match; safe for whoever alone writes such files."""
    for left in folder.glob(f".{pattern}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _folder_next_to(target: Path) -> Iterator[Path]:
    """A folder in which to write what is moved to the target, under a name that nothing else has."""
    prefix = f".{target.name[:40]}."  # the name is limited to 255 bytes
    with TemporaryDirectory(
        prefix=prefix, suffix=".tmp", dir=target.parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _cannot_write(path: Path, error: OSError) -> str:
    reason = error.strerror or error
    if not path.parent.exists():
        return f"{path}: cannot be written ({reason}); make the folder {path.parent} or give another --out"
    if error.errno in _FULL:
        return f"{path}: cannot be written ({reason}); free space or give another --out"
    return f"{path}: cannot be written ({reason}); give another --out"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
