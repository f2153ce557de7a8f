"""``python benchmarks/train_recipe.py NAME STEPS``: prints seconds per step of a recipe, as JSON.

Imports fastgan from PYTHONPATH, and only what earlier versions have too.
"""

from __future__ import annotations

import json
import sys
import time

import torch

import fastgan
from fastgan.data import load
from fastgan.training import Callback, Trainer
from fastgan.training.recipes import RECIPES
from fastgan.training.run_config import RunConfig
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow


class Clock(Callback):
    """Notes when each row is logged, and stops the trainer ``steps`` steps after the first."""

    def __init__(self, trainer: Trainer, steps: int) -> None:
        self.trainer, self.steps = trainer, steps
        self.rows: list[tuple[int, float]] = []

    def on_log(self, state: TrainingState, row: LogRow) -> None:
        self.rows.append((row.step, time.perf_counter()))
        if row.step - self.rows[0][0] >= self.steps:
            self.trainer.stop()

    def seconds_of_a_step(self) -> float:
        (first, begun), *_, (last, ended) = self.rows
        return (ended - begun) / (last - first)


def main() -> None:
    name, steps = sys.argv[1], int(sys.argv[2])
    data = load(name)
    networks = RunConfig.of(name, data, RECIPES[name])
    torch.manual_seed(networks.training.seed)
    trainer = Trainer(networks.build_generator(), networks.build_discriminator(), networks.training)
    clock = Clock(trainer, steps)
    trainer.callbacks = [clock]
    trainer.fit(data)
    print(json.dumps({"fastgan": fastgan.__file__, "seconds": clock.seconds_of_a_step()}))


if __name__ == "__main__":
    main()
