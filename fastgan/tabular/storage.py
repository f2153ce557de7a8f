"""How a column stores its values: pandas on one side, plain NumPy arrays on the other."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fastgan.tabular.dtypes import Json, dtype_from_json, dtype_to_json, expect
from fastgan.tabular.families import Family, family_of, is_object, missing_in

_ABSENT: dict[str, Any] = {"None": None, "nan": np.nan, "NA": pd.NA, "NaT": pd.NaT}
_OF_OBJECTS: tuple[Family, ...] = ("date", "time", "boolean", "objects")
_SCALARS: dict[str, tuple[type, ...]] = {"f": (float, int), "b": (bool,), "O": (str, int, float, bool)}
_PLAIN = {"float": np.float64, "boolean": np.bool_, "string": np.object_, "objects": np.object_}


class Raw(NamedTuple):
    """A column's values.

    Attributes:
        values: ``[rows]``: int64 (uint64 for a column of that dtype) of integers, of times in the dtype's
            unit, of days of dates, of microseconds of times of the day (of the unit, if Arrow's) and of
            positions in a pandas dtype category; float64 of floats; bool; else str, int, float and bool as
            objects. Where a value is missing it is arbitrary.
        missing: ``[rows]``, bool.
        mixed: whether values are objects of several types, of which 1, 1.0 and True are equal.
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_]
    mixed: bool = False


