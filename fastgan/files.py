"""Files that are there whole or not at all."""

from __future__ import annotations

import os
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
