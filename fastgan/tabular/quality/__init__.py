"""Compares a synthetic table with the real one: columns, pairs, detection, utility and privacy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from fastgan.tabular.errors import TableError
from fastgan.tabular.quality.detection import Detection, detection
from fastgan.tabular.quality.encoding import KINDS, encode
from fastgan.tabular.quality.histograms import Histogram, histogram
from fastgan.tabular.quality.marginals import ks_complement, lost_values, marginals, tv_complement
from fastgan.tabular.quality.pairs import contingency_similarity, correlation, pairs
from fastgan.tabular.quality.privacy import Privacy, privacy
from fastgan.tabular.quality.report import Quality
from fastgan.tabular.quality.utility import utility

__all__ = [
    "Detection",
    "Histogram",
    "Privacy",
    "Quality",
    "contingency_similarity",
    "correlation",
    "detection",
    "evaluate_tables",
    "histogram",
    "ks_complement",
    "lost_values",
    "marginals",
    "pairs",
    "privacy",
    "tv_complement",
    "utility",
]

_FOLDS = 3  # rows that detection needs of each table


def evaluate_tables(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    *,
    holdout: pd.DataFrame | None = None,
    target: Hashable | None = None,
    kinds: Mapping[Hashable, str] | None = None,
    seed: int = 0,
) -> Quality:
    """Compare a synthetic table with the real one.

    Args:
        real: the table that the generator was trained on.
        synthetic: its samples, with the same columns in any order.
        holdout: real rows that the generator has not seen, with the same columns, for privacy and utility.
            Half as many rows as in ``real``, or more, so that both are about as close to a synthetic row.
        target: column to predict by models trained on synthetic rows; needs ``holdout``.
        kinds: kind of each column (continuous, integer, datetime, timedelta, date, time, boolean, category or
            constant); by default found in ``real``.
        seed: seed of what is drawn: folds, and rows of large tables for detection, utility and distances.

    Raises:
        TableError: tables have other columns, too few rows or infinite values, or the target does not fit.
    """
    tables = {"real": real, "synthetic": synthetic}
    if holdout is not None:
        tables["holdout"] = holdout
    kinds = _kinds(real) if kinds is None else kinds
    _check(tables, kinds, target)
    columns = encode(tables, {name: kinds[name] for name in real.columns})
    by_column, by_pair = marginals(columns), pairs(columns)
    shapes = float(by_column["score"].mean())
    trends = float(by_pair["score"][by_pair["related"]].mean())
    both = [figure for figure in (shapes, trends) if not np.isnan(figure)]
    return Quality(
        shapes=shapes,
        trends=trends,
        score=float(np.mean(both)) if both else float("nan"),
        pairs=float(by_pair["score"].mean()),
        columns=by_column,
        column_pairs=by_pair,
        detection=detection(columns, seed),
        privacy=privacy(columns, seed),
        target=target,
        utility=None if target is None else utility(columns, target, seed),
        histograms=tuple(map(histogram, columns)),
    )


def _kinds(real: pd.DataFrame) -> Mapping[Hashable, str]:
    from fastgan.tabular.columns import kinds_of  # only if no kinds are given

    kinds: Mapping[Hashable, str] = kinds_of(real)
    return kinds


def _check(
    tables: Mapping[str, pd.DataFrame], kinds: Mapping[Hashable, str], target: Hashable | None
) -> None:
    names = tables["real"].columns
    if len(names) == 0:
        raise TableError("the real table has no columns, expected at least one")
    for table, frame in tables.items():
        if len(frame) < _FOLDS:
            raise TableError(f"the {table} table has {len(frame)} rows, expected at least {_FOLDS}")
        if not frame.columns.is_unique:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise TableError(f"the {table} table has two columns named {twice!r}, expected one; rename one")
        for name in names.symmetric_difference(frame.columns, sort=False):
            has, lacks = ("real", table) if name in names else (table, "real")
            raise TableError(f"the {lacks} table has no column {name!r}, which the {has} one has")
    for name in names:
        if kinds.get(name) not in KINDS:
            raise TableError(
                f"the kind of column {name!r} is {kinds.get(name)!r}, expected one of {', '.join(KINDS)}"
            )
    if target is not None and target not in names:
        raise TableError(f"target is {target!r}, expected one of the columns {', '.join(map(str, names))}")
    if target is not None and "holdout" not in tables:
        raise TableError(
            f"target is {target!r}, but holdout is None; give real rows that are in no other table"
        )
