"""The configuration of a run: data, networks and settings."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from fastgan.data import Dataset
from fastgan.data.contents import digest, labels_digest, located
from fastgan.data.dataset import is_image, is_points
from fastgan.data.folder import AS_THEY_ARE, Framing
from fastgan.data.transform import Transform
from fastgan.models import FAMILIES
from fastgan.training.config import ConfigError, TrainConfig
from fastgan.training.recipes import Recipe
from fastgan.training.setting import is_whole


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to build a run's networks and to repeat it.

    Attributes:
        data: a built-in data set, or an absolute path.
        sample_shape: shape of one sample.
        transform: from the data's own units to samples.
        generator: widths of the generator's hidden layers.
        discriminator: widths of the discriminator's hidden layers.
        training: settings of the run.
        model: the networks' family, a key of ``fastgan.models.FAMILIES``.
        data_dir: folder of downloaded sets, an absolute path; None to fetch them.
        stream: whether the data stay on the disk while training; None in runs of earlier versions.
        workers: number of processes that read streamed data.
        samples: number of samples; None in runs of earlier versions.
        digest: digest of the data by :func:`fastgan.data.contents.digest`.
        framing: how photos of a folder are cropped and scaled.
        num_classes: number of classes; 0 for a run without labels.
        class_names: names of the classes, in order; empty if they have only numbers, and in runs of earlier
            versions.
        labels_digest: digest of the labels by :func:`fastgan.data.contents.labels_digest`; None in runs
            without labels, and in those of earlier versions.

    Raises:
        ConfigError: if a value has a wrong type or is out of range.
    """

    data: str
    sample_shape: tuple[int, ...]
    transform: Transform
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    training: TrainConfig
    model: str = "mlp"
    data_dir: str | None = None
    stream: bool | None = None
    workers: int = 2
    samples: int | None = None
    digest: str | None = None
    framing: Framing = AS_THEY_ARE
    num_classes: int = 0
    class_names: tuple[str, ...] = ()
    labels_digest: str | None = None

    def __post_init__(self) -> None:
        is_shape = _are_widths(self.sample_shape) and (
            is_points(self.sample_shape) or is_image(self.sample_shape)
        )
        is_transform = isinstance(self.transform, Transform) and (
            len(self.transform.scale) == 1 or (len(self.transform.scale),) == self.sample_shape
        )
        valid = {
            "data": (isinstance(self.data, str), "a built-in data set or a path"),
            "sample_shape": (is_shape, "the number of axes, or channels, height and width"),
            "transform": (is_transform, "one scale and offset, or one for each axis of a point"),
            "generator": (_are_widths(self.generator), "widths of layers"),
            "discriminator": (_are_widths(self.discriminator), "widths of layers"),
            "model": (isinstance(self.model, str) and self.model in FAMILIES, " or ".join(FAMILIES)),
            "data_dir": (isinstance(self.data_dir, str | None), "a path"),
            "stream": (isinstance(self.stream, bool | None), "true or false"),
            "workers": (is_whole(self.workers) and self.workers >= 0, "a whole number from 0 on"),
            "samples": (self.samples is None or is_whole(self.samples), "a whole number"),
            "digest": (isinstance(self.digest, str | None), "a hexadecimal number"),
            "framing": (isinstance(self.framing, Framing), "size, crop and flip"),
            "num_classes": (
                is_whole(self.num_classes) and (self.num_classes > 0) == self.training.labels,
                f"{'at least 1' if self.training.labels else '0'}, as labels is {self.training.labels}",
            ),
            "class_names": (_are_names(self.class_names, self.num_classes), "a name for each class, or none"),
            "labels_digest": (isinstance(self.labels_digest, str | None), "a hexadecimal number"),
        }
        for name, (is_valid, expected) in valid.items():
            if not is_valid:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        if self.num_classes and not FAMILIES[self.model].has_classes:
            models = " or ".join(name for name, family in FAMILIES.items() if family.has_classes)
            raise ConfigError(
                f"model is {self.model!r}, whose networks take no labels; omit --labels, or use {models}"
            )
        if self.training.augment and not is_image(self.sample_shape):
            raise ConfigError(f"augment is True, which is for images, and {self.title} has points")
        objective = self.training.objective
        if (objective == "began") != (self.model == "autoencoder"):
            raise ConfigError(
                f"model is {self.model!r}, which the {objective} objective cannot train: "
                "began takes an autoencoder, and no other does"
            )

    @property
    def title(self) -> str:
        """The name of the data, without their folder."""
        return Path(self.data).name

    @property
    def recipe(self) -> Recipe:
        """The networks and settings, without the data."""
        return Recipe(self.generator, self.discriminator, self.training, self.model)

    @property
    def data_path(self) -> Path | None:
        """``data_dir`` as a path."""
        return None if self.data_dir is None else Path(self.data_dir)

    @classmethod
    def of(cls, source: str, data: Dataset, recipe: Recipe, framing: Framing | None = None) -> RunConfig:
        """The configuration of a run with this recipe and data.

        Raises:
            ConfigError: if the recipe needs labels, which the data lack, or its networks take none.
        """
        known = data.shape, data.transform, recipe.generator, recipe.discriminator, recipe.config
        num_classes = data.num_classes if recipe.config.labels else 0
        return cls(
            *(located(source), *known, recipe.model),
            framing=framing or AS_THEY_ARE,
            num_classes=num_classes,
        )

    def noting(self, data: Dataset, samples: Sized) -> RunConfig:
        """The same with the number of samples, names of classes, and digests of the data.

        Args:
            data: the data; if they are streamed, a part of them.
            samples: all samples.
        """
        noted = replace(self, samples=len(samples), digest=digest(self.data))
        if not self.num_classes:
            return noted
        return replace(noted, class_names=data.class_names, labels_digest=labels_digest(self.data))

    def other_data(self, now: RunConfig) -> str | None:
        """How the data noted in another configuration differ from those noted here; None if they do not."""
        if self.samples not in (None, now.samples):
            return f"was trained on {self.samples:,} samples, and {now.data} has {now.samples:,}"
        if self.digest not in (None, now.digest):
            return f"was trained on other data: names, sizes or bytes of {now.data} differ"
        if self.labels_digest not in (None, now.labels_digest):
            return f"was trained with other labels: those next to {now.data} differ"
        return None

    def build_generator(self) -> nn.Module:
        """An untrained generator; for images, a bounded one.

        Raises:
            ConfigError: if the model does not support these widths and samples.
        """
        with self._naming_model():
            family = FAMILIES[self.model]
            generator = family.generator(
                self.training.latent_dim, self.sample_shape, self.generator, **self._classes
            )
            return generator.float()  # the dtype of the data, whatever torch.set_default_dtype says

    def build_discriminator(self) -> nn.Module:
        """An untrained discriminator for packs of samples; raises as ``build_generator``."""
        first, *rest = self.sample_shape
        pack = self.training.pack * first, *rest
        with self._naming_model():
            return FAMILIES[self.model].discriminator(pack, self.discriminator, **self._classes).float()

    @property
    def _classes(self) -> dict[str, int]:
        """Arguments of constructors, which only those of families with classes take."""
        return {"num_classes": self.num_classes} if self.num_classes else {}

    @contextmanager
    def _naming_model(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ConfigError(f"model is {self.model!r}: {error}") from error


def _are_names(value: object, count: int) -> bool:
    return isinstance(value, tuple) and len(value) in (0, count) and all(isinstance(n, str) for n in value)


def _are_widths(value: object) -> bool:
    return isinstance(value, tuple) and all(is_whole(width) and width >= 1 for width in value)
