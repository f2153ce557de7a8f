"""How well classifiers tell synthetic rows from real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from threadpoolctl import threadpool_limits

from fastgan.tabular.quality.encoding import Column, Floats
from fastgan.tabular.quality.features import boosted_features, boosting, fitted, linear_features, sampled

_FOLDS = 3


@dataclass(frozen=True)
class Detection:
    """Areas under the ROC curve, means of three folds: 0.5 for a classifier that cannot tell the tables
    apart.

    Attributes:
        logistic: of logistic regression with the features of sdmetrics' LogisticDetection, which leaves
            booleans out. NaN without another column.
        logistic_score: the figure of LogisticDetection: the mean of 2 - 2 AUC over the folds, 1 in a fold
            whose area is below 0.5.
        boosting: of gradient boosting, which sees all columns, missing values and relations of columns.
    """

    logistic: float
    logistic_score: float
    boosting: float


def detection(columns: Sequence[Column], seed: int = 0) -> Detection:
    """Train classifiers to tell the rows of a real and a synthetic table apart.

    Args:
        columns: columns whose first two tables are the real and the synthetic one; of larger tables 20,000
            rows are drawn.
        seed: seed of that draw, of the folds and of boosting.
    """
    columns = sampled(columns, seed)
    seen = [column for column in columns if column.kind != "boolean"]
    logistic = np.array([np.nan])
    if seen:
        model = make_pipeline(RobustScaler(), LogisticRegression())
        logistic = _areas(model, linear_features(seen, fit=0, tables=(0, 1)), seed)
    boosted = _areas(boosting(columns, seed), boosted_features(columns)[:2], seed)
    score = float(np.mean(2 - 2 * np.maximum(logistic, 0.5)))
    return Detection(float(logistic.mean()), score, float(boosted.mean()))


@threadpool_limits.wrap(limits=1)  # threads of several processes wait for each other
def _areas(model: Any, tables: Sequence[Floats], seed: int) -> Floats:
    """Areas under the ROC curve of real rows, class 1, in each fold."""
    x = np.concatenate(tables)
    y = np.repeat([1, 0], [len(table) for table in tables])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    areas = []
    for train, test in folds.split(x, y):
        chances = fitted(model, x[train], y[train]).predict_proba(x[test])[:, 1]
        areas.append(roc_auc_score(y[test], chances))
    return np.array(areas)
