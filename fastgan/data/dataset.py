"""Data sets, and the error for data that cannot be used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fastgan.data.augmentation import Augmentation
from fastgan.data.transform import IDENTITY, Transform
from fastgan.kernels.pixels import unit_range


class DataError(ValueError):
    """Data cannot be used; the message names the file or sample and the remedy."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError inside the context into a DataError that names the path."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); make it readable, or give another"
        ) from error


@dataclass(frozen=True)
class Modes:
    """A mixture of isotropic Gaussians, in data units.

    Attributes:
        centers: float ``[K, D]``, the mean of each Gaussian.
        sigma: their common standard deviation.

    Raises:
        DataError: if there is no center or one is not finite, or sigma is not above 0 and finite.
    """

    centers: Tensor
    sigma: float

    def __post_init__(self) -> None:
        if self.centers.ndim != 2 or self.centers.numel() == 0 or not self.centers.is_floating_point():
            raise DataError(
                f"centers are {self.centers.dtype} of shape {list(self.centers.shape)}, "
                "expected floats [K, D] with K and D at least 1"
            )
        if not torch.isfinite(self.centers).all():
            raise DataError("centers hold nan or infinite values, expected finite ones")
        if not 0 < self.sigma < math.inf:
            raise DataError(f"sigma is {self.sigma}, expected above 0 and finite")


@dataclass(frozen=True)
class Labelled:
    """Images with labels, to train a classifier.

    Attributes:
        name: name of the images.
        images: float32 ``[M, C, H, W]`` in [-1, 1].
        labels: int64 ``[M]``, classes counted from 0.

    Raises:
        DataError: if the number of images and labels differs.
    """

    name: str
    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(f"{self.name}: {len(self.images)} images, but {len(self.labels)} labels")


@dataclass(frozen=True)
class Dataset:
    """Samples to train on.

    Attributes:
        name: name in logs and pictures.
        samples: points ``[N, D]`` or images ``[N, C, H, W]`` with C = 1 (grey) or 3 (RGB), on the CPU. Points
            are float32; images are float32 in [-1, 1], or uint8, which takes a quarter of the memory.
        transform: from the data's own units, in which pictures and metrics show points, to ``samples``.
        modes: the mixture from which synthetic points were drawn.
        labelled: labelled images, if there are classes: the samples themselves, or the single images that
            are stacked as channels of the samples.
        augmentation: random windows and flips of images; None for none.
        labels: int64 ``[N]``, the classes of the samples, counted from 0; None if they have none.
        class_names: a name for each class, in order, including classes without a sample; empty if they have
            only numbers.

    Raises:
        DataError: if the samples have another shape or dtype, or one of them is not finite; or if the labels
            do not fit them, or the names of classes the labels.
    """

    name: str
    samples: Tensor
    transform: Transform = IDENTITY
    modes: Modes | None = None
    labelled: Labelled | None = None
    augmentation: Augmentation | None = None
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_samples()
        if self.labels is not None:
            check_labels(self.labels, len(self.samples), self.name)
        if self.class_names:
            self._check_class_names()

    def _check_samples(self) -> None:
        is_bytes = self.samples.dtype == torch.uint8 and self.samples.ndim == 4
        if self.samples.dtype != torch.float32 and not is_bytes:
            raise DataError(
                f"{self.name}: samples are {self.samples.dtype}, expected float32, or uint8 images"
            )
        if not (is_points(self.shape) or is_image(self.shape)):
            raise DataError(
                f"{self.name}: samples have shape {list(self.samples.shape)}, expected [N, D] "
                "points, or [N, 1, H, W] or [N, 3, H, W] images"
            )
        if len(self.samples) == 0:
            raise DataError(f"{self.name}: holds no sample; add at least one")
        if not is_bytes and not torch.isfinite(self.samples).all():
            raise DataError(f"{self.name}: holds nan or infinite values; remove those samples")

    def _check_class_names(self) -> None:
        highest = -1 if self.labels is None else int(self.labels.max())
        if not 0 <= highest < len(self.class_names):
            found = "no labels" if self.labels is None else f"a label of {highest}"
            raise DataError(f"{self.name}: has {len(self.class_names)} names of classes, but {found}")

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for samples without labels."""
        if self.class_names:
            return len(self.class_names)
        return 0 if self.labels is None else int(self.labels.max()) + 1

    @property
    def title(self) -> str:
        """The name of the data, without their folder."""
        return Path(self.name).name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample as networks see it: ``(D,)`` or ``(C, H, W)``."""
        shape = tuple(self.samples.shape[1:])
        return shape if self.augmentation is None else (shape[0], *self.augmentation.window(shape))

    def seen(self, rows: Tensor | slice) -> Tensor:
        """Some samples as networks see them, in float32, but with central windows and without flips."""
        samples = self.samples[rows]
        return unit_range(samples if self.augmentation is None else self.augmentation.central(samples))

    def under(self, transform: Transform) -> Dataset:
        """The same data with another transform, such as that of an earlier run."""
        if transform == self.transform:
            return self
        samples = transform.apply(self.transform.inverse(self.samples))
        return replace(self, samples=samples, transform=transform)


def check_labels(labels: Tensor, count: int, name: str) -> None:
    """Refuse labels that are not int64 ``[count]``, from 0 on.

    Raises:
        DataError: names the data.
    """
    if labels.dtype != torch.int64 or labels.shape != (count,):
        raise DataError(
            f"{name}: labels are {labels.dtype} of shape {list(labels.shape)}, expected torch.int64 of shape "
            f"[{count}], one for each sample"
        )
    if labels.min() < 0:
        raise DataError(f"{name}: a label is {int(labels.min())}, expected classes counted from 0")


def is_points(shape: tuple[int, ...]) -> bool:
    """Whether a sample of this shape is a point."""
    return len(shape) == 1 and shape[0] > 0


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether a sample of this shape is a grey or RGB image, channels first."""
    return len(shape) == 3 and shape[0] in (1, 3)
