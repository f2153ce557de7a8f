"""The error and the warning for tables."""

from __future__ import annotations

from fastgan.data.dataset import DataError


class TableError(DataError):
    """A table, a column or a value that cannot be used; the message names it and the remedy."""


class TableWarning(UserWarning):
    """A column that is read as text, or will be modelled poorly or slowly; the message has the remedy."""


def shown(value: object) -> str:
    """The value as messages quote it: on one line, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def line_of(error: Exception) -> str:
    """What another library's error says, on one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]
