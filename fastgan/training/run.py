"""The folder of a run: where it is made, and the config.yaml that says what was trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from fastgan.data import Dataset
from fastgan.data.dataset import is_image
from fastgan.files import write_text
from fastgan.models import MLPDiscriminator, MLPGenerator
from fastgan.training import checkpoint
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.recipes import Recipe

CONFIG = "config.yaml"


class RunError(ValueError):
    """A run's folder that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to build a run's networks and to repeat it.

    Attributes:
        data: what the user named: a built-in data set or a path.
        sample_shape: shape of one sample.
        scale: data units per unit of a sample.
        generator: widths of the generator's hidden layers.
        discriminator: widths of the discriminator's hidden layers.
        training: settings of the run.
    """

    data: str
    sample_shape: tuple[int, ...]
    scale: float
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    training: TrainConfig

    @classmethod
    def of(cls, source: str, data: Dataset, recipe: Recipe) -> RunConfig:
        """The configuration of a run of this recipe on this data."""
        return cls(source, data.shape, data.scale, recipe.generator, recipe.discriminator, recipe.config)

    def build_generator(self) -> MLPGenerator:
        """An untrained generator; for images it ends in a tanh."""
        bounded = is_image(self.sample_shape)
        latent_dim = self.training.latent_dim
        return MLPGenerator(latent_dim, self.sample_shape, self.generator, bounded=bounded)

    def build_discriminator(self) -> MLPDiscriminator:
        """An untrained discriminator."""
        return MLPDiscriminator(self.sample_shape, self.discriminator)


def default_folder(name: str) -> Path:
    """The first of ``runs/NAME-1``, ``runs/NAME-2``, … that does not exist."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def create(folder: Path, config: RunConfig) -> None:
    """Make the folder and write its config.yaml.

    Raises:
        RunError: if there is something already; nothing is touched then.
    """
    if folder.is_file():
        raise RunError(f"{folder}: is a file; give another folder as --out")
    if folder.is_dir() and any(folder.iterdir()):
        held = "another run" if (folder / CONFIG).exists() else "other files"
        raise RunError(f"{folder}: holds {held}; give another folder as --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, yaml.safe_dump(_plain(asdict(config)), sort_keys=False))


def read_config(folder: Path) -> RunConfig:
    """Read a run's config.yaml.

    Raises:
        RunError: if there is none or it is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RunError(f"{folder}: holds no {CONFIG}; give the folder of a run")
    try:
        fields = _tuples(yaml.safe_load(path.read_text(encoding="utf-8")))
        # samples are drawn wherever this machine can, not where the run was trained
        training = TrainConfig(**{**fields.pop("training"), "device": "cpu"})
        return RunConfig(**fields, training=training)
    except (yaml.YAMLError, ConfigError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"{path}: damaged ({reason}); restore it") from error


def load_generator(folder: Path) -> tuple[RunConfig, torch.nn.Module]:
    """The averaged generator of a run, ready to sample from, on the CPU.

    Raises:
        RunError: if the folder is not that of a run.
        CheckpointError: if it has no checkpoint, or a damaged one.
    """
    config = read_config(folder)
    generator = config.build_generator()
    checkpoint.read(folder).load_module("average", generator)
    return config, generator.eval()


def _plain(value: Any) -> Any:
    """Tuples as lists, since YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(value) if isinstance(value, list) else value
