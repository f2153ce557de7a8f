"""Converts arrays of points or images to data sets."""

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
from fastgan.data.transform import Transform

_MAX_MEAN = 1e5  # in deviations: there, float32 resolves 1 % of a deviation
_ROUNDING = 1e-3  # floats may exceed [0, 1] or [-1, 1] by this much


def from_array(name: str, array: NDArray[Any]) -> Dataset:
    """Make a data set of an array.

    Args:
        name: name of the data set.
        array: points ``[N, D]`` of floats, which are standardized axis by axis; or images ``[N, H, W]``,
            ``[N, H, W, C]`` or ``[N, C, H, W]`` with C = 1 or 3, of uint8, bools, or floats in [0, 1] or
            [-1, 1], up to rounding. If all bytes are 0 or 1, they mean black and white.

    Raises:
        DataError: for other shapes, dtypes or ranges, and for nan.
    """
    if array.size == 0:
        raise DataError(f"{name}: array of shape {array.shape} is empty; add samples")
    if array.dtype not in (np.uint8, np.bool_) and not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{name}: dtype {array.dtype}, expected uint8 or a float; convert it")
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{name}: holds nan or infinite values; remove those samples")
    if max(abs(float(low)), abs(float(high))) > float(np.finfo(np.float32).max):
        raise DataError(f"{name}: values are too large for float32; rescale them")
    if array.ndim == 2:
        return _points(name, array)
    return Dataset(name, _images(name, channels_first(name, array)))


def read_array(path: Path, member: str | None = None) -> Dataset:
    """Read an .npy file, or an array of an .npz file.

    Args:
        path: the file.
        member: the array's name; None if there is only one.

    Raises:
        DataError: if the file is unreadable, holds Python objects, several arrays or none of that name, or
            if :func:`from_array` refuses the array.
    """
    check_arrays(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, NpzFile):  # regardless of the suffix
            with loaded:
                array = loaded[_member(path, loaded.files, member)]
        elif member is not None:
            raise DataError(f"{path}: holds one array without a name; omit :{member}")
        else:
            array = loaded
    except DataError:
        raise
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise damaged(path, error) from error
    return from_array(str(path), array)


def _member(path: Path, names: list[str], wanted: str | None) -> str:
    listed = ", ".join(names)
    if wanted is None:
        if len(names) != 1:
            example = f"; name one of them, as in {path}:{names[0]} ({listed})" if names else ""
            raise DataError(f"{path}: holds {len(names)} arrays{example}")
        return names[0]
    if wanted not in names:
        raise DataError(f"{path}: holds no array {wanted}; it has {listed}")
    return wanted


def _points(name: str, array: NDArray[Any]) -> Dataset:
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"{name}: {array.dtype} of shape {array.shape}; points are floats (convert them), and images "
            "are at least three-dimensional, (N, H, W)"
        )
    transform = Transform.standardizing(array)
    for axis, (scale, offset) in enumerate(zip(transform.scale, transform.offset, strict=True)):
        if scale and abs(offset) > _MAX_MEAN * scale:
            raise DataError(
                f"{name}: axis {axis} varies by {scale:g} about {offset:g}, which float32 cannot resolve; "
                "subtract a constant from it"
            )
    return Dataset(name, transform.apply(torch.from_numpy(array.astype(np.float64))), transform)


def channels_first(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return np.ascontiguousarray(np.moveaxis(array, 3, 1))
    what = ", which is one image" if array.ndim == 3 else ""
    raise DataError(
        f"{name}: shape {array.shape}{what}, expected (N, D) points, or images (N, H, W), "
        "(N, H, W, C) or (N, C, H, W) with C = 1 or 3"
    )


def _images(name: str, array: NDArray[Any]) -> Tensor:
    """Images as uint8, or as float32 in [-1, 1]."""
    if array.dtype == np.bool_:
        return torch.from_numpy(array.astype(np.uint8)).mul_(255)
    if array.dtype == np.uint8:
        return black_and_white(torch.from_numpy(array if array.flags.writeable else array.copy()))
    return _unit_range(name, array)


def black_and_white(images: Tensor) -> Tensor:
    """uint8 images; scales those that use only 0 and 1, as masks do, to 0 and 255."""
    return images * 255 if int(images.max()) == 1 else images


def _unit_range(name: str, array: NDArray[Any]) -> Tensor:
    low, high = float(array.min()), float(array.max())
    found = f"{name}: values from {low:.8g} to {high:.8g}"
    if low < -1 - _ROUNDING or high > 1 + _ROUNDING:
        raise DataError(f"{found}, expected [0, 1] or [-1, 1]; rescale them, or save 0 to 255 as uint8")
    samples = torch.from_numpy(array.astype(np.float32, copy=not array.flags.writeable))
    if low >= -_ROUNDING:
        return (samples * 2).sub_(1).clamp_(-1, 1)
    if low > -0.5:
        raise DataError(f"{found} are neither [0, 1] nor [-1, 1]; clip them to [0, 1], or let black be -1")
    return samples.clamp(-1, 1)
