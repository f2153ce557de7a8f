"""What a model learns from synthetic rows, tested on real ones, against what it learns from real rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from threadpoolctl import threadpool_limits

from fastgan.tabular.errors import TableError
from fastgan.tabular.quality.encoding import Column, Floats
from fastgan.tabular.quality.features import boosted_features, boosting, fitted, linear_features, sampled

_REAL, _SYNTHETIC, _HOLDOUT = range(3)


def utility(columns: Sequence[Column], target: Hashable, seed: int = 0) -> pd.DataFrame:
    """Predict a column with models trained on the synthetic and on the real table, tested on held-out rows.

    The linear models are those of sdmetrics' ML efficacy: logistic regression with balanced classes, and
    linear regression.

    Args:
        columns: columns whose tables are the real, the synthetic and the held-out one; of larger tables
            20,000 rows are drawn. Rows without a target are left out.
        target: name of the column to predict. A discrete column is classified.
        seed: seed of that draw and of boosting.

    Returns:
        A row for each model (linear, boosting) and figure: ``model``, ``figure``, ``synthetic`` and
        ``real``, its values after training on that table. Figures are macro F1 (0 for a class that is
        never predicted), macro ROC AUC (one class against the others; NaN if held-out rows have only one) and
        accuracy of a classification, R² of a regression (NaN for a single held-out row).

    Raises:
        TableError: there is no other column, or a table has no target.
    """
    columns = _with_target(sampled(columns, seed), target)
    inputs = [column for column in columns if column.name != target]
    (predicted,) = (column for column in columns if column.name == target)
    if not inputs:
        raise TableError(f"target {target!r} is the only column, expected another one to predict it from")
    of_synthetic, of_real = (_figures(inputs, predicted, table, seed) for table in (_SYNTHETIC, _REAL))
    rows = [(*key, value, of_real[key]) for key, value in of_synthetic.items()]
    return pd.DataFrame(rows, columns=["model", "figure", "synthetic", "real"])


def _with_target(columns: Sequence[Column], target: Hashable) -> list[Column]:
    """The columns with only the rows whose target is not missing."""
    (predicted,) = (column for column in columns if column.name == target)
    rows = [np.flatnonzero(~predicted.is_missing(table)) for table in (_REAL, _SYNTHETIC, _HOLDOUT)]
    for chosen, name in zip(rows, ("real", "synthetic", "holdout"), strict=True):
        if len(chosen) == 0:
            raise TableError(f"target {target!r} is missing in all rows of the {name} table")
    return [column.rows(rows) for column in columns]


@threadpool_limits.wrap(limits=1)  # threads of several processes wait for each other
def _figures(
    inputs: Sequence[Column], predicted: Column, table: int, seed: int
) -> dict[tuple[str, str], float]:
    """Figures by model and name, after training on a table."""
    y: Sequence[NDArray[Any]] = predicted.values or predicted.codes
    linear, boosted = linear_features(inputs, table, (table, _HOLDOUT)), boosted_features(inputs)
    if predicted.is_continuous:
        measure, of_lines = _regression, LinearRegression()
    else:
        # the settings of BinaryLogisticRegression in sdmetrics
        measure, of_lines = _classification, LogisticRegression(class_weight="balanced", max_iter=50)
    of_trees = boosting(inputs, seed, regression=predicted.is_continuous)
    found = {
        "linear": measure(
            make_pipeline(RobustScaler(), of_lines), linear[0], y[table], linear[1], y[_HOLDOUT]
        ),
        "boosting": measure(of_trees, boosted[table], y[table], boosted[_HOLDOUT], y[_HOLDOUT]),
    }
    return {(model, name): value for model, values in found.items() for name, value in values.items()}


def _regression(
    model: Any, x: Floats, y: NDArray[Any], test_x: Floats, test_y: NDArray[Any]
) -> dict[str, float]:
    predictions = fitted(model, x, y).predict(test_x)
    return {"R²": float(r2_score(test_y, predictions)) if len(test_y) > 1 else float("nan")}


def _classification(
    model: Any, x: Floats, y: NDArray[Any], test_x: Floats, test_y: NDArray[Any]
) -> dict[str, float]:
    if len(np.unique(y)) == 1:
        model = DummyClassifier()
    model = fitted(model, x, y)
    predictions, chances = model.predict(test_x), model.predict_proba(test_x)
    chance_of = dict(zip(model.classes_, chances.T, strict=True))
    unknown = np.zeros(len(test_y))  # of classes that the training table lacks
    classes = np.unique(test_y)
    areas = [
        roc_auc_score(test_y == each, chance_of.get(each, unknown)) for each in classes if len(classes) > 1
    ]
    return {
        "F1": float(f1_score(test_y, predictions, average="macro")),
        "ROC AUC": float(np.mean(areas)) if areas else float("nan"),
        "accuracy": float(accuracy_score(test_y, predictions)),
    }
