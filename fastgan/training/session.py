"""A whole run: networks, training, and the folder that records it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from fastgan.data import Dataset
from fastgan.training.recorder import Recorder
from fastgan.training.run import RunConfig, create, create_default
from fastgan.training.state import DivergenceError, TrainingState
from fastgan.training.trainer import Callback, Trainer


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: of the run.
        summary: as in summary.json.
        interrupted: whether Ctrl-C ended it before its last step.
    """

    folder: Path
    summary: dict[str, Any]
    interrupted: bool


def train_run(
    out: Path | None, data: Dataset, config: RunConfig, callbacks: Sequence[Callback] = ()
) -> Outcome:
    """Train on the data and record everything in a new folder, ``runs/DATA-NUMBER`` if none is named.

    Ctrl-C ends the run after the step that is running, and records it like a finished one; a
    second Ctrl-C ends it at once.

    Raises:
        RunError: if the folder holds something already.
        DivergenceError: if training turns to nan; the last good checkpoint is kept.
    """
    torch.manual_seed(config.training.seed)
    # before the folder is made: networks too large for the memory leave nothing behind
    trainer = Trainer(config.build_generator(), config.build_discriminator(), config.training)
    name = Path(data.name).resolve().stem
    folder = create_default(name, config) if out is None else create(out, config)
    with Recorder(folder, data) as recorder:
        trainer.callbacks = [recorder, *callbacks]
        with _interrupt_stops(trainer):
            state = _fit(trainer, data, recorder)
        interrupted = state.step < config.training.steps
        return Outcome(folder, recorder.finish(state), interrupted)


def _fit(trainer: Trainer, data: Dataset, recorder: Recorder) -> TrainingState:
    try:
        return trainer.fit(data)
    except DivergenceError as error:
        saved = recorder.saved_step
        kept = "no checkpoint was reached" if saved is None else f"kept the checkpoint of step {saved}"
        raise DivergenceError(f"{error}; {kept} in {recorder.folder}; try a lower learning rate") from error


@contextmanager
def _interrupt_stops(trainer: Trainer) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
