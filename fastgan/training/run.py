"""The folder of a run: where it is made, and the config.yaml that says what was trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from fastgan.data import Dataset
from fastgan.data.dataset import is_image, is_points
from fastgan.files import WriteError, naming, write_text
from fastgan.models import FAMILIES
from fastgan.training import checkpoint
from fastgan.training.config import ConfigError, TrainConfig, is_real, is_whole
from fastgan.training.recipes import Recipe

CONFIG = "config.yaml"
# what a run may go on with another value of: the numbers stay the same, or as near as another device's
_FREE = frozenset(
    {
        "capture",
        "checkpoint_interval",
        "device",
        "keep",
        "log_interval",
        "sample_interval",
        "steps_per_replay",
        "threads",
    }
)


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
        model: the networks' family, a key of ``fastgan.models.FAMILIES``.

    Raises:
        ConfigError: if a value is of another type or out of its range.
    """

    data: str
    sample_shape: tuple[int, ...]
    scale: float
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    training: TrainConfig
    model: str = "mlp"

    def __post_init__(self) -> None:
        valid = {
            "data": isinstance(self.data, str),
            "sample_shape": _are_widths(self.sample_shape)
            and (is_points(self.sample_shape) or is_image(self.sample_shape)),
            "scale": is_real(self.scale) and 0 < self.scale < math.inf,
            "generator": _are_widths(self.generator),
            "discriminator": _are_widths(self.discriminator),
            "model": isinstance(self.model, str) and self.model in FAMILIES,
        }
        for name, is_valid in valid.items():
            if not is_valid:
                raise ConfigError(f"{name} is {getattr(self, name)!r}")
        objective = self.training.objective
        if (objective == "began") != (self.model == "autoencoder"):
            raise ConfigError(
                f"model is {self.model!r}, which the {objective} objective cannot train: "
                "began takes an autoencoder, and no other does"
            )

    @classmethod
    def of(cls, source: str, data: Dataset, recipe: Recipe) -> RunConfig:
        """The configuration of a run of this recipe on this data."""
        networks = recipe.generator, recipe.discriminator
        return cls(source, data.shape, data.scale, *networks, recipe.config, recipe.model)

    def build_generator(self) -> nn.Module:
        """An untrained generator; that of images is bounded.

        Raises:
            ConfigError: if the model has none of such widths for such samples, as below.
        """
        with self._naming_model():
            return FAMILIES[self.model].generator(self.training.latent_dim, self.sample_shape, self.generator)

    def build_discriminator(self) -> nn.Module:
        """An untrained discriminator, of packs of samples."""
        first, *rest = self.sample_shape
        pack = self.training.pack * first, *rest
        with self._naming_model():
            return FAMILIES[self.model].discriminator(pack, self.discriminator)

    @contextmanager
    def _naming_model(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ConfigError(f"model is {self.model!r}: {error}") from error


def create_default(name: str, config: RunConfig) -> Path:
    """Make the first of ``runs/NAME-1``, ``runs/NAME-2``, … that is free, and write its config.yaml.

    Raises:
        WriteError: if it cannot be written.
    """
    for number in count(1):
        folder = Path("runs") / f"{name}-{number}"
        try:
            with naming(folder.parent):
                folder.parent.mkdir(exist_ok=True)
            folder.mkdir()  # of several runs that begin at once, one succeeds
        except FileExistsError:
            continue
        _write_config(folder, config, made=True)
        break
    return folder


def create(folder: Path, config: RunConfig) -> Path:
    """Make the folder and write its config.yaml.

    Raises:
        RunError: if there is something already; nothing is touched then.
        WriteError: if it cannot be written.
    """
    if folder.is_file():
        raise RunError(f"{folder}: is a file; give another folder as --out")
    if folder.is_dir() and any(folder.iterdir()):
        held = "another run" if (folder / CONFIG).exists() else "other files"
        raise RunError(f"{folder}: holds {held}; give another folder as --out, or remove it")
    made = not folder.exists()
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _write_config(folder, config, made=made)
    return folder


def read_config(folder: Path, device: str | None) -> RunConfig:
    """Read a run's config.yaml.

    Args:
        folder: of the run.
        device: in place of the one it was trained on; None for that one.

    Raises:
        RunError: if there is none or it is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RunError(f"{folder}: holds no {CONFIG}; give the folder of a run")
    try:
        fields = tuples(yaml.safe_load(path.read_text(encoding="utf-8")))
        settings = fields.pop("training")
        training = TrainConfig(**{**settings, "device": device or settings["device"]})
        return RunConfig(**fields, training=training)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"{path}: damaged ({reason}); restore it") from error


def load_generator(folder: Path) -> tuple[RunConfig, nn.Module]:
    """The averaged generator of a run, ready to sample from, on the CPU.

    Raises:
        RunError: if the folder is not that of a run, or it has no checkpoint.
        CheckpointError: if its checkpoint is damaged.
    """
    # samples are drawn wherever this machine can, not where the run was trained
    config = read_config(folder, device="cpu")
    generator = config.build_generator()
    read_checkpoint(folder).load_module("average", generator)
    return config, generator.eval()


def read_checkpoint(folder: Path) -> checkpoint.Checkpoint:
    """The latest checkpoint of a run.

    Raises:
        RunError: if there is none yet.
        CheckpointError: if it is damaged.
    """
    if not (folder / checkpoint.INDEX).exists():
        raise RunError(f"{folder}: stopped before its first checkpoint; train again")
    return checkpoint.read(folder)


def check_data(folder: Path, config: RunConfig, data: Dataset) -> None:
    """Refuse data that the run's networks do not take.

    Raises:
        RunError: naming both shapes.
    """
    if data.shape != config.sample_shape:
        raise RunError(
            f"{folder}: was trained on samples of shape {list(config.sample_shape)}, those of {data.name} "
            f"are {list(data.shape)}; give the --data-dir that it began with"
        )


def check_unchanged(folder: Path, kept: TrainConfig, wanted: TrainConfig) -> None:
    """Refuse to go on with other settings: the run would be neither the one nor the other.

    Raises:
        RunError: naming each setting that differs, with both values.
    """
    before, now = asdict(kept), asdict(wanted)
    changed = [
        f"{name} {before[name]} became {now[name]}"
        for name in before
        if name not in _FREE and _plain(before[name]) != _plain(now[name])
    ]
    if changed:
        raise RunError(f"{folder}: {', '.join(changed)}; resume with what it began with, or train anew")


def _write_config(folder: Path, config: RunConfig, *, made: bool) -> None:
    """Write config.yaml; if that fails, remove the folder that was made for it."""
    try:
        write_text(folder / CONFIG, yaml.safe_dump(_plain(asdict(config)), sort_keys=False))
    except WriteError:
        if made:
            folder.rmdir()
        raise


def _are_widths(value: object) -> bool:
    return isinstance(value, tuple) and all(is_whole(width) and width >= 1 for width in value)


def _plain(value: Any) -> Any:
    """Tuples as lists, since YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def tuples(value: Any) -> Any:
    """Lists as tuples, back from YAML or JSON."""
    if isinstance(value, dict):
        return {key: tuples(entry) for key, entry in value.items()}
    return tuple(value) if isinstance(value, list) else value
