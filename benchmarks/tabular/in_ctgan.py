"""CTGAN of the package ctgan, with its defaults."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN
from torch.optim.optimizer import register_optimizer_step_post_hook


class InCTGAN:
    def __init__(self, epochs: int, seed: int) -> None:
        self.model = CTGAN(epochs=epochs, enable_gpu=False)
        self.model.set_random_state(seed)
        self._ended: dict[Any, list[float]] = {}

    def fit(self, frame: pd.DataFrame, discrete: list[str]) -> list[float]:
        """Trains, and returns when the steps ended: after every update of the second optimizer, G's."""
        hook = register_optimizer_step_post_hook(self._stamp)
        self.model.fit(frame, discrete)
        hook.remove()
        _, ended = self._ended.values()
        return ended

    def sample(self, count: int) -> pd.DataFrame:
        made: pd.DataFrame = self.model.sample(count)
        return made

    def _stamp(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._ended.setdefault(optimizer, []).append(time.perf_counter())
