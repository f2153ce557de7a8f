"""A folder of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fastgan.data.arrays import from_array
from fastgan.data.dataset import DataError, Dataset

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
_MODES = ("L", "RGB")


def read_folder(folder: Path) -> Dataset:
    """Read every image of a folder and of the folders in it, in order of their paths.

    Raises:
        DataError: if there is none, one is unreadable or neither grey nor RGB, or one
            differs from the first in size or mode; the message names that file.
    """
    paths = image_paths(folder)
    return from_array(str(folder), read_images(paths, like=paths[0]))


def image_paths(folder: Path) -> list[Path]:
    """Every image of a folder and of the folders in it, in order of their paths.

    Raises:
        DataError: if there is none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))})")
    return paths


def read_images(paths: Sequence[Path], like: Path) -> NDArray[np.uint8]:
    """Decode images of one size and mode, those of ``like``.

    Returns:
        uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.

    Raises:
        DataError: if one is unreadable, neither grey nor RGB, or differs; the message names that file.
    """
    first = _read(like)
    images = [_read(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if (image.size, image.mode) != (first.size, first.mode):
            raise DataError(
                f"{path}: {_describe(image)}, while {like.name} is {_describe(first)}; "
                "give all images one size and mode"
            )
    return np.stack([np.asarray(image) for image in images])


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            loaded: Image.Image = image.copy()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise DataError(f"{path}: not a readable image; replace or remove it") from error
    if loaded.mode not in _MODES:
        raise DataError(f"{path}: mode {loaded.mode}, expected grey (L) or RGB; convert it")
    return loaded


def _describe(image: Image.Image) -> str:
    return f"{image.width}x{image.height} {image.mode}"
