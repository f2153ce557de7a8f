"""All figures of a synthetic table."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fastgan.tabular.quality.detection import Detection
from fastgan.tabular.quality.histograms import Histogram
from fastgan.tabular.quality.privacy import Privacy


@dataclass(frozen=True)
class Quality:
    """How a synthetic table compares with the real one; figures are NaN where nothing can be compared.

    Attributes:
        shapes: mean score of the columns: Column Shapes of sdmetrics.
        trends: mean score of the pairs of columns that are related in the real table: its Column Pair Trends.
        score: mean of both, or the one that is not NaN: the score of its QualityReport.
        pairs: mean score of all pairs of columns.
        columns: figures of each column, by :func:`fastgan.tabular.quality.marginals`.
        column_pairs: figures of each pair, by :func:`fastgan.tabular.quality.pairs`.
        detection: how well classifiers tell synthetic rows from real ones.
        privacy: how close synthetic rows are to real ones.
        target: the column that was predicted, if one was.
        utility: figures of models that predict it, by :func:`fastgan.tabular.quality.utility`.
        histograms: distributions of the columns, for :meth:`plot`.
    """

    shapes: float
    trends: float
    score: float
    pairs: float
    columns: pd.DataFrame
    column_pairs: pd.DataFrame
    detection: Detection
    privacy: Privacy
    target: Hashable = None
    utility: pd.DataFrame | None = None
    histograms: tuple[Histogram, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, Any]:
        """All figures as JSON has them, with None for NaN; without the histograms."""
        figures: dict[str, Any] = {
            "shapes": self.shapes,
            "trends": self.trends,
            "score": self.score,
            "pairs": self.pairs,
            "columns": self.columns.to_dict("records"),
            "column_pairs": self.column_pairs.to_dict("records"),
            "detection": asdict(self.detection),
            "privacy": asdict(self.privacy),
        }
        if self.utility is not None:
            figures |= {"target": self.target, "utility": self.utility.to_dict("records")}
        return {name: _without_nan(value) for name, value in figures.items()}

    def summary(self) -> str:
        """The figures that matter most, a line each; a figure that is NaN has none."""
        scores, private = self.columns.dropna(subset="score"), self.privacy
        lowest = scores.loc[scores["score"].idxmin(), "column"] if len(scores) else None
        counted = f"{self.column_pairs['related'].sum()} of {len(self.column_pairs)} pairs"
        both = "" if math.isnan(self.shapes) or math.isnan(self.trends) else "mean of both, "
        lines = [
            ("columns", self.shapes, f"lowest: {lowest}, {scores['score'].min():.3f}"),
            ("related pairs", self.trends, counted),
            ("score", self.score, f"{both}as sdmetrics' QualityReport"),
            ("all pairs", self.pairs, ""),
            ("detection, logistic", self.detection.logistic, "AUC; 0.5 if real and synthetic look alike"),
            ("detection, boosting", self.detection.boosting, "AUC"),
            *self._of_utility(),
            ("exact copies", private.copies, _known("of held-out rows", private.holdout_copies)),
            ("closest record", private.distance, _known("of held-out rows", private.holdout_distance)),
            ("closer to training", private.closer_to_training, _known("by chance", private.closer_by_chance)),
        ]
        shown = [(name, f"{value:.3f}", note) for name, value, note in lines if not math.isnan(value)]
        width = max((len(name) for name, *_ in shown), default=0)
        return "\n".join(f"{name:<{width}}  {value}  {note}".rstrip() for name, value, note in shown)

    def _of_utility(self) -> list[tuple[str, float, str]]:
        rows = [] if self.utility is None else self.utility.itertuples(index=False)
        return [
            (f"{figure} of {self.target}, {model}", synthetic, _known("trained on real rows", real))
            for model, figure, synthetic, real in rows
        ]

    def plot(self, path: str | Path) -> None:
        """Write a picture of all columns' distributions, and of the relations of pairs in both tables.

        Args:
            path: file to write; the suffix determines the format, as in matplotlib.
        """
        from fastgan.plots.tables import save_tables  # matplotlib is not needed for figures

        save_tables(path, self.histograms, self.columns, self.column_pairs)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _known(name: str, value: float) -> str:
    return "" if math.isnan(value) else f"{name}: {value:.3f}"
