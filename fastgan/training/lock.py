"""Locks a run's folder, so that only one process trains in it."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgan.files import WriteError, naming

LOCK = ".lock"
_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some file systems of clusters have no locks
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_held: set[int] = set()


class LockedError(OSError):
    """Another process trains in the folder; the message names both and the remedy."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder; the lock is released when the process ends, even if it is killed.

    Raises:
        LockedError: if another process has locked it.
        WriteError: if the folder cannot be written to.
    """
    descriptor = _opened(folder)
    _held.add(descriptor)
    try:
        _lock(folder, descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _opened(folder: Path) -> int:
    path = folder / LOCK  # never deleted: a lock on a deleted file would not exclude others
    with naming(path):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno not in _FORBIDDEN:
                raise
            raise WriteError(
                f"{folder}: cannot be written to ({error.strerror}); make it writable, or take a copy of it"
            ) from error


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 1_000, 0).decode(errors="replace").strip() or "another process"
        raise LockedError(f"{folder}: {holder} is training in it; let it end, or stop it first") from None
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        warnings.warn(
            f"{folder}: cannot be locked ({error.strerror}); make sure that no other process trains in it",
            stacklevel=4,
        )
    with naming(folder / LOCK):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


# otherwise the workers that read data would hold the lock for seconds after the run is killed
os.register_at_fork(after_in_child=_let_go)
