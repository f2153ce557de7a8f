"""Passes an error of a user's dataset from a worker process to the one that trains."""

from __future__ import annotations

import pickle
import traceback
from typing import Any, NoReturn

from fastgan.data.dataset import DataError


class Failure:
    """Replaces a batch if one of its samples could not be read.

    Args:
        error: the dataset's error.
        message: names the sample and the error.
    """

    def __init__(self, error: Exception, message: str) -> None:
        self._error, self._message = error, message

    @classmethod
    def of(cls, error: Exception, reading: str) -> Failure:
        """The failure for an error; ``reading`` is the expression that failed, such as ``data[7]``."""
        if isinstance(error, DataError):  # its message is enough
            return cls(error, str(error))
        description = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return cls(error, f"{reading} failed with {description}")

    def raise_it(self) -> NoReturn:
        """Raise a DataError whose cause is the dataset's error."""
        raise DataError(self._message) from self._error

    def __reduce__(self) -> tuple[Any, ...]:
        trace = "".join(traceback.format_exception(self._error))
        return _received, (_portable(self._error), self._message, trace)


class WorkerError(Exception):
    """The traceback of an error in a worker process."""


def _received(error: Exception, message: str, trace: str) -> Failure:
    error.__cause__ = WorkerError(f"\n{trace}")
    return Failure(error, message)


def _portable(error: Exception) -> Exception:
    """The error, or a RuntimeError if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
