"""Data that stay on the disk: samples are read when a batch needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.arrays import channels_first
from fastgan.data.augmentation import DRAWN
from fastgan.data.dataset import DataError, Dataset
from fastgan.data.folder import AS_THEY_ARE, Framing, Photos, check_framing
from fastgan.data.numpy_files import check_arrays, damaged
from fastgan.kernels.pixels import unit_range

Item: TypeAlias = Tensor | tuple[Tensor, int]
"""A sample or, of data with classes, a sample and its label."""
Items: TypeAlias = Tensor | list[tuple[Tensor, int]]
_PREVIEWED = 64


class Streaming(Protocol):
    """A map-style dataset that can also read a batch at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Item: ...

    def __getitems__(self, rows: list[int], /) -> Items: ...


class MappedArray:
    """Images of an .npy file that is mapped into memory.

    Args:
        path: file with uint8 images, in a shape as for :func:`fastgan.data.arrays.from_array`.

    Raises:
        DataError: if the file is unreadable or has other content.
    """

    augmentation = None
    labels = None
    class_names: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        check_arrays(path)
        try:
            self._array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise damaged(path, error) from error
        # no floats: a single batch does not show whether their range is [0, 1] or [-1, 1]
        if self._array.dtype != np.uint8 or self._array.ndim not in (3, 4):
            raise DataError(
                f"{path}: {self._array.dtype} of shape {self._array.shape}, expected images of uint8 to "
                "stream; convert it, or train without --stream"
            )
        self._white = _white(self._array)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, row: int, /) -> Tensor:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int], /) -> Tensor:
        return unit_range(self.images(rows))

    def images(self, rows: list[int]) -> Tensor:
        """uint8 ``[len(rows), C, H, W]`` from 0 to 255."""
        images = torch.from_numpy(channels_first(str(self._path), np.asarray(self._array[rows])))
        return images * (255 // self._white)


class ImageFolder:
    """Images of a folder, decoded when a batch needs them.

    Random windows and flips are drawn from torch's global generator, which the loader seeds for each batch.

    Args:
        folder, framing: as for :func:`fastgan.data.folder.read_folder`.

    Attributes:
        labels, class_names: as of :class:`fastgan.data.folder.Photos`.

    Raises:
        DataError: if the folder has no image; on reading, as :meth:`fastgan.data.folder.Photos.read`.
    """

    def __init__(self, folder: Path, framing: Framing) -> None:
        self.photos = Photos(folder, framing)
        self.augmentation = framing.augmentation
        self.labels, self.class_names = self.photos.labels, self.photos.class_names

    def __len__(self) -> int:
        return len(self.photos.paths)

    def __getitem__(self, row: int, /) -> Item:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int], /) -> Items:
        images = self.images(rows)
        if self.augmentation is not None:
            numbers = torch.rand(len(rows), DRAWN, dtype=torch.float32)
            images = self.augmentation.draw(images, torch.arange(len(rows)), numbers)
        samples = unit_range(images)
        return samples if self.labels is None else list(zip(samples, self.labels[rows].tolist(), strict=True))

    def images(self, rows: list[int]) -> Tensor:
        """uint8 ``[len(rows), C, H, W]``, before windows are drawn."""
        return self.photos.read(rows)


def stream(source: str, framing: Framing | None = None) -> tuple[Dataset, MappedArray | ImageFolder]:
    """Open a folder of images or an .npy file without reading it completely.

    Args:
        source: its path.
        framing: how photos of a folder are cropped and scaled.

    Returns:
        The first samples, for pictures, and all data.

    Raises:
        DataError: if the source is neither, or cannot be used.
    """
    path = Path(source)
    if not path.is_dir() and path.suffix != ".npy":
        raise DataError(f"{source}: cannot be streamed; give a folder of images or an .npy file")
    check_framing(path, framing)
    data = ImageFolder(path, framing or AS_THEY_ARE) if path.is_dir() else MappedArray(path)
    if len(data) == 0:
        raise DataError(f"{source}: holds no sample; add at least one")
    rows = list(range(min(len(data), _PREVIEWED)))
    first = data.images(rows)
    if isinstance(data, ImageFolder):
        data.photos.check_brightness()
    if int(first.max()) == 1:
        raise DataError(
            f"{source}: its first {len(first)} images hold only 0 and 1; let white be 255, or train without "
            "--stream"
        )
    labels = None if data.labels is None else data.labels[rows]
    preview = Dataset(
        source, first, augmentation=data.augmentation, labels=labels, class_names=data.class_names
    )
    return preview, data


def _white(array: NDArray[Any]) -> int:
    """The value of white: 1 for masks, which have no larger value, else 255."""
    blocks = range(0, len(array), _PREVIEWED)
    return 255 if any(array[first : first + _PREVIEWED].max() > 1 for first in blocks) else 1
