"""Begins and resumes runs of ``fastgan train`` on a table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fastgan.data.contents import digest
from fastgan.tabular.config import TableConfig
from fastgan.tabular.gan import prepared, read_description, write_description
from fastgan.tabular.pictures import TablePictures
from fastgan.tabular.transform import TableTransform
from fastgan.training import checkpoint
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.config_file import (
    CONFIG,
    RunError,
    known_settings,
    naming_config,
    read_settings,
    write_config,
)
from fastgan.training.distributed import World
from fastgan.training.lock import locked
from fastgan.training.run import check_unchanged, new_folder, read_checkpoint
from fastgan.training.session import Outcome, follow, record
from fastgan.training.table_source import TableSource
from fastgan.training.trainer import Callback, Trainer


@dataclass(frozen=True)
class TableRun:
    """All that is needed to repeat a run on a table: the content of its config.yaml.

    Attributes:
        table: absolute path of the table.
        rows: number of its rows.
        digest: of its file, by :func:`fastgan.data.contents.digest`.
        config: settings of the GAN.
    """

    table: Path
    rows: int
    digest: str | None
    config: TableConfig

    @classmethod
    def of(cls, table: Path, frame: pd.DataFrame, config: TableConfig) -> TableRun:
        """A new run on a table."""
        return cls(table.absolute(), len(frame), digest(str(table)), config.for_rows(len(frame)))

    def as_settings(self) -> dict[str, Any]:
        """Settings by name, for config.yaml."""
        own = {"table": str(self.table), "rows": self.rows, "digest": self.digest}
        return {**own, **asdict(self.config)}


def read_run(folder: Path, device: str | None = None) -> TableRun:
    """Read a run's config.yaml; ``device`` replaces the one in it.

    Raises:
        RunError: if there is none, or it is damaged.
    """
    with naming_config(folder):
        return _parsed(read_settings(folder / CONFIG), device)


def read_run_file(path: Path, device: str | None = None) -> TableRun | None:
    """Read a config.yaml, perhaps edited, for a new run; None if it is not that of a run on a table.

    Raises:
        ConfigError: a setting in it is wrong.
    """
    try:
        content = read_settings(path)
        return _parsed(content, device) if "table" in content else None
    except OSError:
        return None  # reported by whoever reads it as that of a run on samples
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; correct it") from error


def _parsed(content: dict[str, Any], device: str | None) -> TableRun:
    own = {name: content.pop(name, None) for name in ("table", "rows", "digest")}
    if not isinstance(own["table"], str):
        raise ConfigError("table is missing")
    training = known_settings(TrainConfig, content.pop("training", None))
    config = TrainConfig(**training | ({"device": device} if device else {}))
    settings = known_settings(TableConfig, {**content, "training": config}, "the run")
    return TableRun(Path(own["table"]), own["rows"], own["digest"], TableConfig(**settings))


def begin_run(
    out: Path | None,
    run: TableRun,
    frame: pd.DataFrame,
    transform: TableTransform,
    callbacks: Sequence[Callback] = (),
    world: World | None = None,
) -> Outcome:
    """Train on a table and record the run in a new folder; see :func:`fastgan.training.session.train_run`.

    Args:
        out: the folder, which must be new or empty; None for ``runs/TABLE-NUMBER``.
        run: the run.
        frame: the table.
        transform: its columns.
        callbacks: further callbacks.
        world: processes of the run; only the first records.
    """
    torch.manual_seed(run.config.training.seed)
    trainer, source = prepared(run.config, transform, frame, world=world)
    if trainer.state.world.rank:
        return follow(trainer, lambda: trainer.fit(source))
    with new_folder(out, run.table.stem, run.as_settings()) as folder:
        counts = source.table.starts.diff().double().tolist()
        write_description(folder, run.config, transform, counts)
        checkpoint.save(folder, trainer.state)  # from now on the run can be resumed
        return _recorded(folder, run, frame, transform, trainer, source, callbacks)


def resume_run(
    folder: Path,
    run: TableRun,
    frame: pd.DataFrame,
    callbacks: Sequence[Callback] = (),
    world: World | None = None,
) -> Outcome:
    """Resume a run from its last checkpoint. The result is the same to the bit as without the interruption.

    Args:
        folder: folder of the run.
        run: the run, perhaps with more steps, or its table in another place.
        frame: the table.
        callbacks: further callbacks.
        world: processes of the run.

    Raises:
        RunError: settings or the table have changed, or there is no checkpoint.
        CheckpointError: the checkpoint is damaged.
    """
    _check_same_table(folder, run, frame)
    with nullcontext() if world and world.rank else locked(folder):
        _, transform, _ = read_description(folder)
        transform.check(frame)
        saved = read_checkpoint(folder)
        check_unchanged(folder, saved.settings, run.config.training)
        trainer, source = prepared(run.config, transform, frame, world=world)
        checkpoint.restore(saved, trainer.state)
        if trainer.state.world.rank:
            return follow(trainer, lambda: trainer.fit(source))
        with naming_config(folder):
            write_config(folder, run.as_settings())
        return _recorded(folder, run, frame, transform, trainer, source, callbacks)


def _check_same_table(folder: Path, run: TableRun, frame: pd.DataFrame) -> None:
    if run.rows not in (None, len(frame)):
        difference = f"{run.rows:,} rows, and {run.table} has {len(frame):,}"
    elif run.digest not in (None, digest(str(run.table))):
        difference = f"another table than {run.table} is now"
    else:
        return
    raise RunError(
        f"{folder}: was trained on {difference}; pass the original table as --data, or start a new run"
    )


def _recorded(
    folder: Path,
    run: TableRun,
    frame: pd.DataFrame,
    transform: TableTransform,
    trainer: Trainer,
    source: TableSource,
    callbacks: Sequence[Callback],
) -> Outcome:
    pictures = TablePictures(run.table.name, frame, transform, source)
    return record(trainer, folder, pictures, lambda: trainer.fit(source), callbacks)
