"""A GAN of tables: fitted to one, it generates others like it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from fastgan.files import save_tensors, write_folder, write_text
from fastgan.models.ctgan import CTGANDiscriminator, CTGANGenerator
from fastgan.tabular.config import TableConfig
from fastgan.tabular.dtypes import DAMAGES, Json, expect
from fastgan.tabular.encoding import spans_of, table_of
from fastgan.tabular.errors import TableError, shown
from fastgan.tabular.sampling import Conditions, Rows
from fastgan.tabular.transform import TableTransform
from fastgan.training import checkpoint
from fastgan.training.config import TrainConfig
from fastgan.training.config_file import tuples
from fastgan.training.distributed import World
from fastgan.training.setting import is_real
from fastgan.training.table_source import TableSource
from fastgan.training.trainer import Callback, Trainer

TABLE, WEIGHTS = "table.json", "generator.safetensors"
_FORMAT = 1


class TabularGAN:
    """CTGAN: learns a table with columns of any kind and generates rows like its own (Xu et al. 2019,
    arXiv:1907.00503).

    Args:
        epochs: passes over the table, by default 300. ``steps`` of
            :class:`fastgan.TrainConfig` may be given in their place.
        generator: widths of the generator's residual blocks.
        discriminator: widths of the discriminator's hidden layers.
        columns: kinds of columns that are not to be detected, such as ``{"zip": "category"}``: continuous,
            integer, datetime, timedelta, date, time, boolean or category.
        max_categories: if a column has more values, the rarest share a code, with a warning.
        log_frequency: draw the values of discrete columns by the logarithm of their frequency while training,
            or by the frequency.
        **settings: fields of :class:`fastgan.TrainConfig`; by default those of CTGAN: ``batch_size=500``,
            ``latent_dim=128``, ``pack=10``, ``objective="wasserstein"`` with ``gp_weight=10``, Adam with
            ``learning_rate=2e-4``, ``betas=(0.5, 0.9)`` and ``weight_decay=1e-6``.

    Raises:
        ConfigError: a setting is unknown or wrong; the message names it.

    Attributes:
        config: the settings.
        transform: the columns of the table; None before :meth:`fit`.
        trainer: the trainer of the last :meth:`fit`, with its state and alarms; None without one.

    Example:
        >>> gan = TabularGAN(epochs=100).fit(frame)
        >>> synthetic = gan.sample(1_000)
        >>> women = gan.sample(100, conditions={"sex": "female"})
    """

    def __init__(
        self,
        *,
        epochs: int | None = None,
        generator: Sequence[int] = (256, 256),
        discriminator: Sequence[int] = (256, 256),
        columns: dict[str | int, str] | None = None,
        max_categories: int = 500,
        log_frequency: bool = True,
        **settings: Any,
    ) -> None:
        self.config = TableConfig().changed(
            epochs=epochs,
            generator=generator,
            discriminator=discriminator,
            columns=columns or {},
            max_categories=max_categories,
            log_frequency=log_frequency,
            **settings,
        )
        self.transform: TableTransform | None = None
        self.trainer: Trainer | None = None
        self._rows: Rows | None = None

    def fit(self, table: Any, callbacks: Sequence[Callback] = ()) -> TabularGAN:
        """Train on a table.

        The same seed, table and settings give the same generator. torch's global random state is not changed.

        Args:
            table: a pandas or polars DataFrame, a pyarrow.Table, or another with Arrow's C stream, with at
                least two rows.
            callbacks: of :class:`fastgan.training.trainer.Callback`.

        Returns:
            This object.

        Raises:
            TableError: the table cannot be used; the message names the column and the row.
            DivergenceError: a loss became nan or infinite.
        """
        frame = _frame(table)
        config = self.config.for_rows(len(frame))
        with _own_randomness(config.training):
            transform = fitted(config, frame)
            trainer, source = prepared(config, transform, frame, callbacks)
            trainer.fit(source)
        self.transform, self.trainer = transform, trainer
        average = trainer.state.average
        assert isinstance(average, CTGANGenerator)
        counts = source.table.starts.diff().double().cpu()
        self._rows = Rows(average, transform, counts, config.training.latent)
        return self

    def sample(self, n: int, conditions: Conditions | None = None, seed: int | None = None) -> pd.DataFrame:
        """Generate rows.

        Args:
            n: how many.
            conditions: values of discrete columns that all rows have, such as ``{"sex": "female"}``. No row
                is drawn and rejected: the generator is conditioned on the value, on one at random for each
                row if there are several.
            seed: the rows of a seed are always the same; None draws one from torch's global generator.

        Returns:
            A frame with the columns, dtypes, categories and ranges of the table that was fitted.

        Raises:
            TableError: not fitted; an argument has a wrong type; or a condition is on no discrete column or
                on a value that never occurs.
        """
        chunks = list(self.chunks(n, conditions, seed))
        return chunks[0] if len(chunks) == 1 else pd.concat(chunks, ignore_index=True)

    def chunks(
        self, n: int, conditions: Conditions | None = None, seed: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """:meth:`sample` in frames of at most 5,000 rows, for more rows than fit in memory."""
        if self._rows is None:
            raise TableError("this TabularGAN is not fitted; call fit or load first")
        if not _is_whole(n) or n < 1:
            raise TableError(f"n is {n!r}, expected a whole number from 1 on")
        if seed is None:
            seed = int(torch.randint(2**62, ()))
        elif not _is_whole(seed) or not 0 <= seed < 2**63:
            raise TableError(f"seed is {seed!r}, expected a whole number from 0 to 2**63 - 1")
        if conditions is None:
            conditions = {}
        elif not isinstance(conditions, Mapping):
            raise TableError(
                f"conditions is {shown(conditions)}, expected values by column, such as {{'sex': 'female'}}"
            )
        return self._rows.draw(int(n), conditions, int(seed))

    def to(self, device: str | torch.device) -> TabularGAN:
        """Move the fitted generator to a device, on which it then generates rows.

        Raises:
            TableError: not fitted.
        """
        if self._rows is None:
            raise TableError("this TabularGAN is not fitted; call fit or load first")
        self._rows.generator.to(device)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the generator and the columns to a folder: JSON and safetensors, nothing pickled.

        Args:
            folder: new or empty.

        Raises:
            TableError: not fitted.
            WriteError: it cannot be written, or has files in it; nothing is left half-written.
        """
        if self._rows is None:
            raise TableError("this TabularGAN is not fitted; call fit or load first")
        rows = self._rows

        def fill(inside: Path) -> None:
            write_description(inside, self.config, rows.transform, rows.counts.tolist())
            tensors = {name: t.detach().cpu() for name, t in rows.generator.state_dict().items()}
            save_tensors({name: t.clone() for name, t in tensors.items()}, inside / WEIGHTS)

        write_folder(Path(folder), fill)

    @classmethod
    def load(cls, folder: str | Path) -> TabularGAN:
        """Read what :meth:`save` wrote, or the folder of a run of ``fastgan train`` on a table.

        Returns:
            A fitted object on the CPU.

        Raises:
            TableError: the folder holds no such thing, or it is damaged.
            CheckpointError: a run's checkpoint is damaged.
        """
        folder = Path(folder)
        config, transform, counts = read_description(folder)
        gan = cls()
        gan.config, gan.transform = config, transform
        training = config.training
        generator = CTGANGenerator(training.latent_dim, spans_of(transform), config.generator)
        weights = folder / WEIGHTS
        try:
            if weights.is_file():
                generator.load_state_dict(load_file(weights))
            elif (folder / checkpoint.INDEX).is_file():
                checkpoint.read(folder).load_module("average", generator)
            else:
                raise TableError(f"{weights}: is no file; restore it, or save the generator again")
        except (SafetensorError, RuntimeError) as error:
            raise TableError(f"{weights}: is not the generator of {TABLE}; restore both files") from error
        gan._rows = Rows(
            generator.eval(), transform, torch.tensor(counts, dtype=torch.float64), training.latent
        )
        return gan


