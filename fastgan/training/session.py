"""A whole run: networks, training, and the folder that records it."""

from __future__ import annotations

import json
from collections.abc import Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fastgan.data import DataError, Dataset, Streaming
from fastgan.training import checkpoint
from fastgan.training.distributed import World
from fastgan.training.lock import locked
from fastgan.training.recorder import SUMMARY, Recorder
from fastgan.training.run import (
    RunError,
    change_steps,
    check_data,
    check_unchanged,
    new_folder,
    note_data,
    peek_checkpoint,
    read_checkpoint,
)
from fastgan.training.run_config import RunConfig
from fastgan.training.signals import stopped_by_signals
from fastgan.training.state import DivergenceError, TrainingState
from fastgan.training.trainer import Callback, Trainer


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: of the run; None in a process that does not record.
        summary: as in summary.json.
        interrupted: whether a signal ended it before its last step.
    """

    folder: Path | None
    summary: dict[str, Any]
    interrupted: bool


def train_run(
    out: Path | None,
    data: Dataset,
    config: RunConfig,
    callbacks: Sequence[Callback] = (),
    *,
    feed: Streaming | None = None,
    world: World | None = None,
) -> Outcome:
    """Train on the data and record everything in a new folder, ``runs/DATA-NUMBER`` if none is named.

    Ctrl-C, SIGTERM or SIGHUP ends the run after the step that is running, and records it like a finished
    one; a second Ctrl-C ends it at once.

    Args:
        out: the folder; it must be new or empty.
        data: what to train on, or its first samples, for pictures, where it is streamed.
        config: settings of the run.
        callbacks: in addition to the one that records.
        feed: the data, where they stay on the disk.
        world: the processes that share the run; the first alone records.

    Raises:
        RunError: if the folder holds something already.
        LockedError: if another process trains in it.
        DivergenceError: if training turns to nan; the last good checkpoint is kept.
    """
    torch.manual_seed(config.training.seed)
    # before the folder is made: networks too large for the memory leave nothing behind
    trainer = _trainer(config, world)
    if trainer.state.world.rank:
        return _follow(trainer, feed or data, config.workers)
    noted = replace(config, stream=feed is not None).noting(feed or data.samples)
    with new_folder(out, Path(data.name).resolve().stem, noted) as folder:
        checkpoint.save(folder, trainer.state)  # from now on a run that is killed can be resumed
        return _record(trainer, folder, data, feed or data, config.workers, callbacks)


def resume_run(
    folder: Path,
    data: Dataset,
    config: RunConfig,
    callbacks: Sequence[Callback] = (),
    *,
    feed: Streaming | None = None,
    world: World | None = None,
) -> Outcome:
    """Go on with a run from its last checkpoint, bit for bit as if it had never stopped.

    With other ``steps`` than it began with, learning rate and instance noise are from now on those of a run
    of so many, and config.yaml says so.

    Args and outcome are those of :func:`train_run`.

    Raises:
        RunError: if there is no checkpoint, or it was trained with other settings or data.
        LockedError: if another process trains in the folder.
        CheckpointError: if the checkpoint is damaged.
        DivergenceError: if training turns to nan; the last good checkpoint is kept.
    """
    check_data(folder, config, data)
    data = data.under(config.transform)
    with nullcontext() if world and world.rank else locked(folder):
        saved = read_checkpoint(folder)
        check_unchanged(folder, saved.settings, config.training)
        trainer = _trainer(config, world)
        checkpoint.restore(saved, trainer.state)
        if trainer.state.world.rank:
            return _follow(trainer, feed or data, config.workers)
        _note_same_data(folder, replace(config, stream=feed is not None), feed or data.samples)
        return _record(trainer, folder, data, feed or data, config.workers, callbacks)


def _note_same_data(folder: Path, config: RunConfig, samples: Sized) -> None:
    noted = config.noting(samples)
    other = config.other_data(noted)
    if other is not None:
        raise RunError(f"{folder}: {other}; give the data that it began with as --data, or train anew")
    note_data(folder, noted)


def step_of_finished(folder: Path, config: RunConfig) -> int | None:
    """The step of a run that has all of its steps behind it and on record; None if something is left to do.

    Raises:
        RunError: if there is no checkpoint, or it was trained with other settings.
        CheckpointError: if the checkpoint is damaged.
    """
    step, settings = peek_checkpoint(folder)
    check_unchanged(folder, settings, config.training)
    try:
        recorded = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["steps"]
    except (OSError, ValueError, KeyError, TypeError):  # it was killed before the summary was written
        recorded = None
    return step if step >= config.training.steps and recorded == step else None


def _trainer(config: RunConfig, world: World | None) -> Trainer:
    return Trainer(config.build_generator(), config.build_discriminator(), config.training, world=world)


def _record(
    trainer: Trainer,
    folder: Path,
    data: Dataset,
    samples: Dataset | Streaming,
    workers: int,
    callbacks: Sequence[Callback],
) -> Outcome:
    state = trainer.state
    with Recorder(folder, data, state.step) as recorder:
        if trainer.config.steps > state.step:
            change_steps(folder, trainer.config.steps)  # a resumed run may have been given more
        trainer.callbacks = [recorder, *callbacks]
        for row in recorder.rows:
            trainer.watch.update(int(row["step"]), row)
        with stopped_by_signals(trainer.stop):
            state = _fit(trainer, samples, workers, recorder)
        return Outcome(
            folder,
            recorder.finish(state, trainer.watch.alarms),
            interrupted=state.step < trainer.config.steps,
        )


def _follow(trainer: Trainer, samples: Dataset | Streaming, workers: int) -> Outcome:
    """Train in a process that does not record; another one does."""
    with stopped_by_signals(trainer.stop):
        state = trainer.fit(samples, workers=workers)
    return Outcome(None, {}, interrupted=state.step < trainer.config.steps)


def _fit(trainer: Trainer, samples: Dataset | Streaming, workers: int, recorder: Recorder) -> TrainingState:
    try:
        return trainer.fit(samples, workers=workers)
    except (DivergenceError, DataError) as error:
        remedy = "; try a lower learning rate" if isinstance(error, DivergenceError) else ""
        kept = f"kept the checkpoint of step {recorder.saved_step} in {recorder.folder}"
        raise type(error)(f"{error}; {kept}{remedy}") from error
