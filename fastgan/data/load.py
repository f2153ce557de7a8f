"""Loads the data set that a user names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from fastgan.data.arrays import from_array, read_array
from fastgan.data.dataset import DataError, Dataset
from fastgan.data.folder import AS_THEY_ARE, Framing, check_framing, read_folder
from fastgan.data.idx import is_idx, read_idx, read_idx_labels
from fastgan.data.synthetic import grid, ring
from fastgan.data.table_files import SUFFIXES

BUILT_IN = ("ring", "grid", "digits", "mnist", "stacked")


def load(source: str, data_dir: Path | None = None, framing: Framing | None = None) -> Dataset:
    """Load a data set.

    Args:
        source: ``ring``, ``grid``, ``digits``, ``mnist``, ``stacked``, or the path of a folder of
            images, an .npy or .npz array (``file.npz:name`` if there are several), or an IDX file of images.
        data_dir: folder of downloaded sets; None to fetch them.
        framing: how photos of a folder are cropped and scaled.

    Raises:
        DataError: if the data do not exist or cannot be used.
    """
    check_framing(Path(source), framing)
    if source == "ring":
        return ring()
    if source == "grid":
        return grid()
    if source == "digits":
        # imported here: scikit-learn takes a second to import and loads its own OpenMP runtime
        from fastgan.data.digits import digits

        return digits()
    if source == "mnist":
        from fastgan.data.mnist import mnist

        return mnist(data_dir)
    if source == "stacked":
        from fastgan.data.stacked import stacked

        return stacked(data_dir)
    path = Path(source)
    # ./ring is not the built-in data set, and must not get its name
    return _read(path.absolute() if str(path) in BUILT_IN else path, framing or AS_THEY_ARE)


def _read(path: Path, framing: Framing) -> Dataset:
    if path.is_dir():
        return read_folder(path, framing)
    file, member = member_of(path)
    if not file.exists():
        raise DataError(f"{path}: no such data; expected {', '.join(BUILT_IN)} or a path")
    if file.suffix in (".npy", ".npz"):
        return read_array(file, member)
    if is_idx(path):
        labels = read_idx_labels(path)
        images = from_array(str(path), read_idx(path))
        return images if labels is None else replace(images, labels=torch.from_numpy(labels))
    raise DataError(
        f"{path}: unknown kind of file; expected .npy, .npz, IDX, a folder or, for fastgan train, a table "
        f"({', '.join(SUFFIXES)})"
    )


def member_of(path: Path) -> tuple[Path, str | None]:
    """The file and the array's name in ``file.npz:name``; for other paths, the path and None."""
    file, colon, member = str(path).rpartition(":")
    return (Path(file), member) if colon and file.endswith(".npz") else (path, None)
