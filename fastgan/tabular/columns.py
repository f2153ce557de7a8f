"""What the columns of a table are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypeGuard, get_args

import numpy as np
import pandas as pd

from fastgan.tabular.dtypes import expect
from fastgan.tabular.errors import TableError, shown
from fastgan.tabular.families import Family
from fastgan.tabular.storage import Raw, Storage
from fastgan.training.setting import is_whole

Kind = Literal[
    "continuous", "integer", "datetime", "timedelta", "date", "time", "boolean", "category", "constant"
]
"""What a column is modelled as. boolean and category are discrete, constant is not modelled."""

KINDS: tuple[Kind, ...] = get_args(Kind)
DISCRETE: tuple[Kind, ...] = ("boolean", "category")

_FEW = 10  # integers with at most as many values are a category
_FOUND: dict[Family, Kind] = {
    "integer": "integer",
    "float": "continuous",
    "boolean": "boolean",
    "datetime": "datetime",
    "timedelta": "timedelta",
    "date": "date",
    "time": "time",
    "string": "category",
    "coded": "category",
    "objects": "category",
}
_REMEDIES = {
    "continuous": "convert it to numbers, for example with pandas.to_numeric",
    "integer": "convert it to integers, for example with pandas.to_numeric",
    "datetime": "convert it, for example with pandas.to_datetime",
    "timedelta": "convert it, for example with pandas.to_timedelta",
}


def kinds_of(frame: pd.DataFrame, columns: Mapping[Any, str] | None = None) -> dict[Any, Kind]:
    """Find out what each column of a table is.

    Floats are continuous; integers are integer, but a category if at most 10 values occur; a column with one
    value, or one that is missing throughout, is constant.

    Args:
        frame: the table, of at least two rows. Its columns' names are strings or integers.
        columns: kinds for columns for which another one is meant. "category" fits every column,
            "continuous" all with an order: integers and times then keep their own kind, as they are modelled
            as continuous and rounded. "integer" fits floats that are whole numbers. A column with a single
            value is constant in any case.

    Returns:
        The kind of each column, in the table's order.

    Raises:
        TableError: the table, a column or a kind in ``columns`` cannot be used.
    """
    check_table(frame)
    chosen = dict(columns or {})
    for name in chosen:
        if name not in frame.columns:
            raise TableError(f"columns names {name!r}, {no_column(names_of(frame), name)}")
    return {name: _kind_of(frame[name], chosen.get(name)) for name in names_of(frame)}


def check_table(frame: object, min_rows: int = 2) -> None:
    """Refuse what is no table that can be modelled.

    Raises:
        TableError: it is no pandas frame, has duplicate or other names than str and int, or too few rows.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TableError(
            f"the table is a {type(frame).__name__}, expected a pandas.DataFrame; convert it, for example "
            "with fastgan.tabular.frames.to_pandas"
        )
    names = names_of(frame)
    for name in names:
        if not is_name(name):
            raise TableError(f"column {shown(name)}: expected a name that is a str or an int; rename it")
    check_unique(names)
    if not names:
        raise TableError("the table has no columns; add some")
    if len(frame) < min_rows:
        raise TableError(f"the table has {len(frame)} rows, expected at least {min_rows}; add rows")


def check_unique(names: Sequence[object]) -> None:
    """Refuse names of which two are the same.

    Raises:
        TableError: the message has the name.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(f"column {twice!r}: occurs {names.count(twice)} times; rename or drop all but one")


def names_of(frame: pd.DataFrame) -> list[Any]:
    """The columns' names, with Python's integers for NumPy's."""
    return [_plain(name) for name in frame.columns]


def name_of_columns(frame: pd.DataFrame) -> str | int | None:
    """The name of the columns' index; None if it has none, or one that is neither text nor an integer."""
    name = _plain(frame.columns.name)
    return name if is_name(name) else None


def is_name(name: object) -> TypeGuard[str | int]:
    """Whether a column may have that name."""
    return isinstance(name, str) or is_whole(name)


def no_column(names: Sequence[Any], name: object) -> str:
    """The end of a message about a name that is none of the columns'."""
    known = {str(other): other for other in names}
    if close := get_close_matches(str(name), known, n=1):
        return f"which is no column; did you mean {known[close[0]]!r}?"
    others = " and others" if len(known) > 10 else ""
    return f"which is no column; there are {', '.join(list(known)[:10])}{others}"


def _plain(name: Any) -> Any:
    return name.item() if isinstance(name, np.integer) else name


def _kind_of(series: pd.Series[Any], chosen: str | None) -> Kind:
    storage = Storage.of(series)
    raw = storage.read(series)
    check_finite(series.name, raw)
    if chosen is not None and chosen not in KINDS:
        raise TableError(f"columns[{series.name!r}] is {chosen!r}, expected one of {', '.join(KINDS[:-1])}")
    if _is_constant(raw):
        return "constant"
    if chosen is not None:
        return _checked(series, storage, raw, chosen)
    if storage.family == "integer" and _are_few(raw):
        return "category"
    return _FOUND[storage.family]


def check_finite(name: object, raw: Raw) -> None:
    """Refuse infinite values.

    Raises:
        TableError: one is infinite; the message names its row.
    """
    if raw.values.dtype == np.float64:
        infinite = np.isinf(raw.values) & ~raw.missing
    elif raw.mixed:
        infinite = np.array([isinstance(value, float) and abs(value) == np.inf for value in raw.values])
    else:
        return
    if infinite.any():
        row = int(infinite.argmax())
        raise TableError(
            f"column {name!r}: row {row} is {raw.values[row]}; replace infinite values, for example by "
            "missing ones"
        )


def _is_constant(raw: Raw) -> bool:
    if raw.missing.any():
        return bool(raw.missing.all())
    if raw.mixed:
        return len({(type(value), value) for value in raw.values}) == 1
    return bool((raw.values == raw.values[0]).all())


def _are_few(raw: Raw) -> bool:
    values = raw.values[~raw.missing]
    # a column of many values shows it in a few rows
    return all(len(pd.unique(part)) <= _FEW for part in (values[: 100 * _FEW], values))


def _checked(series: pd.Series[Any], storage: Storage, raw: Raw, chosen: str) -> Kind:
    found = _FOUND[storage.family]
    if chosen == "category":
        return "category"
    if found not in DISCRETE and chosen in ("continuous", found):
        return found
    if chosen == found:
        return found
    if chosen == "integer" and storage.family == "float" and _are_whole(raw):
        return "integer"
    remedy = _REMEDIES.get(chosen, f"expected {found!r} or 'category'")
    if chosen == "integer" and storage.family == "float":
        remedy = "round it first"
    raise TableError(
        f"columns[{series.name!r}] is {chosen!r}, which does not fit a column of {series.dtype}; {remedy}"
    )


def check_kind(kind: str, storage: Storage) -> None:
    """Refuse a kind that no column of that storage has.

    Raises:
        ValueError: it has another.
    """
    fit = {_FOUND[storage.family], "category", "constant"}
    fit |= {"integer"} if storage.family == "float" else set()
    expect(kind in fit, f"kind {' or '.join(sorted(fit))} of family {storage.family}, not {kind!r}")


def _are_whole(raw: Raw) -> bool:
    present = raw.values[~raw.missing]
    return bool((np.rint(present) == present).all())
