"""The folder of a run: its creation, its config.yaml, and checks before a run is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from torch import nn

from fastgan.data import BUILT_IN, Dataset
from fastgan.data.contents import file_of, located
from fastgan.data.folder import Framing
from fastgan.data.transform import Transform
from fastgan.files import WriteError, naming
from fastgan.training import checkpoint
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.config_file import (
    CONFIG,
    RunError,
    known_settings,
    naming_config,
    plain,
    read_settings,
    tuples,
    write_config,
)
from fastgan.training.lock import LOCK, locked
from fastgan.training.run_config import RunConfig

# Settings that may change when a run is resumed. Only `steps`, on which schedules depend, affects results
# (and another device, by its rounding).
_FREE = frozenset(
    {
        "capture",
        "checkpoint_interval",
        "checkpoint_minutes",
        "device",
        "extractor",
        "keep",
        "log_interval",
        "metrics_interval",
        "metrics_samples",
        "sample_interval",
        "steps",
        "steps_per_replay",
        "threads",
    }
)


@contextmanager
def new_folder(out: Path | None, name: str, settings: dict[str, Any]) -> Iterator[Path]:
    """Make a run's folder, write its config.yaml, and lock it for other processes.

    Args:
        out: the folder, which must be new or empty; None for the first of ``runs/NAME-1``, ``runs/NAME-2``, …
            that does not exist.
        name: NAME, for that case.
        settings: settings of the run by name, for config.yaml.

    Raises:
        RunError: if the folder is not empty; nothing is changed then.
        LockedError: if another process is beginning a run there.
        WriteError: if it cannot be written; new files are removed then, unless there is a checkpoint.
    """
    folder, made = _made_default(name) if out is None else _made(out)
    was_empty = False
    try:
        with locked(folder):
            _check_empty(folder)
            was_empty = True
            write_config(folder, settings)
            yield folder
    except (WriteError, checkpoint.CheckpointError):
        if not (folder / checkpoint.INDEX).exists():
            with suppress(OSError):
                for path in list(folder.iterdir()) if was_empty else [folder / LOCK]:
                    path.unlink(missing_ok=True)
                if made:
                    folder.rmdir()
        raise


def _made_default(name: str) -> tuple[Path, bool]:
    for number in count(1):
        folder = Path("runs") / f"{name}-{number}"
        with naming(folder.parent):
            folder.parent.mkdir(exist_ok=True)
        with naming(folder), suppress(FileExistsError):
            folder.mkdir()  # if several runs begin at once, only one of them succeeds
            break
    return folder, True


def _made(folder: Path) -> tuple[Path, bool]:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; give another folder as --out")
    made = not folder.exists()
    if not made:
        _check_empty(folder)
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder, made


def _check_empty(folder: Path) -> None:
    if any(path.name != LOCK for path in folder.iterdir()):
        held = "another run" if (folder / CONFIG).exists() else "other files"
        raise RunError(f"{folder}: holds {held}; give another folder as --out, or remove it")


def read_config(folder: Path, device: str | None) -> RunConfig:
    """Read a run's config.yaml.

    Args:
        folder: folder of the run.
        device: replaces the device in the file; None to keep that.

    Raises:
        RunError: if there is no config.yaml or it is damaged.
    """
    if (folder / "table.json").is_file():
        raise RunError(f"{folder}: was trained on a table, which this does not take; use fastgan.tabular")
    with naming_config(folder):
        return _parsed(read_settings(folder / CONFIG), device)


def read_config_file(path: Path, device: str | None) -> RunConfig:
    """Read a run's config.yaml, perhaps edited, for a new run.

    Args:
        path: the file.
        device: replaces the device in the file; None to keep that.

    Raises:
        ConfigError: if it cannot be read, or a setting in it is wrong.
    """
    try:
        return _parsed(read_settings(path), device)
    except OSError as error:
        remedy = f"give the {CONFIG} of a run as --config"
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; correct it") from error


def with_data(folder: Path, config: RunConfig, source: str | None, data_dir: Path | None) -> RunConfig:
    """The configuration of a run whose data may have moved.

    Args:
        folder: folder of the run.
        config: the stored configuration.
        source: new place of the data; None for the stored one.
        data_dir: new folder of downloaded sets; None for the stored one.

    Raises:
        RunError: if the data are not there, or ``source`` names another built-in set.
    """
    now = located(source) if source else config.data
    if config.data in BUILT_IN and now != config.data:
        raise RunError(f"{folder}: was trained on {config.data}; omit {source}")
    if now not in BUILT_IN and not file_of(now).exists():
        raise RunError(f"{folder}: its data are not at {now}; pass their path as --data")
    return replace(config, data=now, data_dir=str(data_dir.absolute()) if data_dir else config.data_dir)


def note_data(folder: Path, config: RunConfig) -> None:
    """Update the data's place, size, names of classes and digests in config.yaml, if they differ.

    Raises:
        WriteError: if it cannot be written.
    """
    with naming_config(folder):
        content = read_settings(folder / CONFIG)
    names = "data", "data_dir", "stream", "workers", "samples", "digest", "class_names", "labels_digest"
    noted = {**content, **{name: getattr(config, name) for name in names}}
    if noted != content:
        write_config(folder, noted)


def change_steps(folder: Path, steps: int) -> None:
    """Update the number of steps in config.yaml, if it differs.

    Raises:
        WriteError: if it cannot be written.
    """
    with naming_config(folder):
        content = read_settings(folder / CONFIG)
    if content["training"]["steps"] != steps:
        write_config(folder, {**content, "training": {**content["training"], "steps": steps}})


def load_generator(folder: Path, *, best: bool = False) -> tuple[RunConfig, nn.Module]:
    """The averaged generator of a run, ready to sample from, on the CPU.

    Args:
        folder: folder of the run.
        best: whether to read the checkpoint with the lowest FID instead of the latest one.

    Raises:
        RunError: if the folder is not that of a run, or it has no checkpoint.
        CheckpointError: if its checkpoint is damaged.
    """
    # this machine may not have the device of the run
    config = read_config(folder, device="cpu")
    generator = config.build_generator()
    read_checkpoint(folder, best=best).load_module("average", generator)
    return config, generator.eval()


def read_checkpoint(folder: Path, *, best: bool = False) -> checkpoint.Checkpoint:
    """The latest checkpoint of a run, or the one with the lowest FID.

    Raises:
        RunError: if there is none yet.
        CheckpointError: if it is damaged, or FID was not measured.
    """
    _check_there(folder)
    return checkpoint.read(folder, best=best)


def peek_checkpoint(folder: Path) -> tuple[int, dict[str, Any]]:
    """Step and settings of the latest checkpoint of a run; raises as :func:`read_checkpoint`."""
    _check_there(folder)
    return checkpoint.peek(folder)


def check_data(folder: Path, config: RunConfig, data: Dataset) -> None:
    """Refuse data whose shape or labels do not fit the run's networks.

    Raises:
        RunError: with what the run has, and what the data have.
    """
    if config.num_classes and data.num_classes != config.num_classes:
        raise RunError(
            f"{folder}: was trained on {config.num_classes} classes, and {data.name} has "
            f"{data.num_classes or 'no labels'}; pass its original data"
        )
    if data.shape != config.sample_shape:
        raise RunError(
            f"{folder}: was trained on samples of shape {list(config.sample_shape)}, those of {data.name} "
            f"are {list(data.shape)}; pass its original --data-dir"
        )


def check_unchanged(folder: Path, saved: dict[str, Any], wanted: TrainConfig) -> None:
    """Refuse to resume a run with other settings.

    Args:
        folder: folder of the run.
        saved: settings stored in its checkpoint.
        wanted: requested settings.

    Raises:
        RunError: with each setting that differs and both values.
        CheckpointError: if the stored settings are damaged.
    """
    try:
        settings = known_settings(TrainConfig, tuples(saved))
        kept = TrainConfig(**{**settings, "device": wanted.device})  # the stored device may not exist here
    except ConfigError as error:
        raise checkpoint.CheckpointError(
            f"{folder / checkpoint.INDEX}: damaged ({error}); restore it"
        ) from error
    before, now = asdict(kept), asdict(wanted)
    changed = [
        f"{name} {before[name]} became {now[name]}"
        for name in before
        if name not in _FREE and plain(before[name]) != plain(now[name])
    ]
    if changed:
        changes = ", ".join(changed)
        raise RunError(f"{folder}: {changes}; resume with its original settings, or start a new run")


def _parsed(content: dict[str, Any], device: str | None) -> RunConfig:
    settings = known_settings(TrainConfig, content.pop("training", None))
    content["training"] = TrainConfig(**settings | ({"device": device} if device else {}))
    if "scale" in content:  # earlier versions divided points by one number
        content["transform"] = {"scale": (content.pop("scale"),)}
    for name, of in (("transform", Transform), ("framing", Framing)):
        if name in content:
            content[name] = of(**known_settings(of, content[name], name))
    return RunConfig(**known_settings(RunConfig, content))


def _check_there(folder: Path) -> None:
    if not (folder / checkpoint.INDEX).exists():
        raise RunError(f"{folder}: stopped before its first checkpoint; train again")
