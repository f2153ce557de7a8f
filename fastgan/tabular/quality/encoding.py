"""The columns of several tables in numbers that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import time
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastgan.tabular.errors import TableError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MISSING = 0
"""Code of a missing value in a discrete column."""

BINS = 10
_EXACT = 2**53  # float64 holds all integers up to this one
_DISCRETE = ("boolean", "category")


@dataclass(frozen=True)
class Column:
    """A column of several tables, the same ones in the same order for all columns.

    Attributes:
        name: name of the column.
        kind: kind of its values, as in ``kinds``.
        codes: for each table int64 ``[rows]``. In a discrete column equal values of all tables have the same
            code, and missing ones :data:`MISSING`. In a continuous column, numbers of bins; see
            :func:`_binned`.
        values: for each table float64 ``[rows]``, NaN where missing; empty for a discrete column. Times are
            counted from ``origin`` in ``unit``.
        levels: values of a discrete column; ``levels[code - 1]`` has that code.
        is_numeric: whether the values of a discrete column are numbers or booleans in the first table.
        origin: what 0 in ``values`` stands for.
        unit: NumPy's code of the unit of times, such as "us"; empty for numbers.
    """

    name: Hashable
    kind: str
    codes: tuple[Codes, ...]
    values: tuple[Floats, ...] = ()
    levels: tuple[Any, ...] = ()
    is_numeric: bool = False
    origin: int = 0
    unit: str = ""

    @property
    def is_continuous(self) -> bool:
        return bool(self.values)

    def is_missing(self, table: int) -> NDArray[np.bool_]:
        """Which rows have no value, bool ``[rows]``."""
        missing: NDArray[np.bool_] = (
            np.isnan(self.values[table]) if self.is_continuous else self.codes[table] == MISSING
        )
        return missing

    def rows(self, chosen: Sequence[NDArray[np.intp]]) -> Column:
        """The column of tables with only the chosen rows of each table."""

        def of(parts: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
            return tuple(part[rows] for part, rows in zip(parts, chosen, strict=True)) if parts else ()

        return replace(self, codes=of(self.codes), values=of(self.values))


def encode(tables: Mapping[str, pd.DataFrame], kinds: Mapping[Hashable, str]) -> list[Column]:
    """Encode the columns of tables that have the same ones.

    Args:
        tables: tables by the names that errors call them. The first one decides whether a constant column is
            continuous.
        kinds: kind of each column.

    Raises:
        TableError: a table has a value of another kind, or an infinite one.
    """
    return [_column(name, kind, tables) for name, kind in kinds.items()]


def _column(name: Hashable, kind: str, tables: Mapping[str, pd.DataFrame]) -> Column:
    series = {table: frame[name] for table, frame in tables.items()}
    if kind == "constant":
        kind = _kind_of_constant(next(iter(series.values())))
    return _discrete(name, kind, series) if kind in _DISCRETE else _continuous(name, kind, series)


def _discrete(name: Hashable, kind: str, series: Mapping[str, pd.Series]) -> Column:
    codes, levels = pd.factorize(pd.concat([each.astype(object) for each in series.values()]))
    others = [] if kind == "category" else [level for level in levels if level not in (True, False)]
    if others:
        table = next(table for table, each in series.items() if others[0] in each.array)
        raise TableError(
            f"column {name!r} of the {table} table is not of kind 'boolean' (it has {others[0]!r}); "
            "convert it, or name its kind in kinds"
        )
    ends = np.cumsum([len(each) for each in series.values()])[:-1]
    of_table = tuple(np.split(codes.astype(np.int64) + 1, ends))
    first = next(iter(series.values())).dropna().infer_objects()
    is_numeric = bool(pd.api.types.is_numeric_dtype(first)) and all(
        isinstance(each, Number) for each in levels
    )
    return Column(name, kind, of_table, levels=tuple(levels), is_numeric=is_numeric)


def _continuous(name: Hashable, kind: str, series: Mapping[str, pd.Series]) -> Column:
    numbers = {}
    for table, each in series.items():
        try:
            numbers[table] = _READERS[kind](each)
        except (TypeError, ValueError, AttributeError) as error:
            raise TableError(
                f"column {name!r} of the {table} table is not of kind {kind!r} ({error}); "
                "convert it, or name its kind in kinds"
            ) from error
        infinite = np.flatnonzero(np.isinf(numbers[table].floats))
        if len(infinite):
            raise TableError(
                f"column {name!r} of the {table} table is infinite in row {infinite[0]}; remove the row"
            )
    unit, origin, values = _aligned(list(numbers.values()))
    codes = tuple(_binned(each.floats) for each in numbers.values())
    return Column(name, kind, codes, values, origin=origin, unit=unit)


@dataclass(frozen=True)
class _Numbers:
    """A column of one table as numbers.

    Attributes:
        floats: float64 ``[rows]``, NaN where missing.
        whole: int64 ``[rows]`` with the exact values, any number where missing; None for floats.
        unit: unit of times.
    """

    floats: Floats
    whole: Codes | None = None
    unit: str = ""


def _of_whole(whole: Codes, missing: NDArray[np.bool_], unit: str = "") -> _Numbers:
    return _Numbers(np.where(missing, np.nan, whole.astype(np.float64)), whole, unit)


def _of_numbers(series: pd.Series) -> _Numbers:
    missing = series.isna().to_numpy(dtype=bool)
    numbers = pd.to_numeric(series)
    if pd.api.types.is_integer_dtype(numbers) and not pd.api.types.is_unsigned_integer_dtype(numbers):
        filled = numbers.fillna(0) if missing.any() else numbers
        return _of_whole(filled.to_numpy(dtype=np.int64), missing)
    return _Numbers(numbers.to_numpy(dtype=np.float64, na_value=np.nan))


def _of_datetimes(series: pd.Series) -> _Numbers:
    times = pd.to_datetime(series, utc=True).dt.tz_localize(None)
    return _of_whole(times.to_numpy().astype(np.int64), times.isna().to_numpy(), times.dt.unit)


def _of_timedeltas(series: pd.Series) -> _Numbers:
    times = pd.to_timedelta(series)
    return _of_whole(times.to_numpy().astype(np.int64), times.isna().to_numpy(), times.dt.unit)


def _of_objects(number: Callable[[Any], int], unit: str) -> Callable[[pd.Series], _Numbers]:
    def read(series: pd.Series) -> _Numbers:
        missing = series.isna().to_numpy(dtype=bool)
        numbers = [0 if gone else number(value) for value, gone in zip(series, missing, strict=True)]
        return _of_whole(np.array(numbers, np.int64), missing, unit)

    return read


def _since_midnight(value: time) -> int:
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


_EPOCH = pd.Timestamp(0).toordinal()
_READERS: dict[str, Callable[[pd.Series], _Numbers]] = {
    "continuous": _of_numbers,
    "integer": _of_numbers,
    "datetime": _of_datetimes,
    "timedelta": _of_timedeltas,
    "date": _of_objects(lambda value: value.toordinal() - _EPOCH, "D"),
    "time": _of_objects(_since_midnight, "us"),
}
KINDS = (*_READERS, *_DISCRETE, "constant")


def _kind_of_constant(series: pd.Series) -> str:
    types = pd.api.types
    if types.is_datetime64_any_dtype(series):
        return "datetime"
    if types.is_timedelta64_dtype(series):
        return "timedelta"
    return "continuous" if types.is_numeric_dtype(series) and not types.is_bool_dtype(series) else "category"


def _aligned(numbers: list[_Numbers]) -> tuple[str, int, tuple[Floats, ...]]:
    """Unit, origin and values of one column in all tables: times of several units in the finest one.

    Nanoseconds since 1970 have no exact float64, so whole numbers of that size are counted from the smallest.
    """
    unit = max((each.unit for each in numbers), key=("", "D", "s", "ms", "us", "ns").index)
    shifted = []
    for each in numbers:
        if each.whole is None:
            return unit, 0, tuple(each.floats for each in numbers)
        whole = each.whole
        if each.unit != unit:
            whole = pd.Series(whole.view(f"m8[{each.unit}]")).dt.as_unit(unit).to_numpy().astype(np.int64)
        shifted.append(whole)
    present = [whole[~np.isnan(each.floats)] for whole, each in zip(shifted, numbers, strict=True)]
    ends = [int(end) for each in present if len(each) for end in (each.min(), each.max())]
    low, high = min(ends, default=0), max(ends, default=0)
    origin = low if max(-low, high) > _EXACT and high - low < 2**63 else 0
    values = [
        np.where(np.isnan(each.floats), np.nan, (whole - origin).astype(np.float64))
        for whole, each in zip(shifted, numbers, strict=True)
    ]
    return unit, origin, tuple(values)


def _binned(floats: Floats) -> Codes:
    """Numbers of equal bins between the smallest and the largest value, as in sdmetrics' QualityReport.

    Each table has its own bins, so that only the shape of a distribution counts. The largest value and
    missing ones have the number after the last bin's.
    """
    present = floats[~np.isnan(floats)] / 4  # the range of what is left is finite
    low, high = (present.min(), present.max()) if len(present) else (0.0, 0.0)
    margin = 0.0 if low < high else 0.5 / 4
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    return np.digitize(floats / 4, edges).astype(np.int64)
