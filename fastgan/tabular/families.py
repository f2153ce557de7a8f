"""Families of columns: which dtypes, or objects, are read in the same way."""

from __future__ import annotations

import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fastgan.tabular.dtypes import dtype_from_json, dtype_to_json
from fastgan.tabular.errors import TableError, shown

Family = Literal[
    "integer", "float", "boolean", "datetime", "timedelta", "date", "time", "string", "coded", "objects"
]
"""``coded`` is the dtype category of pandas; ``objects`` are Python's str, int, float and bool."""

_OF_KIND: dict[str, Family] = {
    "i": "integer",
    "u": "integer",
    "f": "float",
    "b": "boolean",
    "M": "datetime",
    "m": "timedelta",
}
_SCALARS = (str, int, float, bool, np.integer, np.floating, np.bool_)
_REMEDIES = {
    "Decimal": "convert the column to floats",
    "Period": "convert them, for example with .astype('str')",
    "datetime": "convert the column with pandas.to_datetime",
    "Timestamp": "convert the column with pandas.to_datetime",
    "timedelta": "convert the column with pandas.to_timedelta",
    "Timedelta": "convert the column with pandas.to_timedelta",
    "date": "keep dates and other values in columns of their own",
    "time": "keep times and other values in columns of their own",
    "bytes": "decode them to strings",
    "list": "give each element a column",
    "tuple": "give each element a column",
    "dict": "give each key a column",
}


def family_of(series: pd.Series[Any], place: str = "row") -> Family:
    """The family of a column.

    Args:
        series: the column, or the categories of one.
        place: what messages call the place of a value.

    Raises:
        TableError: its dtype, or one of its objects or categories, is of none.
    """
    dtype: Any = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        _check_categories(series.name, dtype.categories)
        return "coded"
    if isinstance(dtype, pd.StringDtype):
        return "string"
    if isinstance(dtype, pd.ArrowDtype):
        return _family_of_arrow(series.name, dtype)
    if is_object(dtype):
        return _family_of_objects(series, place)
    if dtype.kind not in _OF_KIND or isinstance(dtype, (pd.SparseDtype, pd.PeriodDtype, pd.IntervalDtype)):
        raise _unfit(series.name, dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        _check_zone(series.name, dtype)
    return _OF_KIND[dtype.kind]


def is_object(dtype: Any) -> bool:
    """Whether a column of that dtype holds Python objects."""
    return isinstance(dtype, np.dtype) and dtype.hasobject


def missing_in(series: pd.Series[Any]) -> NDArray[np.bool_]:
    """Where values are missing. A nan is, also where pandas tells it from NA."""
    missing: NDArray[np.bool_] = series.isna().to_numpy(dtype=bool)
    if getattr(series.dtype, "kind", "O") == "f" and not isinstance(series.dtype, np.dtype):
        missing = missing | np.isnan(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return missing


def _family_of_arrow(name: object, dtype: pd.ArrowDtype) -> Family:
    kind: Any = dtype.pyarrow_dtype
    if pa.types.is_dictionary(kind):
        return "objects"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_time(kind):
        return "time"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if dtype.kind not in _OF_KIND:
        raise _unfit(name, dtype)
    return _OF_KIND[dtype.kind]


def _family_of_objects(series: pd.Series[Any], place: str) -> Family:
    present = series[~series.isna()]
    types = set(map(type, present))
    if types == {datetime.date}:
        return "date"
    if types == {datetime.time}:
        _check_naive(series.name, present)
        return "time"
    if types and types <= {bool, np.bool_}:
        return "boolean"
    if unfit := [kind for kind in types if kind not in _SCALARS and not issubclass(kind, _SCALARS)]:
        row, value = next((row, value) for row, value in enumerate(series) if type(value) in unfit)
        kind = type(value).__name__
        raise TableError(
            f"column {series.name!r}: {place} {row} is {shown(value)}, of type {kind}, which is no category; "
            f"{_REMEDIES.get(kind, 'convert the column to strings or numbers')}"
        )
    return "objects"


def _check_categories(name: object, categories: pd.Index[Any]) -> None:
    """Refuse categories of which no column can consist, apart from intervals of what can."""
    values = categories.left if isinstance(categories, pd.IntervalIndex) else categories
    if isinstance(values, pd.PeriodIndex):
        values = values.astype(object)
    family_of(pd.Series(values, name=name), place="category")


def _check_naive(name: object, times: pd.Series[Any]) -> None:
    if any(time.tzinfo is not None for time in times):
        raise TableError(f"column {name!r}: has times with time zones; remove those from the times")


def _check_zone(name: object, dtype: pd.DatetimeTZDtype) -> None:
    """Refuse a time zone that its name does not restore, as one of dateutil."""
    try:
        named = dtype_from_json(dtype_to_json(dtype)) == dtype
    except TypeError:
        named = False
    if not named:
        raise TableError(f"column {name!r}: the time zone of {dtype} has no name; use .dt.tz_convert('UTC')")


def _unfit(name: object, dtype: object) -> TableError:
    remedies = {
        "period": ".dt.to_timestamp()",
        "Sparse": ".sparse.to_dense()",
        "decimal": ".astype('float64')",
    }
    found = (remedy for start, remedy in remedies.items() if str(dtype).startswith(start))
    remedy = next(found, ".astype('str')")
    return TableError(f"column {name!r}: cannot model dtype {dtype}; convert it, for example with {remedy}")