def _is_whole(value: object) -> bool:
    """Whether a value is an integer of Python or NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _frame(table: Any) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    from fastgan.tabular.frames import to_pandas  # Arrow's readers, which a frame of pandas does not need

    return to_pandas(table)


def fitted(config: TableConfig, frame: pd.DataFrame) -> TableTransform:
    """The transform of a table with these settings."""
    return TableTransform.fit(
        frame,
        columns=config.columns,
        max_categories=config.max_categories,
        seed=config.training.seed,
    )


def prepared(
    config: TableConfig,
    transform: TableTransform,
    frame: pd.DataFrame,
    callbacks: Sequence[Callback] = (),
    world: World | None = None,
) -> tuple[Trainer, TableSource]:
    """An untrained trainer for a table, and the table encoded on its device."""
    training, spans = config.training, spans_of(transform)
    generator = CTGANGenerator(training.latent_dim, spans, config.generator)
    width = training.pack * (spans.width + spans.num_conditions)
    discriminator = CTGANDiscriminator(width, config.discriminator)
    trainer = Trainer(generator.float(), discriminator.float(), training, callbacks, world)
    table = table_of(transform, transform.encode(frame, training.seed), trainer.state.device)
    return trainer, TableSource(table, log_frequency=config.log_frequency)


def write_description(
    folder: Path, config: TableConfig, transform: TableTransform, counts: Sequence[float]
) -> None:
    """Write table.json: settings, columns, and the number of rows with each condition."""
    content = {
        "format": _FORMAT,
        "config": {**asdict(config), "columns": list(config.columns.items())},
        "counts": list(counts),
        "columns": transform.to_json(),
        "columns_name": transform.name,
    }
    write_text(folder / TABLE, json.dumps(content, indent=1) + "\n")


def read_description(folder: Path) -> tuple[TableConfig, TableTransform, list[float]]:
    """What :func:`write_description` wrote.

    Raises:
        TableError: if it is missing or damaged.
    """
    path = folder / TABLE
    if not path.is_file():
        raise TableError(
            f"{folder}: holds no {TABLE}; give a folder that TabularGAN.save or fastgan train made"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
        if version == _FORMAT:
            return _described(content)
    except KeyError as error:
        raise TableError(f"{path}: damaged (it lacks {error}); restore it, or fit again") from error
    except DAMAGES as error:
        raise TableError(f"{path}: damaged ({error}); restore it, or fit again") from error
    raise TableError(f"{path}: written by another version of fastgan; use that one")


def _described(content: Json) -> tuple[TableConfig, TableTransform, list[float]]:
    settings = {**content["config"], "columns": dict(content["config"]["columns"])}
    training = TrainConfig(**tuples({**settings.pop("training"), "device": "cpu"}))
    config = TableConfig(training, **settings)
    # folders written before the name was kept have none
    transform = TableTransform.from_json(content["columns"], content.get("columns_name"))
    counts, conditions = content["counts"], spans_of(transform).num_conditions
    expect(len(counts) == conditions, f"{conditions} counts, a number for each condition, not {len(counts)}")
    expect(all(is_real(count) and 0 <= count < np.inf for count in counts), "counts from 0 on")
    return config, transform, list(map(float, counts))


@contextmanager
def _own_randomness(config: TrainConfig) -> Iterator[None]:
    """Weights and dropout that depend on the seed alone; torch's global state is restored afterwards."""
    device = torch.device(config.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        yield