@dataclass(frozen=True)
class Storage:
    """A column's dtype and what it holds.

    Attributes:
        family: how its values are read.
        dtype: the pandas dtype.
        absent: what marks a missing value in a column of objects: None, nan, NA or NaT.
    """

    family: Family
    dtype: Any
    absent: str = "None"

    @classmethod
    def of(cls, series: pd.Series[Any]) -> Storage:
        """The storage of a column.

        Raises:
            TableError: the column's dtype or objects cannot be modelled.
        """
        family = family_of(series)
        absent = "None"
        if is_object(series.dtype) and (missing := series.isna()).any():
            first = series[missing].iloc[0]
            absent = next((name for name, value in _ABSENT.items() if value is first), "nan")
        return cls(family, series.dtype, absent)

    @property
    def precision(self) -> np.dtype[Any]:
        """The NumPy dtype of a column's floats."""
        dtype: np.dtype[Any] = getattr(self.dtype, "numpy_dtype", self.dtype)
        return dtype

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """The dtype of :class:`Raw`'s values."""
        if self.family == "integer":
            return np.dtype(np.uint64 if self.precision == np.uint64 else np.int64)
        return np.dtype(_PLAIN.get(self.family, np.int64))

    def read(self, series: pd.Series[Any]) -> Raw:
        """The values of a column of this storage."""
        missing = missing_in(series)
        if isinstance(self.dtype, pd.ArrowDtype):
            return Raw(self._read_arrow(series), missing, self.family == "objects")
        if self.family == "coded":
            return Raw(series.cat.codes.to_numpy(dtype=np.int64), missing)
        if self.family in ("datetime", "timedelta"):
            stamps = series.dt.tz_convert(None) if getattr(self.dtype, "tz", None) else series
            return Raw(stamps.to_numpy().view(np.int64), missing)
        if self.family in ("integer", "float", "boolean"):
            return Raw(series.to_numpy(dtype=self.raw_dtype, na_value=self.raw_dtype.type(0)), missing)
        values = self._read_objects(series.to_numpy(dtype=object), missing)
        return Raw(values, missing, self.family == "objects")

    def build(self, values: NDArray[Any], missing: NDArray[np.bool_]) -> pd.Series[Any]:
        """The column with such values: the inverse of :meth:`read`."""
        if isinstance(self.dtype, pd.ArrowDtype):
            return self._build_arrow(values, missing)
        if self.family == "coded":
            codes = np.where(missing, -1, values)
            return pd.Series(pd.Categorical.from_codes(codes, dtype=self.dtype))
        if self.family in ("datetime", "timedelta"):
            return self._build_times(values, missing)
        if not is_object(self.dtype) and self.family in ("integer", "float", "boolean"):
            return self._build_numbers(values, missing)
        return pd.Series(self._build_objects(values, missing), dtype=self.dtype)

    def to_json(self) -> Json:
        """This storage as JSON."""
        return {"family": self.family, "dtype": _dtype_to_json(self.dtype), "absent": self.absent}

    @classmethod
    def from_json(cls, json: Json) -> Storage:
        """The storage that :meth:`to_json` described; raises ValueError, TypeError or KeyError for others."""
        family, dtype, absent = json["family"], _dtype_from_json(json["dtype"]), json["absent"]
        expect(family in get_args(Family), f"family as one of {', '.join(get_args(Family))}, not {family!r}")
        fit = _OF_OBJECTS if is_object(dtype) else (family_of(pd.Series(dtype=dtype)),)
        expect(family in fit, f"family {' or '.join(fit)} of {dtype}, not {family!r}")
        expect(absent in _ABSENT, f"absent as one of {', '.join(_ABSENT)}, not {absent!r}")
        return cls(family, dtype, absent)

    def values_from_json(self, json: Json) -> NDArray[Any]:
        """Raw values that ``tolist`` described; raises ValueError, TypeError or OverflowError for others."""
        scalars = _SCALARS.get(self.raw_dtype.kind, (int,))
        if self.family == "string":
            scalars = (str,)
        bad = [value for value in json if type(value) not in scalars]
        expect(not bad, f"values of family {self.family}, not {bad[:1]}")
        if self.family == "coded":
            size = len(self.dtype.categories)
            expect(all(0 <= value < size for value in json), f"positions in {size} categories, not {json}")
        return as_objects(json).astype(self.raw_dtype)

    def _read_objects(self, values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
        if self.family == "date":
            days = np.where(missing, as_objects([None]), values)
            values = days.astype("datetime64[D]").view(np.int64)
        if self.family == "time":
            pairs = zip(values, missing, strict=True)
            return np.array([0 if absent else _microseconds(time) for time, absent in pairs], dtype=np.int64)
        if self.family == "boolean":
            return np.where(missing, False, values).astype(bool)
        return values

    def _build_objects(self, values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
        objects: NDArray[Any]
        if self.family == "date":
            objects = values.astype(np.int64).view("datetime64[D]").astype(object)
        elif self.family == "time":
            objects = as_objects([_time(microseconds) for microseconds in values.tolist()])
        else:
            objects = values.astype(object)
        objects[missing] = _ABSENT[self.absent] if is_object(self.dtype) else None
        return objects

    def _build_numbers(self, values: NDArray[Any], missing: NDArray[np.bool_]) -> pd.Series[Any]:
        numbers = values.astype(self.precision)
        if isinstance(self.dtype, np.dtype):
            if self.family == "float":
                numbers[missing] = np.nan
            return pd.Series(numbers)
        column = pd.Series(numbers).astype(self.dtype)
        column[missing] = pd.NA
        return column

    def _build_times(self, values: NDArray[Any], missing: NDArray[np.bool_]) -> pd.Series[Any]:
        unit = np.datetime_data(self.dtype)[0] if isinstance(self.dtype, np.dtype) else self.dtype.unit
        letter = "M8" if self.family == "datetime" else "m8"
        stamps = np.where(missing, np.iinfo(np.int64).min, values).view(f"{letter}[{unit}]")
        column = pd.Series(stamps)
        if zone := getattr(self.dtype, "tz", None):
            return column.dt.tz_localize("UTC").dt.tz_convert(zone)
        return column

    def _read_arrow(self, series: pd.Series[Any]) -> NDArray[Any]:
        array: Any = pa.array(series)
        kind: Any = array.type
        if self.family in ("string", "objects"):
            return as_objects(array.to_pylist())
        if kind in (pa.date32(), pa.time32("s"), pa.time32("ms")):
            array = array.cast(pa.int32())
        zero = self.raw_dtype.type(0).item()
        return np.asarray(array.cast(pa.from_numpy_dtype(self.raw_dtype)).fill_null(zero))

    def _build_arrow(self, values: NDArray[Any], missing: NDArray[np.bool_]) -> pd.Series[Any]:
        kind: Any = self.dtype.pyarrow_dtype
        if self.family == "objects":
            array = pa.array(values, type=kind.value_type, mask=missing).dictionary_encode().cast(kind)
        elif kind in (pa.date32(), pa.time32("s"), pa.time32("ms")):
            array = pa.array(values.astype(np.int32), mask=missing).cast(kind)
        else:
            array = pa.array(values, mask=missing).cast(kind)
        return pd.Series(pd.arrays.ArrowExtensionArray(array))


def as_objects(values: Sequence[Any]) -> NDArray[Any]:
    """An array of objects ``[len(values)]``."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _microseconds(time: datetime.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 1_000_000 + time.microsecond


def _time(microseconds: int) -> datetime.time:
    return (datetime.datetime.min + datetime.timedelta(microseconds=microseconds)).time()


def _dtype_to_json(dtype: Any) -> Json:
    if not isinstance(dtype, pd.CategoricalDtype):
        return dtype_to_json(dtype)
    return {"categories": _index_to_json(dtype.categories), "ordered": bool(dtype.ordered)}


def _dtype_from_json(json: Json) -> Any:
    if isinstance(json, str) or "categories" not in json:
        return dtype_from_json(json)
    return pd.CategoricalDtype(_index_from_json(json["categories"]), ordered=json["ordered"])


def _index_to_json(index: pd.Index[Any]) -> Json:
    if isinstance(index, pd.IntervalIndex):
        return {
            "left": _index_to_json(index.left),
            "right": _index_to_json(index.right),
            "closed": index.closed,
        }
    series = pd.Series(index)
    storage = Storage.of(series)
    return {"storage": storage.to_json(), "values": storage.read(series).values.tolist()}


def _index_from_json(json: Json) -> pd.Index[Any]:
    if "closed" in json:
        left, right = (_index_from_json(json[side]) for side in ("left", "right"))
        return pd.IntervalIndex.from_arrays(left, right, closed=json["closed"])
    storage = Storage.from_json(json["storage"])
    values = storage.values_from_json(json["values"])
    column = storage.build(values, np.zeros(len(values), dtype=bool))
    return pd.Index(column, dtype=column.dtype)
