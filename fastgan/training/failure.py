"""An error of a user's dataset, on its way from the process that reads to the one that trains."""

from __future__ import annotations

import pickle
import traceback
from typing import Any, NoReturn

from fastgan.data.dataset import DataError


class Failure:
    """What a batch is in place of samples where one of them could not be read.

    Args:
        error: of the dataset.
        message: names the sample and the error.
    """

    def __init__(self, error: Exception, message: str) -> None:
        self._error, self._message = error, message

    @classmethod
    def of(cls, error: Exception, reading: str) -> Failure:
        """That of an error; ``reading`` is what was being read, as Python has it: ``data[7]``."""
        if isinstance(error, DataError):  # names a file, or what is wrong with all samples
            return cls(error, str(error))
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return cls(error, f"{reading} failed with {told}")

    def raise_it(self) -> NoReturn:
        """Raise a DataError that has the dataset's own error as its cause."""
        raise DataError(self._message) from self._error

    def __reduce__(self) -> tuple[Any, ...]:
        trace = "".join(traceback.format_exception(self._error))
        return _received, (_portable(self._error), self._message, trace)


class WorkerError(Exception):
    """Where, in a process that reads, an error was raised, and from which others."""


def _received(error: Exception, message: str, trace: str) -> Failure:
    error.__cause__ = WorkerError(f"\n{trace}")
    return Failure(error, message)


def _portable(error: Exception) -> Exception:
    """The error, or one of a plain type in its place if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
