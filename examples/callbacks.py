"""Log and save in your own way: callbacks get the state at the configured intervals."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fastgan import TrainConfig, Trainer
from fastgan.data import load
from fastgan.nn import MLP
from fastgan.training import Callback, checkpoint
from fastgan.training.state import TrainingState
from fastgan.training.trainer import LogRow


class Prints(Callback):
    def on_log(self, state: TrainingState, row: LogRow) -> None:
        print(f"step {row.step}: D(x) {row.values['D(x)']:.2f}, D(G(z)) {row.values['D(G(z))']:.2f}")


class Saves(Callback):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_checkpoint(self, state: TrainingState) -> None:
        checkpoint.save(self.folder, state)


folder = Path(tempfile.mkdtemp())
half = int(sys.argv[1]) // 2 if sys.argv[1:] else 1_000
config = TrainConfig(steps=2 * half, latent_dim=2, log_interval=half, checkpoint_interval=half)


def trainer() -> Trainer:
    return Trainer(MLP([2, 64, 64, 2]), MLP([2, 64, 64, 1]), config, [Prints(), Saves(folder)])


first = trainer()
first.stop()  # stops after one step; your script may call it when a signal arrives
first.fit(load("ring"))

second = trainer()  # could be in another process
checkpoint.restore(checkpoint.read(folder), second.state)
print(f"resumed at step {second.state.step}")
second.fit(load("ring"))
