"""Begins and resumes runs of ``fastgan train`` on a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fastgan.data.contents import digest
from fastgan.tabular.config import TableConfig
from fastgan.tabular.errors import TableError
from fastgan.tabular.frames import read_table
from fastgan.tabular.gan import TABLE, fitted, prepared, read_description, write_description
from fastgan.tabular.pictures import TablePictures
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
from fastgan.training.session import Outcome, recorded
from fastgan.training.table_source import TableSource
from fastgan.training.trainer import Callback, Trainer


@dataclass(frozen=True)
class TableRun:
    """The content of a table run's config.yaml.

    Attributes:
        table: absolute path of the table.
        rows: its rows.
        digest: of its file, by :func:`fastgan.data.contents.digest`.
        settings: settings of the GAN.
    """

    table: str
    rows: int
    digest: str | None
    settings: TableConfig
