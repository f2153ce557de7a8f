"""Data that stays on the disk: samples read when a batch wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.arrays import from_array
from fastgan.data.dataset import DataError, Dataset
from fastgan.data.folder import image_paths, read_images
from fastgan.data.numpy_files import check_arrays, damaged

_PREVIEWED = 64


class Streaming(Protocol):
    """A map-style dataset that can also read a batch at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Tensor: ...

    def __getitems__(self, rows: list[int], /) -> Tensor: ...


class MappedArray:
    """Images of an .npy file that is mapped into memory, not read.

    Args:
        path: uint8 images, in a shape that :func:`fastgan.data.arrays.from_array` takes.

    Raises:
        DataError: if it is unreadable or of another kind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        check_arrays(path)
        try:
            self._array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise damaged(path, error) from error
        # whether floats lie in [0, 1] or [-1, 1] cannot be seen in one batch
        if self._array.dtype != np.uint8 or self._array.ndim not in (3, 4):
            raise DataError(
                f"{path}: {self._array.dtype} of shape {self._array.shape}, expected images of uint8 to "
                "stream; convert it, or train without --stream"
            )

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, row: int, /) -> Tensor:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int], /) -> Tensor:
        return from_array(str(self._path), np.asarray(self._array[rows])).samples


class ImageFolder:
    """Images of a folder, decoded when a batch wants them.

    Args:
        folder: as for :func:`fastgan.data.folder.read_folder`.

    Raises:
        DataError: if it holds no image; and, when one is read, if that is unreadable or differs from the
            first in size or mode.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = image_paths(folder)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int, /) -> Tensor:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int], /) -> Tensor:
        images = read_images([self._paths[row] for row in rows], like=self._paths[0])
        return from_array(str(self._paths[0].parent), images).samples


def stream(source: str) -> tuple[Dataset, Streaming]:
    """Open a folder of images or an .npy file without reading it.

    Returns:
        Its first samples, for pictures, and the data.

    Raises:
        DataError: if it is neither.
    """
    path = Path(source)
    if not path.is_dir() and path.suffix != ".npy":
        raise DataError(f"{source}: cannot be streamed; give a folder of images or an .npy file")
    data = ImageFolder(path) if path.is_dir() else MappedArray(path)
    if len(data) == 0:
        raise DataError(f"{source}: holds no sample; add at least one")
    first = data.__getitems__(list(range(min(len(data), _PREVIEWED))))
    return Dataset(source, first), data
