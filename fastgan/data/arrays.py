"""From arrays as people store them to float32 samples with channels first."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.dataset import DataError, Dataset
from fastgan.data.numpy_files import check_arrays, damaged


def from_array(name: str, array: NDArray[Any]) -> Dataset:
    """Make a data set of an array.

    Args:
        name: what to call it.
        array: ``[N, 2]`` points, or images ``[N, H, W]``, ``[N, H, W, C]`` or
            ``[N, C, H, W]`` with C = 1 or 3, of uint8 or of floats in [0, 1] or [-1, 1].

    Raises:
        DataError: for another shape, dtype or range, and for nan.
    """
    if array.size == 0:
        raise DataError(f"{name}: array of shape {array.shape} is empty; add samples")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{name}: dtype {array.dtype}, expected uint8 or a float; convert it")
    if not np.isfinite(array).all():
        raise DataError(f"{name}: holds nan or infinite values; remove those samples")
    if np.abs(array).max() > np.finfo(np.float32).max:
        raise DataError(f"{name}: values are too large for float32; rescale them")
    if array.ndim == 2 and array.shape[1] == 2:
        return _points(name, array)
    return Dataset(name, _unit_range(name, _channels_first(name, array)))


def read_array(path: Path) -> Dataset:
    """Read an .npy file, or the only array of an .npz file.

    Raises:
        DataError: if it is unreadable, holds Python objects or several arrays, or is not
            what :func:`from_array` takes.
    """
    check_arrays(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, NpzFile):  # whatever the suffix says
            with loaded:
                arrays = list(loaded.values())
        else:
            arrays = [loaded]
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise damaged(path, error) from error
    if len(arrays) != 1:
        raise DataError(f"{path}: holds {len(arrays)} arrays; save the one to train on alone")
    return from_array(str(path), arrays[0])


def _points(name: str, array: NDArray[Any]) -> Dataset:
    samples = torch.from_numpy(array.astype(np.float32))
    scale = samples.abs().max().item() or 1.0
    return Dataset(name, samples / scale, scale)


def _channels_first(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return np.moveaxis(array, 3, 1)
    raise DataError(
        f"{name}: shape {array.shape}, expected (N, 2) points, or images (N, H, W), "
        "(N, H, W, C) or (N, C, H, W) with C = 1 or 3"
    )


def _unit_range(name: str, array: NDArray[Any]) -> Tensor:
    """Images as float32 in [-1, 1]."""
    if array.dtype == np.uint8:
        return torch.from_numpy(array.astype(np.float32)).div_(127.5).sub_(1)
    low, high = float(array.min()), float(array.max())
    if low < -1 or high > 1:
        raise DataError(f"{name}: values from {low:g} to {high:g}, expected [0, 1] or [-1, 1]; rescale them")
    samples = torch.from_numpy(array.astype(np.float32))
    return samples if low < 0 else samples.mul_(2).sub_(1)
