"""Begins and resumes runs: builds the networks, trains them, and records the run in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence, Sized
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fastgan.data import DataError, Dataset, Streaming
from fastgan.metrics.classifier import Features, classifier_of, file_of
from fastgan.metrics.extractor import ExtractorError
from fastgan.models import FAMILIES
from fastgan.training import checkpoint
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.config_file import RunError
from fastgan.training.distributed import World
from fastgan.training.fid import FID, labelled_of
from fastgan.training.lock import locked
from fastgan.training.pictures import Pictures, SamplePictures
from fastgan.training.real_features import kept_in
from fastgan.training.recorder import SUMMARY, Recorder
from fastgan.training.run import (
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
        folder: folder of the run; None in a process that does not record.
        summary: content of summary.json.
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
    """Train on the data and record the run in a new folder.

    Ctrl-C, SIGTERM or SIGHUP ends the run after the current step and records it like a finished one; a
    second Ctrl-C ends it at once.

    Args:
        out: the folder, which must be new or empty; None for ``runs/DATA-NUMBER``.
        data: the data to train on; if they are streamed, their first samples, for pictures.
        config: config of the run.
        callbacks: further callbacks.
        feed: the data, if they are streamed from the disk.
        world: processes of the run; only the first records.

    Raises:
        RunError: if the folder is not empty.
        LockedError: if another process trains in it.
        DivergenceError: if training diverges; the last good checkpoint is kept.
    """
    torch.manual_seed(config.training.seed)
    # before the folder is made, so that networks too large for the memory leave no folder
    trainer = _trainer(config, data, world)
    if trainer.state.world.rank:
        return follow(trainer, _fit(trainer, feed or data, config))
    noted = replace(config, stream=feed is not None).noting(data, feed or data.samples)
    with new_folder(out, Path(data.name).resolve().stem, asdict(noted)) as folder:
        checkpoint.save(folder, trainer.state)  # from now on the run can be resumed
        return _record_samples(trainer, folder, data, _fit(trainer, feed or data, noted), noted, callbacks)


def resume_run(
    folder: Path,
    data: Dataset,
    config: RunConfig,
    callbacks: Sequence[Callback] = (),
    *,
    feed: Streaming | None = None,
    world: World | None = None,
) -> Outcome:
    """Resume a run from its last checkpoint. The result is the same to the bit as without the interruption.

    If ``steps`` changes, learning rate and instance noise follow the schedules of the new number from now on,
    and config.yaml is updated. The other arguments and the outcome are those of :func:`train_run`.

    Raises:
        RunError: if there is no checkpoint, or settings or data have changed.
        LockedError: if another process trains in the folder.
        CheckpointError: if the checkpoint is damaged.
        DivergenceError: if training diverges; the last good checkpoint is kept.
    """
    check_data(folder, config, data)
    data = data.under(config.transform)
    with nullcontext() if world and world.rank else locked(folder):
        saved = read_checkpoint(folder)
        check_unchanged(folder, saved.settings, config.training)
        trainer = _trainer(config, data, world)
        checkpoint.restore(saved, trainer.state)
        if trainer.state.world.rank:
            return follow(trainer, _fit(trainer, feed or data, config))
        trainer.best = checkpoint.best_of(folder)
        config = replace(config, stream=feed is not None)
        noted = _note_same_data(folder, config, data, feed or data.samples)
        return _record_samples(trainer, folder, data, _fit(trainer, feed or data, noted), noted, callbacks)


def _note_same_data(folder: Path, config: RunConfig, data: Dataset, samples: Sized) -> RunConfig:
    noted = config.noting(data, samples)
    other = config.other_data(noted)
    if other is not None:
        raise RunError(f"{folder}: {other}; pass its original data as --data, or start a new run")
    note_data(folder, noted)
    return noted


def step_of_finished(folder: Path, config: TrainConfig) -> int | None:
    """The last step of a run that is finished and recorded; None for other runs.

    Raises:
        RunError: if there is no checkpoint, or settings have changed.
        CheckpointError: if the checkpoint is damaged.
    """
    step, settings = peek_checkpoint(folder)
    check_unchanged(folder, settings, config)
    try:
        recorded = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["steps"]
    except (OSError, ValueError, KeyError, TypeError):  # killed before the summary was written
        recorded = None
    return step if step >= config.steps and recorded == step else None


def _trainer(config: RunConfig, data: Dataset, world: World | None) -> Trainer:
    group = FAMILIES[config.model].group * config.training.pack * (world.size if world else 1)
    if config.training.batch_size % group:
        raise ConfigError(
            f"batch_size is {config.training.batch_size}, expected a multiple of {group}: D of "
            f"{config.model} sees groups of samples"
        )
    trainer = Trainer(config.build_generator(), config.build_discriminator(), config.training, world=world)
    if config.training.metrics_interval and trainer.extractor is None:
        labelled_of(config.training, data)  # raises an error if there are none
    return trainer


def _prepare_metrics(trainer: Trainer, folder: Path, data: Dataset, config: RunConfig) -> None:
    """Let a trainer that measures FID keep the classifier and the real data's features in the folder."""
    if config.training.metrics_interval == 0:
        return
    if config.training.extractor is None:
        labelled = labelled_of(config.training, data)
        trainer.extractor = Features(classifier_of(labelled, folder))
        file = folder / file_of(labelled)
    else:
        file = Path(config.training.extractor)
    trainer.kept = kept_in(folder, config, file)


def _fit(trainer: Trainer, samples: Dataset | Streaming, config: RunConfig) -> Callable[[], TrainingState]:
    return lambda: trainer.fit(samples, workers=config.workers)


def _record_samples(
    trainer: Trainer,
    folder: Path,
    data: Dataset,
    fit: Callable[[], TrainingState],
    config: RunConfig,
    callbacks: Sequence[Callback],
) -> Outcome:
    _prepare_metrics(trainer, folder, data, config)
    return record(trainer, folder, SamplePictures(data), fit, callbacks)


def record(
    trainer: Trainer,
    folder: Path,
    pictures: Pictures,
    fit: Callable[[], TrainingState],
    callbacks: Sequence[Callback],
) -> Outcome:
    """Run ``fit``, which trains the trainer, and record the run in its folder, which is locked."""
    state = trainer.state
    with Recorder(folder, pictures, state.step) as recorder:
        if trainer.config.steps > state.step:
            change_steps(folder, trainer.config.steps)  # a resumed run may have more steps
        trainer.callbacks = [recorder, *callbacks]
        for row in recorder.rows:
            trainer.watch.update(int(row["step"]), row)
        trainer.missed = trainer.config.measures_at(state.step) and recorder.lacks(FID, state.step)
        with stopped_by_signals(trainer.stop):
            state = _naming_checkpoint(fit, recorder)
        return Outcome(
            folder,
            recorder.finish(state, trainer.watch.alarms, trainer.best),
            interrupted=state.step < trainer.config.steps,
        )


def follow(trainer: Trainer, fit: Callable[[], TrainingState]) -> Outcome:
    """Train in a process that does not record."""
    with stopped_by_signals(trainer.stop):
        state = fit()
    return Outcome(None, {}, interrupted=state.step < trainer.config.steps)


def _naming_checkpoint(fit: Callable[[], TrainingState], recorder: Recorder) -> TrainingState:
    try:
        return fit()
    except (DivergenceError, DataError, ExtractorError) as error:
        remedy = "; try a lower learning rate" if isinstance(error, DivergenceError) else ""
        kept = f"kept the checkpoint of step {recorder.saved_step} in {recorder.folder}"
        raise type(error)(f"{error}; {kept}{remedy}") from error
