"""Similarity of each column's distribution in two tables, missing values left out.

Figures are those of sdmetrics' KSComplement, TVComplement and Column Shapes: 1 if the distributions are
equal, 0 if they have no value in common.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from fastgan.tabular.quality.encoding import MISSING, Codes, Column, Floats

_DECIMALS = 14
_EXPECTED = 10
_UNSEEN = 1e-6  # rows that sdmetrics counts for a category which the real table lacks


def ks_complement(real: Floats, synthetic: Floats) -> float:
    """1 minus the Kolmogorov-Smirnov statistic, the largest distance of the distribution functions.

    Values are rounded to 14 decimals, as in sdmetrics; if all are below 1, to 14 digits of the largest.

    Args:
        real: float64 ``[N]``, NaN where missing.
        synthetic: float64 ``[M]``, NaN where missing.

    Returns:
        From 0 to 1; NaN if one of them has no value.
    """
    real, synthetic = real[~np.isnan(real)], synthetic[~np.isnan(synthetic)]
    if len(real) == 0 or len(synthetic) == 0:
        return float("nan")
    largest = max(np.abs(real).max(), np.abs(synthetic).max())
    tiny = 2.0**600 if largest < 2.0**-600 else 1.0  # 10**309, a scale of denormals, is no float64
    scale = 10.0 ** -min(0, np.ceil(np.log10(largest * tiny))) if largest else 1.0
    ordered = [np.sort(_rounded(values * tiny * scale)) for values in (real, synthetic)]
    places = np.concatenate(ordered)
    below = [np.searchsorted(values, places, side="right") / len(values) for values in ordered]
    return 1.0 - float(np.abs(below[0] - below[1]).max())


def _rounded(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        rounded = np.round(values, _DECIMALS)
    return np.where(np.isinf(rounded), values, rounded)


def tv_complement(real: Codes, synthetic: Codes) -> float:
    """1 minus the total variation distance, half the sum of differences of the categories' shares.

    Args:
        real: int64 codes ``[N]``, 0 where missing.
        synthetic: int64 codes ``[M]``, 0 where missing.

    Returns:
        From 0 to 1; NaN if one of them has no value.
    """
    size = 1 + max(real.max(initial=MISSING), synthetic.max(initial=MISSING))
    counts = [np.bincount(codes, minlength=size)[MISSING + 1 :] for codes in (real, synthetic)]
    if not all(count.sum() for count in counts):
        return float("nan")
    of_real = np.where((counts[0] == 0) & (counts[1] > 0), _UNSEEN, counts[0])
    return 1.0 - 0.5 * float(np.abs(of_real / of_real.sum() - counts[1] / counts[1].sum()).sum())


def marginals(columns: Sequence[Column]) -> pd.DataFrame:
    """Compare the columns of a real and a synthetic table.

    Args:
        columns: columns whose first two tables are the real and the synthetic one.

    Returns:
        A row for each column: ``column``, ``measure`` (KS or TV complement), ``score``, and the shares of
        missing values, ``missing_real`` and ``missing_synthetic``.
    """
    rows = []
    for column in columns:
        if column.is_continuous:
            measure, score = "KS complement", ks_complement(*column.values[:2])
        else:
            measure, score = "TV complement", tv_complement(*column.codes[:2])
        missing = [float(column.is_missing(table).mean()) for table in (0, 1)]
        rows.append((column.name, measure, score, *missing))
    return pd.DataFrame(rows, columns=["column", "measure", "score", "missing_real", "missing_synthetic"])


def lost_values(
    real: pd.DataFrame, synthetic: pd.DataFrame, kinds: Mapping[Hashable, str]
) -> dict[Hashable, list[object]]:
    """Values of discrete columns that the synthetic table lacks, though 10 rows or more should have them."""
    lost = {}
    for name, kind in kinds.items():
        if kind in ("category", "boolean"):
            shares = real[name].value_counts(normalize=True)
            frequent = shares.index[shares * len(synthetic) >= _EXPECTED]
            if missing := sorted(set(frequent) - set(synthetic[name].unique()), key=str):
                lost[name] = missing
    return lost
