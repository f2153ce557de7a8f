"""CTGAN of the package ctgan, with its defaults."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import torch
from ctgan import CTGAN
from torch.optim.optimizer import register_optimizer_step_post_hook


class InCTGAN:
    def __init__(self, epochs: int, seed: int) -> None:
        self.model = CTGAN(epochs=epochs, enable_gpu=False)
        self.model.set_random_state(seed)
        self._ended: dict[Any, list[float]] = {}

    def fit(self, frame: pd.DataFrame, discrete: list[str]) -> list[tuple[int, float]]:
        """Trains, and returns number and end of each step: the updates of the second optimizer, G's."""
        hook = register_optimizer_step_post_hook(self._stamp)
        self.model.fit(frame, discrete)
        hook.remove()
        _, ended = self._ended.values()
        return list(enumerate(ended, 1))

    def sample(self, count: int) -> pd.DataFrame:
        made: pd.DataFrame = self.model.sample(count)
        return made

    def _stamp(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._ended.setdefault(optimizer, []).append(time.perf_counter())
