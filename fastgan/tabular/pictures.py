"""Pictures and figures of a table run's rows, which its recorder stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from fastgan.models.ctgan import CTGANGenerator
from fastgan.plots import save_history
from fastgan.plots.dashboard import Alarms, History
from fastgan.plots.tables import draw_pair_scores, draw_scores, save_tables
from fastgan.tabular.quality import histogram, marginals, pairs
from fastgan.tabular.quality.encoding import Column, encode
from fastgan.tabular.sampling import Rows
from fastgan.tabular.transform import TableTransform
from fastgan.training.state import TrainingState
from fastgan.training.table_source import TableSource

_SEED = 0  # the same in every picture, so that pictures can be compared
_ROWS = 5_000


class TablePictures:
    """Distributions and pairs of columns, of real rows and of as many generated ones.

    Args:
        title: name of the table.
        frame: the table.
        transform: its columns.
        source: the encoded table.
    """

    def __init__(
        self, title: str, frame: pd.DataFrame, transform: TableTransform, source: TableSource
    ) -> None:
        self._title, self._transform = title, transform
        self._counts = source.table.starts.diff().double().cpu()
        self._real = frame.sample(min(_ROWS, len(frame)), random_state=_SEED)

    def save_samples(self, path: Path, state: TrainingState) -> None:
        columns = self._columns(state)
        save_tables(path, [histogram(each) for each in columns], marginals(columns), pairs(columns))

    def save_dashboard(self, path: Path, state: TrainingState, history: History, alarms: Alarms) -> None:
        self.finish(path, state, history, alarms)

    def finish(
        self, path: Path | None, state: TrainingState, history: History, alarms: Alarms
    ) -> dict[str, Any]:
        """``marginals`` and ``pairs``: the mean scores of columns and of pairs."""
        columns = self._columns(state)
        by_column, by_pair = marginals(columns), pairs(columns)

        def draw(left: Axes, right: Axes) -> None:
            draw_scores(left, by_column)
            draw_pair_scores(right, by_pair)

        if path is not None:
            save_history(path, history, self._title, draw, alarms)
        means = {"marginals": by_column["score"].mean(), "pairs": by_pair["score"].mean()}
        return {name: float(mean) for name, mean in means.items() if not pd.isna(mean)}

    def _columns(self, state: TrainingState) -> list[Column]:
        """The columns of both tables."""
        generator = state.average
        assert isinstance(generator, CTGANGenerator)
        rows = Rows(generator, self._transform, self._counts, state.config.latent)
        made = pd.concat(rows.draw(len(self._real), {}, _SEED), ignore_index=True)
        return encode({"real": self._real, "synthetic": made}, self._transform.kinds)
