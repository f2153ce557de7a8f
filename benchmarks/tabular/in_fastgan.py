"""TabularGAN with its defaults, which are those of CTGAN."""

from __future__ import annotations

import time

import pandas as pd
import sklearn.mixture  # noqa: F401  before the clock starts, as ctgan imports it too

from fastgan.tabular import TabularGAN
from fastgan.training import Callback
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow


class InFastgan:
    def __init__(self, epochs: int, seed: int) -> None:
        self._epochs, self._seed = epochs, seed

    def fit(self, frame: pd.DataFrame, discrete: list[str]) -> list[tuple[int, float]]:
        """Trains, and returns step and time of the start and of each log point. Other columns are numbers."""
        columns = {name: "category" if name in discrete else "continuous" for name in map(str, frame)}
        clock = _Clock()
        self._model = TabularGAN(columns=columns, epochs=self._epochs, seed=self._seed).fit(frame, [clock])
        return clock.stamps

    def sample(self, count: int) -> pd.DataFrame:
        return self._model.sample(count, seed=self._seed)


class _Clock(Callback):
    def __init__(self) -> None:
        self.stamps: list[tuple[int, float]] = []

    def on_progress(self, state: TrainingState) -> None:
        if not self.stamps:  # before the first step
            self.stamps.append((state.step, time.perf_counter()))

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.stamps.append((row.step, time.perf_counter()))
