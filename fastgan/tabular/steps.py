"""Numbers of columns whose values are multiples of a step, and of others: float64 for a mixture to model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastgan.tabular.dtypes import Json, expect
from fastgan.tabular.storage import Storage
from fastgan.training.setting import is_real, is_whole

_MAX_POWER = 22  # 10**22 is the largest power of ten that is a float64
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_PERIODS = (86_400 * 10**9, 3600 * 10**9, 60 * 10**9, 10**9, 10**6, 10**3, 1)  # day to nanosecond


@dataclass(frozen=True)
class Steps:
    """Values that are minimum, minimum + unit, minimum + 2 unit, ... as steps from their median.

    Values within 2**50 steps of the median come back exactly, as do the least and the greatest one; values
    farther away, within 2**-50 of the distance. 2**50 microseconds are 35 years.

    Attributes:
        minimum: the column's least value, times 10 ** decimals.
        unit: the size of a step, times 10 ** decimals.
        median: steps from the least value to the median.
        count: steps from the least to the greatest value.
        decimals: of a column of floats; 0 for all others.
    """

    minimum: int
    unit: int
    median: int
    count: int
    decimals: int

    @classmethod
    def find(cls, values: NDArray[Any], storage: Storage) -> Steps | None:
        """The steps of a column's values ``[N]``, none of which is missing.

        The step is the largest power of ten that divides all differences, for times the largest unit, from
        day to nanosecond. Floats have steps if they have decimals and at most 15 significant digits (6 in
        float32, 3 in float16).

        Returns:
            None for other floats.
        """
        decimals = 0
        if storage.family == "float":
            found = _decimals(values, storage.precision)
            if found is None:
                return None
            decimals = found
            values = np.rint(values * 10.0**decimals).astype(np.int64)
        minimum, maximum = int(values.min()), int(values.max())
        differences = _differences(values, minimum)
        divisor = int(np.gcd.reduce(differences))
        unit = max(unit for unit in _units(storage) if divisor % unit == 0) if divisor else 1
        middle = len(values) // 2
        median = int(np.partition(differences, middle)[middle]) // unit
        return cls(minimum, unit, median, (maximum - minimum) // unit, decimals)

    def to_numbers(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Steps from the median, of values of the column; values out of its range are clipped."""
        if values.dtype == np.float64:
            bound = 2.0**62 / 10.0**self.decimals
            values = np.rint(np.clip(values, -bound, bound) * 10.0**self.decimals).astype(np.int64)
        values = np.clip(values, self.minimum, self.minimum + self.count * self.unit)
        steps = _differences(values, self.minimum) // np.uint64(self.unit)
        median = np.uint64(self.median)
        below, above = (median - steps).astype(np.float64), (steps - median).astype(np.float64)
        numbers: NDArray[np.float64] = np.where(steps < median, -below, above)
        return numbers

    def to_values(self, numbers: NDArray[np.float64], raw_dtype: np.dtype[Any]) -> NDArray[Any]:
        """The values after so many steps, rounded; steps out of the column's range are clipped."""
        median = np.uint64(self.median)
        # as floats, the ends of the range are rounded, and may be above what uint64 holds
        first, last = numbers <= -float(self.median), numbers >= float(self.count - self.median)
        distances = np.abs(np.rint(np.where(first | last, 0, numbers))).astype(np.uint64)
        steps = np.where(numbers < 0, median - distances, median + distances)
        steps[first], steps[last] = 0, self.count
        values: NDArray[Any] = steps * np.uint64(self.unit) + np.uint64(self.minimum % 2**64)
        return (
            values.view(np.int64) / 10.0**self.decimals if raw_dtype == np.float64 else values.view(raw_dtype)
        )

    def to_json(self) -> Json:
        """These steps as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Range:
    """Floats as they are, in a range.

    Attributes:
        low: the column's least value.
        high: its greatest value.
    """

    low: float
    high: float

    def to_numbers(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The values, clipped to the range."""
        numbers: NDArray[np.float64] = np.clip(values, self.low, self.high)
        return numbers

    def to_values(self, numbers: NDArray[np.float64], raw_dtype: np.dtype[Any]) -> NDArray[Any]:
        """The numbers, clipped to the range."""
        values: NDArray[Any] = np.clip(numbers, self.low, self.high).astype(raw_dtype)
        return values

    def to_json(self) -> Json:
        """This range as JSON."""
        return asdict(self)


def scale_of(values: NDArray[Any], storage: Storage) -> Steps | Range:
    """Steps if the values ``[N]``, none of which is missing, have any; else their range."""
    return Steps.find(values, storage) or Range(float(values.min()), float(values.max()))


def scale_from_json(json: Json) -> Steps | Range:
    """What ``to_json`` of either described; raises ValueError for others."""
    expect(all(map(is_real, json.values())), "numbers in scale")
    if "unit" not in json:
        range_ = Range(**json)
        expect(-np.inf < range_.low <= range_.high < np.inf, "scale.low up to scale.high")
        return range_
    expect(all(map(is_whole, json.values())), "whole numbers in scale")
    steps = Steps(**json)
    expect(steps.minimum >= -(2**63) and steps.minimum + steps.count * steps.unit < 2**64, "scale in 64 bits")
    expect(
        steps.unit > 0 and 0 <= steps.median <= steps.count, "scale.unit from 1 on, scale.median up to count"
    )
    expect(0 <= steps.decimals <= _MAX_POWER, f"scale.decimals from 0 to {_MAX_POWER}")
    return steps


def _differences(values: NDArray[Any], minimum: int) -> NDArray[np.uint64]:
    """values - minimum, which int64 may not hold: modulo 2**64 it is exact."""
    differences: NDArray[np.uint64] = values.view(np.uint64) - np.uint64(minimum % 2**64)
    return differences


def _units(storage: Storage) -> list[int]:
    tick = _tick(storage)
    if tick is None:
        return [10**power for power in range(20)]
    return [period // tick for period in _PERIODS if period % tick == 0]


def _tick(storage: Storage) -> int | None:
    """Nanoseconds of 1 in the raw values of times, None for numbers."""
    if storage.family in ("integer", "float"):
        return None
    dtype: Any = storage.dtype
    if isinstance(dtype, pd.ArrowDtype):
        kind: Any = dtype.pyarrow_dtype
        return _NANOSECONDS[kind.unit] if hasattr(kind, "unit") else _date_tick(str(kind))
    if storage.family == "date":
        return _PERIODS[0]
    if storage.family == "time":
        return _NANOSECONDS["us"]
    return _NANOSECONDS[dtype.unit if hasattr(dtype, "unit") else np.datetime_data(dtype)[0]]


def _date_tick(kind: str) -> int:
    return _NANOSECONDS["ms"] if kind == "date64[ms]" else _PERIODS[0]


def _decimals(values: NDArray[np.float64], precision: np.dtype[Any]) -> int | None:
    """How many decimals the values have, None if more than their dtype keeps."""
    digits = np.finfo(precision).precision
    for part in (values[:1000], values):  # most columns that have none show it in a few rows
        found = next(
            (power for power in range(_MAX_POWER + 1) if _have(part, power, digits, precision)), None
        )
        if found is None:
            return None
    return found


def _have(values: NDArray[np.float64], decimals: int, digits: int, precision: np.dtype[Any]) -> bool:
    with np.errstate(over="ignore"):
        whole = np.rint(values * 10.0**decimals)
        if np.abs(whole).max() >= 10.0**digits:
            return False
        return bool(((whole / 10.0**decimals).astype(precision) == values.astype(precision)).all())
