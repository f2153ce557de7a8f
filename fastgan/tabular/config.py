"""Settings of a GAN of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from fastgan.training.config import SETTINGS, ConfigError, TrainConfig
from fastgan.training.setting import is_whole

CTGAN = TrainConfig(
    batch_size=500,
    latent_dim=128,
    pack=10,
    objective="wasserstein",
    gp_weight=10.0,
    penalty_interval=1,
    learning_rate=2e-4,
    learning_rate_decay=0.0,
    betas=(0.5, 0.9),
    weight_decay=1e-6,
    ema_decay=0.0,
)
"""The settings of Xu et al. 2019 (arXiv:1907.00503) and of their package; steps follow from epochs."""


@dataclass(frozen=True)
class TableConfig:
    """All that is needed to build the networks of a table and to repeat their training.

    Attributes:
        training: settings of the loop.
        epochs: passes over the table, from which ``training.steps`` follows; None if steps were given.
        generator: widths of the generator's residual blocks.
        discriminator: widths of the discriminator's hidden layers.
        columns: kinds of columns that are not to be detected.
        max_categories: categories of a column that have a code of their own.
        log_frequency: whether training draws a value by the logarithm of its frequency.

    Raises:
        ConfigError: if a value has a wrong type or is out of range.
    """

    training: TrainConfig = CTGAN
    epochs: int | None = 300
    generator: tuple[int, ...] = (256, 256)
    discriminator: tuple[int, ...] = (256, 256)
    columns: Mapping[str | int, str] = field(default_factory=dict)
    max_categories: int = 500
    log_frequency: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "generator", _tuple(self.generator))
        object.__setattr__(self, "discriminator", _tuple(self.discriminator))
        object.__setattr__(self, "columns", self.columns or {})
        valid = {
            "epochs": (self.epochs is None or _is_count(self.epochs), "a whole number from 1 on"),
            "generator": (_are_widths(self.generator), "widths of blocks, such as (256, 256)"),
            "discriminator": (_are_widths(self.discriminator), "widths of layers, such as (256, 256)"),
            "columns": (isinstance(self.columns, Mapping), "kinds by column, such as {'age': 'continuous'}"),
            "max_categories": (_is_count(self.max_categories, 2), "a whole number from 2 on"),
            "log_frequency": (isinstance(self.log_frequency, bool), "True or False"),
        }
        for name, (is_valid, expected) in valid.items():
            if not is_valid:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        if self.training.objective == "began":
            raise ConfigError("objective is 'began', which is for images; take another one for a table")

    def changed(self, *, epochs: int | None = None, **settings: Any) -> TableConfig:
        """The same with other settings, of this class or of TrainConfig.

        Raises:
            ConfigError: if there is no such setting, or a value is wrong.
        """
        training = {name: settings.pop(name) for name in list(settings) if name in SETTINGS}
        known = {each.name for each in fields(self)} - {"training"}
        for name in settings:
            if name not in known:
                close = get_close_matches(name, [*known, *SETTINGS], n=1)
                raise ConfigError(f"no setting is called {name}{f', but {close[0]} is' if close else ''}")
        if "steps" in training:
            if epochs is not None:
                raise ConfigError(f"epochs is {epochs} and steps is {training['steps']}; give one of them")
        else:
            epochs = epochs if epochs is not None else self.epochs
        return replace(self, training=replace(self.training, **training), epochs=epochs, **settings)

    def for_rows(self, rows: int) -> TableConfig:
        """The same with the steps of a table of so many rows."""
        if self.epochs is None:
            return self
        steps = self.epochs * max(rows // self.training.batch_size, 1)
        return replace(self, training=replace(self.training, steps=steps))


def _tuple(widths: object) -> object:
    return tuple(widths) if isinstance(widths, Sequence) and not isinstance(widths, str) else widths


def _is_count(value: object, least: int = 1) -> bool:
    return is_whole(value) and value >= least  # type: ignore[operator]


def _are_widths(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_count, value))
