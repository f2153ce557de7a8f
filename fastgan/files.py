"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


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
        raise WriteError(cannot_write(path, error.strerror or error)) from error


def cannot_write(path: Path, reason: object) -> str:
    """What to tell the user about a file that cannot be written."""
    if not path.parent.exists():
        return f"{path}: cannot be written ({reason}); make the folder {path.parent} or give another --out"
    return f"{path}: cannot be written ({reason}); free space or give another --out"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, sync it and rename it into place.

    Args:
        path: of the file; what it held is kept if anything fails.
        write: writes the content to the path that it is given.

    Raises:
        WriteError: if it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with naming(path):
            write(temporary)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fill a new folder under a temporary name, and rename it into place.

    Args:
        folder: must be new or empty.
        fill: writes into the folder that it is given.

    Raises:
        WriteError: if it cannot be written, or holds something already.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise WriteError(f"{folder}: is there already; give another --out, or remove it")
    temporary = folder.with_name(f"{folder.name}.tmp")
    try:
        with naming(folder):
            shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
            temporary.mkdir()
            fill(temporary)
            for file in (*temporary.iterdir(), temporary):
                _sync(file)
            temporary.replace(folder)
            _sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all.

    Raises:
        WriteError: if it cannot be written.
    """
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
