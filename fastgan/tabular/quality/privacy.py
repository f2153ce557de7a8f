"""Distance to the closest record: whether a generator repeats the rows that it was trained on.

The distance of two rows is the mean over their columns of the difference divided by the column's range, at
most 1, or of whether categories differ. Figures are those of sdmetrics' DCROverfittingProtection.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastgan.tabular.quality.encoding import Codes, Column, Floats
from fastgan.tabular.quality.features import moderate

_REAL, _SYNTHETIC, _HOLDOUT = range(3)
_PAIRS = 10**8  # of rows that are compared
_AT_LEAST = 1_000  # rows that are compared with all rows of a table, however large
_TILE = 64, 2_048  # rows of both tables that are compared at once, so that distances stay in the cache


@dataclass(frozen=True)
class Privacy:
    """How close synthetic rows are to those of the training table.

    Attributes:
        copies: share of synthetic rows that equal a training row.
        distance: median distance of a synthetic row to the closest training row.
        holdout_copies: share of held-out rows that equal a training row: what is due to the data. NaN without
            held-out rows, as all that follows.
        holdout_distance: median distance of a held-out row to the closest training row.
        distance_to_holdout: median distance of a synthetic row to the closest held-out row.
        closer_to_training: share of synthetic rows that are closer to the training table than to the
            held-out one.
        closer_by_chance: the share that is due to the number of rows in both, unless some are equally close.
        score: 2 minus twice that share, at most 1: the figure of DCROverfittingProtection.
    """

    copies: float
    distance: float
    holdout_copies: float = float("nan")
    holdout_distance: float = float("nan")
    distance_to_holdout: float = float("nan")
    closer_to_training: float = float("nan")
    closer_by_chance: float = float("nan")
    score: float = float("nan")


def privacy(columns: Sequence[Column], seed: int = 0) -> Privacy:
    """Compare the rows of a synthetic table with those of the real one, and with a held-out one.

    Args:
        columns: columns whose tables are the real, the synthetic and, if there is one, the held-out one.
        seed: seed of the draw of rows for distances, if not all are compared: as many as make 10**8
            pairs of rows, but at least 1,000.
    """
    copies = _copies(columns)
    columns = [moderate(column) for column in columns]
    chosen = _chosen(columns, seed)
    to_real = closest(columns, chosen[_SYNTHETIC], _SYNTHETIC, _REAL)
    if len(copies) == _HOLDOUT - 1:
        return Privacy(copies[0], float(np.median(to_real)))
    to_holdout = closest(columns, chosen[_SYNTHETIC], _SYNTHETIC, _HOLDOUT)
    closer = float((to_real < to_holdout).mean())
    sizes = [len(columns[0].codes[table]) for table in (_REAL, _HOLDOUT)]
    return Privacy(
        copies=copies[0],
        distance=float(np.median(to_real)),
        holdout_copies=copies[1],
        holdout_distance=float(np.median(closest(columns, chosen[_HOLDOUT], _HOLDOUT, _REAL))),
        distance_to_holdout=float(np.median(to_holdout)),
        closer_to_training=closer,
        closer_by_chance=sizes[0] / sum(sizes),
        score=min(2 - 2 * closer, 1.0),
    )


def _chosen(columns: Sequence[Column], seed: int) -> list[Codes]:
    """Rows of each table whose distances are measured."""
    rng = np.random.default_rng(seed)
    sizes = [len(codes) for codes in columns[0].codes]
    most = max(_PAIRS // max(sizes), _AT_LEAST)
    return [
        np.sort(rng.choice(size, most, replace=False)) if size > most else np.arange(size) for size in sizes
    ]


def _copies(columns: Sequence[Column]) -> list[float]:
    """Shares of the rows of each table but the first that equal one of the first."""
    sizes = [len(codes) for codes in columns[0].codes]
    group = np.zeros(sum(sizes), np.int64)
    for column in columns:
        values, levels = pd.factorize(np.concatenate(column.values or column.codes), use_na_sentinel=False)
        group = pd.factorize(group * len(levels) + values)[0]
    real, *others = np.split(group, np.cumsum(sizes)[:-1])
    return [float(np.isin(each, real).mean()) for each in others]


def closest(columns: Sequence[Column], rows: Codes, table: int, reference: int) -> Floats:
    """Distance of rows of a table to the closest row of a reference table.

    Args:
        columns: columns of all tables.
        rows: int64 ``[N]``, the rows.
        table: number of their table.
        reference: number of the reference table, whose ranges divide differences.

    Returns:
        float64 ``[N]``, from 0 to 1.
    """
    scales = [_Scale.of(column, reference) for column in columns]
    ours = [scale.numbers(column, table)[rows] for scale, column in zip(scales, columns, strict=True)]
    theirs = [scale.numbers(column, reference) for scale, column in zip(scales, columns, strict=True)]

    def block(start: int) -> Floats:
        part = [values[start : start + _TILE[0]] for values in ours]
        return _closest_of(part, theirs, scales) / len(columns)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy releases the lock
        return np.concatenate(list(threads.map(block, range(0, len(rows), _TILE[0]))))


@dataclass(frozen=True)
class _Scale:
    """What divides differences in a column, and whether values are missing."""

    span: float
    has_missing: bool

    @classmethod
    def of(cls, column: Column, reference: int) -> _Scale:
        missing = column.is_missing(reference)
        if not column.is_continuous:
            return cls(1.0, False)
        present = column.values[reference][~missing]
        span = float(np.ptp(present)) if len(present) else 1.0
        # in a constant column any difference counts 1
        return cls(span or np.finfo(np.float64).smallest_subnormal, bool(missing.any()))

    @staticmethod
    def numbers(column: Column, table: int) -> Floats:
        if column.is_continuous:
            return column.values[table]
        return column.codes[table].astype(np.float64)


def _closest_of(rows: Sequence[Floats], reference: Sequence[Floats], scales: Sequence[_Scale]) -> Floats:
    """Smallest sum over the columns for each row. Differences are divided, not values, which keeps ties."""
    best = np.full(len(rows[0]), np.inf)
    for start in range(0, len(reference[0]), _TILE[1]):
        tiles = [values[start : start + _TILE[1]] for values in reference]
        total = np.zeros((len(rows[0]), len(tiles[0])))
        difference = np.empty_like(total)
        for ours, theirs, scale in zip(rows, tiles, scales, strict=True):
            _differences(ours, theirs, scale, difference)
            total += difference
        np.minimum(best, total.min(axis=1), out=best)
    return best


def _differences(ours: Floats, theirs: Floats, scale: _Scale, out: Floats) -> None:
    np.subtract(ours[:, None], theirs, out=out)
    np.abs(out, out=out)
    if scale.span != 1.0:
        with np.errstate(over="ignore"):
            np.divide(out, scale.span, out=out)
    np.fmin(out, 1.0, out=out)  # 1 if one of them is missing
    if scale.has_missing:
        both: NDArray[np.bool_] = np.isnan(ours)[:, None] & np.isnan(theirs)
        out[both] = 0.0
