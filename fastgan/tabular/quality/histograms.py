"""Distributions of a column in two tables, for pictures."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from fastgan.tabular.quality.encoding import MISSING, Column, Floats

_BARS = 30
_CATEGORIES = 10
_OUTLIERS = 0.005  # share of the values outside the bars, at each end
_LARGEST = 1e306  # the range of a picture's axis, with margins, is a float64
_DAY = 86_400
_SECONDS = {"D": _DAY, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Histogram:
    """Shares of the rows of two tables in the same bars.

    Attributes:
        name: name of the column.
        real: float64 ``[bars]``. The shares of a continuous column add up to less than 1 if values are
            missing or outside the bars.
        synthetic: float64 ``[bars]``.
        edges: float64 ``[bars + 1]`` of a continuous column, in ``unit``.
        labels: names of the bars of a discrete column.
        unit: "date" for days since 1970, "hours" or "days" for other times; empty for numbers.
    """

    name: Hashable
    real: Floats
    synthetic: Floats
    edges: Floats | None = None
    labels: tuple[str, ...] = ()
    unit: str = ""


def histogram(column: Column) -> Histogram:
    """The distributions of a column whose first two tables are the real and the synthetic one."""
    return _of_numbers(column) if column.is_continuous else _of_categories(column)


def _of_numbers(column: Column) -> Histogram:
    values = [np.clip(each[~np.isnan(each)], -_LARGEST, _LARGEST) for each in column.values[:2]]
    edges = _edges(np.concatenate(values), is_whole=column.kind == "integer")
    real, synthetic = (
        np.histogram(present, edges)[0] / len(all_rows)
        for present, all_rows in zip(values, column.values, strict=False)
    )
    edges, unit = _in_unit(column, edges)
    return Histogram(column.name, real, synthetic, edges, unit=unit)


def _edges(values: Floats, is_whole: bool) -> Floats:
    if len(values) == 0:
        return np.array([0.0, 1.0])
    low, high = np.quantile(values, (_OUTLIERS, 1 - _OUTLIERS))
    if low == high:
        margin = 0.5 * abs(low) if low and not is_whole else 0.5
        return np.array([low - margin, low + margin])
    if is_whole:
        low, width = np.floor(low), np.ceil((high - low + 1) / _BARS)  # each bar has as many whole numbers
        return np.arange(low, high + width + 1, width) - 0.5
    edges: Floats = np.linspace(low, high, _BARS + 1)
    return edges


def _in_unit(column: Column, edges: Floats) -> tuple[Floats, str]:
    if not column.unit:
        return edges + column.origin, ""
    seconds = (edges + column.origin) * _SECONDS[column.unit]
    if column.kind == "time":
        return seconds / 3_600, "hours"
    return seconds / _DAY, "days" if column.kind == "timedelta" else "date"


def _of_categories(column: Column) -> Histogram:
    counts = [np.bincount(codes, minlength=len(column.levels) + 1) for codes in column.codes[:2]]
    shares = [each / each.sum() for each in counts]
    order = np.argsort(-shares[0][1:], kind="stable") + 1
    bars = [[code] for code in order[:_CATEGORIES]]
    labels = [str(column.levels[code - 1]) for code in order[:_CATEGORIES]]
    if len(order) > _CATEGORIES:
        bars.append(list(order[_CATEGORIES:]))
        labels.append(f"{len(order) - _CATEGORIES:,} others")
    if any(each[MISSING] for each in shares):
        bars.append([MISSING])
        labels.append("missing")
    real, synthetic = (np.array([each[bar].sum() for bar in bars]) for each in shares)
    return Histogram(column.name, real, synthetic, labels=tuple(labels))
