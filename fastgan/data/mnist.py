"""MNIST: 60,000 grey images of handwritten digits, 28 pixels a side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pooch
import requests
from numpy.typing import NDArray

from fastgan.data.arrays import from_array
from fastgan.data.dataset import DataError, Dataset
from fastgan.data.idx import read_idx

_FILE = "train-images-idx3-ubyte"
_ARCHIVE_SHA256 = "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def mnist(data_dir: Path | None) -> Dataset:
    """Read the training images from ``data_dir``, or fetch them once into the user's cache.

    Args:
        data_dir: folder with ``train-images-idx3-ubyte`` or that with ``.gz``, in it or in
            its ``mnist`` folder; None to fetch.

    Raises:
        DataError: if the file is not there or damaged, or cannot be fetched.
    """
    path = _fetch() if data_dir is None else _find(data_dir)
    images: NDArray[np.uint8] = read_idx(path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{path}: shape {images.shape}, expected (N, 28, 28); is it MNIST?")
    return Dataset("mnist", from_array(str(path), images).samples)


def _find(data_dir: Path) -> Path:
    for folder in (data_dir, data_dir / "mnist"):
        for name in (_FILE, f"{_FILE}.gz"):
            if (folder / name).is_file():
                return folder / name
    raise DataError(f"{data_dir}: holds no {_FILE}[.gz]; give the folder that does as --data-dir")


def _fetch() -> Path:
    failures = []
    for mirror in _MIRRORS:
        try:
            return Path(
                pooch.retrieve(
                    f"{mirror}{_FILE}.gz",
                    known_hash=f"sha256:{_ARCHIVE_SHA256}",
                    fname=f"{_FILE}.gz",
                    path=pooch.os_cache("fastgan"),
                )
            )
        except (requests.RequestException, ValueError) as error:
            failures.append(f"{mirror} ({type(error).__name__})")
    raise DataError(
        f"mnist: cannot be fetched from {' or '.join(failures)}; put {_FILE}.gz in a folder "
        "and give it as --data-dir or FASTGAN_DATA"
    )
