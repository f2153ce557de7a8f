"""Similarity of how each pair of columns is related in two tables.

Figures are those of sdmetrics' CorrelationSimilarity, ContingencySimilarity and Column Pair Trends: 1 if the
pairs are related in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from fastgan.tabular.quality.encoding import Codes, Column, Floats

CORRELATED = 0.5
"""Absolute correlation in the real table above which sdmetrics' report counts a pair."""

ASSOCIATED = 0.3
"""Cramér's V in the real table above which sdmetrics' report counts a pair."""

_DENSE = 4  # cells of a contingency table for each row, above which only cells that occur are counted


def correlation(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the rows where no value is missing.

    Args:
        x: float64 ``[N]``, NaN where missing.
        y: float64 ``[N]``, NaN where missing.

    Returns:
        From -1 to 1; NaN if a column has one value only.
    """
    both = ~(np.isnan(x) | np.isnan(y))
    return _product(_unit(x[both]), _unit(y[both]))


def _product(x: Floats, y: Floats) -> float:
    return float(np.clip(x @ y, -1.0, 1.0))


def _unit(values: Floats) -> Floats:
    """Values minus their mean, divided by their norm; NaN if none differ."""
    if len(values) == 0 or values.min() == values.max():
        return np.array([np.nan]) if len(values) == 0 else np.full_like(values, np.nan)
    values = values / np.abs(values).max()  # neither 1e200 nor 1e-200 has a square
    centred = values - values.mean()
    centred /= np.abs(centred).max()
    unit: Floats = centred / np.linalg.norm(centred)
    return unit


def contingency_similarity(
    real: tuple[Codes, Codes], synthetic: tuple[Codes, Codes]
) -> tuple[float, float, float]:
    """Compare the contingency tables of two discrete columns.

    Args:
        real: int64 codes ``[N]`` of both columns.
        synthetic: int64 codes ``[M]`` of both columns.

    Returns:
        1 minus the total variation distance of the tables of shares; Cramér's V of the real table, and of the
        synthetic one, NaN if a column has one value only.
    """
    width = 1 + max(int(real[1].max()), int(synthetic[1].max()))
    size = width * (1 + max(int(real[0].max()), int(synthetic[0].max())))
    cells = [first * width + second for first, second in (real, synthetic)]
    if size <= _DENSE * sum(map(len, cells)):
        occurring = np.arange(size)
    else:
        joint, occurring = pd.factorize(np.concatenate(cells))
        cells = [joint[: len(cells[0])], joint[len(cells[0]) :]]
    shares = [np.bincount(each, minlength=len(occurring)) / len(each) for each in cells]
    row, column = np.divmod(occurring, width)
    score = 1.0 - 0.5 * float(np.abs(shares[0] - shares[1]).sum())
    return score, _cramers_v(shares[0], row, column), _cramers_v(shares[1], row, column)


def _cramers_v(shares: Floats, row: Codes, column: Codes) -> float:
    """Cramér's V from the share, row and column of each cell that may not be empty."""
    cells = np.flatnonzero(shares)
    shares, row, column = shares[cells], row[cells], column[cells]
    rows, columns = np.bincount(row, shares), np.bincount(column, shares)
    degrees = min(np.count_nonzero(rows), np.count_nonzero(columns)) - 1
    if degrees == 0:
        return float("nan")
    expected = rows[row] * columns[column]
    chi2 = float(((shares - expected) ** 2 / expected).sum())
    if len(cells) < np.count_nonzero(rows) * np.count_nonzero(columns):
        chi2 += 1.0 - float(expected.sum())  # of empty cells
    return math.sqrt(chi2 / degrees)


def pairs(columns: Sequence[Column]) -> pd.DataFrame:
    """Compare all pairs of columns of a real and a synthetic table.

    Two continuous columns are compared by their correlation, others by their contingency table, with
    continuous ones in 10 bins of their own table: where their values are does not count there, and an outlier
    counts much.

    Args:
        columns: columns whose first two tables are the real and the synthetic one.

    Returns:
        A row for each pair: ``first``, ``second``, ``measure`` (correlation or contingency), ``score``;
        ``real`` and ``synthetic``, their correlations or Cramér's V; and ``related``, whether the real one
        is so large that sdmetrics' report counts the pair.
    """
    units = {
        (column.name, table): _unit(column.values[table])
        for column in columns
        for table in (0, 1)
        if column.is_continuous and not column.is_missing(table).any()
    }

    def correlations(first: Column, second: Column) -> Iterator[float]:
        for table in (0, 1):
            ends = [units.get((column.name, table)) for column in (first, second)]
            if ends[0] is not None and ends[1] is not None:
                yield _product(ends[0], ends[1])
            else:
                yield correlation(first.values[table], second.values[table])

    rows = []
    for first, second in combinations(columns, 2):
        if first.is_continuous and second.is_continuous:
            measure, limit = "correlation", CORRELATED
            real, synthetic = correlations(first, second)
            score = 1.0 - abs(real - synthetic) / 2
        else:
            measure, limit = "contingency", ASSOCIATED
            of_real, of_synthetic = zip(first.codes[:2], second.codes[:2], strict=True)
            score, real, synthetic = contingency_similarity(of_real, of_synthetic)
        rows.append((first.name, second.name, measure, score, real, synthetic, abs(real) > limit))
    names = ["first", "second", "measure", "score", "real", "synthetic", "related"]
    return pd.DataFrame(rows, columns=names).astype({"score": float, "real": float, "synthetic": float})
