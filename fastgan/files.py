"""Atomic writes: a file is complete or does not exist."""

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

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class WriteError(OSError):
    """A file cannot be written; the message names the file and the remedy."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to the errors of writes in this context: the system's error for a full disk has none.

    Raises:
        WriteError: replaces any other OSError.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(_cannot_write(path, error)) from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file in a temporary folder, sync it and move it into place.

    Args:
        path: path of the file; its old content is kept if anything fails.
        write: writes the content to the path it receives, which has the same file name.

    Raises:
        WriteError: the file cannot be written.
    """
    with naming(path):
        target = path.resolve()  # replace the target of a link, not the link
        if target.exists() and not target.is_file():  # do not replace /dev/null
            raise WriteError(f"{path}: is not a file; give another --out")
        with _folder_next_to(target) as folder:
            whole = folder / target.name
            write(whole)
            _sync(whole)
            whole.replace(target)
            _sync(target.parent)


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fill a folder under a temporary name, and move it into place.

    Args:
        folder: must be new or empty.
        fill: writes into the folder it receives.

    Raises:
        WriteError: the folder cannot be written, or is not empty.
    """
    with naming(folder):
        target = folder.resolve()
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise WriteError(f"{folder}: already exists; give another --out, or remove it")
        with _folder_next_to(target) as neighbour:
            whole = neighbour / target.name
            whole.mkdir()
            fill(whole)
            for file in (*whole.iterdir(), whole):
                _sync(file)
            whole.replace(target)
            _sync(target.parent)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, completely or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    write_whole(path, lambda whole: whole.write_text(text, encoding="utf-8"))


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file with the permissions of the umask, which safetensors ignores.

    Raises:
        OSError: the file cannot be written; replaces safetensors' own exception.
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
        OSError: the file cannot be written. Given a real file, NumPy would raise an error without a reason.
    """
    with path.open("wb") as file:
        only_written_to: Any = SimpleNamespace(write=file.write)
        np.save(only_written_to, array)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove temporary folders of killed processes. Safe if no other process writes files that match."""
    for left in folder.glob(f".{pattern}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _folder_next_to(target: Path) -> Iterator[Path]:
    """Create a temporary folder with a unique name next to the target, so that a move is atomic."""
    prefix = f".{target.name[:40]}."  # file names are limited to 255 bytes
    with TemporaryDirectory(
        prefix=prefix, suffix=".tmp", dir=target.parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _cannot_write(path: Path, error: OSError) -> str:
    reason = error.strerror or error
    if not path.parent.exists():
        return f"{path}: cannot be written ({reason}); make the folder {path.parent} or give another --out"
    if error.errno in _DISK_FULL:
        return f"{path}: cannot be written ({reason}); free space or give another --out"
    return f"{path}: cannot be written ({reason}); give another --out"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
