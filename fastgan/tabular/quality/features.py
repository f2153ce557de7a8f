"""Columns as features of scikit-learn's models."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning

from fastgan.tabular.quality.encoding import MISSING, Column, Floats

ROWS = 20_000
"""Rows of each table that models see: a larger table is sampled."""

_EXPONENT = 400  # sums of squares of numbers up to 2**400 do not overflow, nor underflow
_CATEGORIES = 500  # of a column that have a linear feature of their own
_BOOSTED_CATEGORIES = 255  # of a column, the most that scikit-learn's boosting takes


def sampled(columns: Sequence[Column], seed: int) -> list[Column]:
    """The columns with at most :data:`ROWS` rows of each table, in order, for models."""
    rng = np.random.default_rng(seed)
    chosen = []
    for codes in columns[0].codes:
        rows = np.arange(len(codes))
        chosen.append(np.sort(rng.choice(rows, ROWS, replace=False)) if len(rows) > ROWS else rows)
    return [moderate(column.rows(chosen)) for column in columns]


def moderate(column: Column) -> Column:
    """The column times a power of two, if squares of its numbers would overflow or underflow.

    A power of two rounds nothing, and neither trees nor scaled features depend on it.
    """
    largest = max((float(np.nanmax(np.abs(each), initial=0)) for each in column.values), default=0.0)
    exponent = int(np.frexp(largest)[1])
    if abs(exponent) <= _EXPONENT:
        return column
    return replace(column, values=tuple(np.ldexp(each, -exponent) for each in column.values))


def linear_features(columns: Sequence[Column], fit: int, tables: Sequence[int]) -> list[Floats]:
    """Features for a linear model, as sdmetrics makes them.

    Numbers, also those of categories, with the mean of table ``fit`` where missing; booleans as 0 and 1 with
    its most frequent value; and a feature for each of its other categories, a missing value among them.
    Categories that it lacks have no feature.

    Args:
        columns: columns of all tables.
        fit: number of the table from which means and categories are taken.
        tables: numbers of the tables to convert.

    Returns:
        float64 ``[rows, features]`` for each table.
    """
    numbers = [_filled(each, fit, tables) for each in columns if each.is_continuous or each.is_numeric]
    others = [
        _indicators(each, fit, tables) for each in columns if not (each.is_continuous or each.is_numeric)
    ]
    return [np.concatenate(parts, axis=1) for parts in zip(*numbers, *others, strict=True)]


def _filled(column: Column, fit: int, tables: Sequence[int]) -> list[Floats]:
    values = column.values or [
        np.array([np.nan, *column.levels], np.float64)[codes] for codes in column.codes
    ]
    present = values[fit][~np.isnan(values[fit])]
    filling = present.mean() if len(present) else 0.0
    if column.kind == "boolean":
        filling = float(filling > 0.5)
    return [np.where(np.isnan(values[table]), filling, values[table])[:, None] for table in tables]


def _indicators(column: Column, fit: int, tables: Sequence[int]) -> list[Floats]:
    counts = np.bincount(column.codes[fit])
    seen = np.argsort(-counts, kind="stable")[: min(_CATEGORIES, np.count_nonzero(counts))]
    return [(column.codes[table][:, None] == seen).astype(np.float64) for table in tables]


def boosted_features(columns: Sequence[Column]) -> list[Floats]:
    """Features for gradient boosting: numbers, and categories by their frequency, NaN where missing.

    Returns:
        float64 ``[rows, columns]`` for each table.
    """
    return [
        np.stack(parts, axis=1)
        for parts in zip(*(column.values or _ranks(column) for column in columns), strict=True)
    ]


def _ranks(column: Column) -> tuple[Floats, ...]:
    """Places of a column's categories by their frequency in all tables; the rarest ones share one."""
    counts = np.bincount(np.concatenate(column.codes), minlength=len(column.levels) + 1)
    counts[MISSING] = counts.max() + 1
    places = np.empty(len(counts))
    places[np.argsort(-counts, kind="stable")] = np.arange(len(counts)) - 1.0
    places = np.minimum(places, _BOOSTED_CATEGORIES - 1)
    places[MISSING] = np.nan
    return tuple(places[codes] for codes in column.codes)


def boosting(
    columns: Sequence[Column], seed: int, *, regression: bool = False
) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    """scikit-learn's gradient boosting for :func:`boosted_features`."""
    model = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    discrete: NDArray[np.bool_] = np.array([not column.is_continuous for column in columns])
    # early stopping holds rows out by class, and fails if a class has one row
    return model(categorical_features=discrete, early_stopping=False, random_state=seed)


def fitted(model: Any, x: Floats, y: NDArray[Any]) -> Any:
    """The model after its ``fit``, without warnings of its number of iterations.

    Columns without a value are 0: they tell nothing, and boosting fails if they are numbers.
    """
    x = np.where(np.isnan(x).all(axis=0), 0.0, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
