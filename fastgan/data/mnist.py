"""MNIST: 60,000 grey images of handwritten digits, 28 pixels a side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.arrays import from_array
from fastgan.data.dataset import DataError, Dataset, Labelled
from fastgan.data.idx import read_idx

_IMAGES = "train-images-idx3-ubyte"
_LABELS = "train-labels-idx1-ubyte"
_TEST_IMAGES = "t10k-images-idx3-ubyte"
_TEST_LABELS = "t10k-labels-idx1-ubyte"
_ARCHIVE_SHA256 = {
    _IMAGES: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    _LABELS: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    _TEST_IMAGES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    _TEST_LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def mnist(data_dir: Path | None) -> Dataset:
    """Read the training images from ``data_dir``, or fetch them once into the user's cache.

    Args:
        data_dir: folder with the images, ``train-images-idx3-ubyte`` or the same with ``.gz``, in it or in
            its subfolder ``mnist``, and, for metrics, with their labels, ``train-labels-idx1-ubyte``; None to
            fetch both.

    Raises:
        DataError: if the images are not there, or a file is damaged or cannot be fetched.
    """
    if data_dir is None:
        return _read(_fetch(_IMAGES), _fetch(_LABELS))
    return _read(_need(data_dir, _IMAGES), _find(data_dir, _LABELS))


def mnist_test_images(data_dir: Path | None) -> Tensor:
    """The test images, ``[10000, 1, 28, 28]`` in [-1, 1]; arguments and errors as for ``mnist``."""
    return _read_images(_fetch(_TEST_IMAGES) if data_dir is None else _need(data_dir, _TEST_IMAGES))


def mnist_test_labels(data_dir: Path | None) -> Tensor:
    """The labels of the test images, int64 ``[10000]``; arguments and errors as for ``mnist``."""
    return _read_labels(_fetch(_TEST_LABELS) if data_dir is None else _need(data_dir, _TEST_LABELS))


def is_at_hand(data_dir: Path | None) -> bool:
    """Whether images and labels are in the folder or, for None, have been fetched before."""
    folder = _cache() if data_dir is None else data_dir
    return all(_find(folder, name) for name in (_IMAGES, _LABELS))


def _read(images_path: Path, labels_path: Path | None) -> Dataset:
    samples = _read_images(images_path)
    if labels_path is None:
        return Dataset("mnist", samples)
    labels = _read_labels(labels_path)
    return Dataset("mnist", samples, labelled=Labelled("mnist", samples, labels), labels=labels)


def _read_images(path: Path) -> Tensor:
    images: NDArray[np.uint8] = read_idx(path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{path}: shape {images.shape}, expected (N, 28, 28); is it MNIST?")
    return from_array(str(path), images).seen(slice(None))


def _read_labels(path: Path) -> Tensor:
    labels: NDArray[np.uint8] = read_idx(path)
    if labels.ndim != 1 or labels.max() > 9:
        raise DataError(f"{path}: shape {labels.shape}, up to {labels.max()}, expected (N,) from 0 to 9")
    return torch.from_numpy(labels.astype(np.int64))


def _find(data_dir: Path, name: str) -> Path | None:
    for folder in (data_dir, data_dir / "mnist"):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _need(data_dir: Path, name: str) -> Path:
    path = _find(data_dir, name)
    if path is None:
        raise DataError(f"{data_dir}: holds no {name}[.gz]; give the folder that does as --data-dir")
    return path


def _cache() -> Path:
    try:
        import pooch  # not needed for files in a folder
    except ModuleNotFoundError as missing:
        raise DataError(
            f"mnist: fetching it needs {missing.name}: pip install pooch, or "
            "give the folder that holds it as --data-dir or FASTGAN_DATA"
        ) from None
    return Path(pooch.os_cache("fastgan"))


def _fetch(name: str) -> Path:
    folder = _cache()
    import pooch
    import requests

    failures = []
    for mirror in _MIRRORS:
        try:
            return Path(
                pooch.retrieve(
                    f"{mirror}{name}.gz",
                    known_hash=f"sha256:{_ARCHIVE_SHA256[name]}",
                    fname=f"{name}.gz",
                    path=folder,
                )
            )
        except requests.RequestException as error:
            failures.append(f"{mirror} ({type(error).__name__})")
        except ValueError:
            failures.append(f"{mirror} (its SHA-256 differs)")
        except OSError as error:
            raise DataError(
                f"{folder}: mnist cannot be kept there ({error.strerror or error}); put {name}.gz in another "
                "folder and give it as --data-dir or FASTGAN_DATA"
            ) from error
    raise DataError(
        f"mnist: cannot be fetched from {' or '.join(failures)}; put {name}.gz in a folder "
        "and give it as --data-dir or FASTGAN_DATA"
    )
