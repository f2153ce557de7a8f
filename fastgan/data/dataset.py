"""The one form in which data reaches a trainer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fastgan.data.augmentation import Augmentation, unit_range
from fastgan.data.transform import IDENTITY, Transform


class DataError(ValueError):
    """Data that cannot be trained on; the message names the thing and the remedy."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the path in the error of a read inside.

    Raises:
        DataError: in place of any OSError.
    """
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
        DataError: if there is no centre or one is not finite, or sigma is not above 0 and finite.
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
    """Images that a classifier can learn from.

    Attributes:
        name: what the images are called.
        images: float32 ``[M, C, H, W]`` in [-1, 1].
        labels: int64 ``[M]``, classes counted from 0.

    Raises:
        DataError: if there are more of the one than of the other.
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
        name: what the data set is called in logs and pictures.
        samples: on the CPU, ``[N, D]`` for points or ``[N, C, H, W]`` for images with C = 1 (grey) or 3
            (RGB). Points are float32; images float32 in [-1, 1], or uint8, a fourth of the memory.
        transform: of which ``samples`` are the result; its inverse gives points in the data's own
            units, in which pictures and metrics show them.
        modes: the mixture that synthetic points were drawn from.
        labelled: of images with classes, the labelled images: the samples themselves, or single
            ones that are stacked as their channels.
        augmentation: of images, what a batch gets of each; None for the images as they are.

    Raises:
        DataError: if the samples have another shape or dtype, or one of them is not finite.
    """

    name: str
    samples: Tensor
    transform: Transform = IDENTITY
    modes: Modes | None = None
    labelled: Labelled | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
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

    @property
    def title(self) -> str:
        """The name without the folders that the data lie in."""
        return Path(self.name).name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, as networks see it: ``(D,)``, or ``(C, H, W)``."""
        shape = tuple(self.samples.shape[1:])
        return shape if self.augmentation is None else (shape[0], *self.augmentation.window(shape))

    def seen(self, rows: Tensor | slice) -> Tensor:
        """Some samples as networks see them, float32, but not augmented: windows are those in the middle."""
        samples = self.samples[rows]
        return unit_range(samples if self.augmentation is None else self.augmentation.central(samples))

    def under(self, transform: Transform) -> Dataset:
        """The same data as samples of another transform, such as that of a run that began before."""
        if transform == self.transform:
            return self
        samples = transform.apply(self.transform.inverse(self.samples))
        return replace(self, samples=samples, transform=transform)


def is_points(shape: tuple[int, ...]) -> bool:
    """Whether a sample of this shape is a point, of a table's row for example."""
    return len(shape) == 1 and shape[0] > 0


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether a sample of this shape is a grey or RGB image, channels first."""
    return len(shape) == 3 and shape[0] in (1, 3)
