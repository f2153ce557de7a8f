"""A folder of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))})")
    images = [_read(path) for path in paths]
    first = images[0]
    for path, image in zip(paths, images, strict=True):
        if (image.size, image.mode) != (first.size, first.mode):
            raise DataError(
                f"{path}: {_describe(image)}, while {paths[0].name} is {_describe(first)}; "
                "give all images one size and mode"
            )
    return from_array(str(folder), np.stack([np.asarray(image) for image in images]))


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
