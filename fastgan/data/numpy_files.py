"""Checks .npy and .npz files before NumPy trusts their headers."""

from __future__ import annotations

import math
import zlib
from io import BytesIO
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np

from fastgan.data.dataset import DataError, reading

_NPY, _ZIP, _EMPTY_ZIP = b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_arrays(path: Path) -> None:
    """Refuse a file whose content does not match its headers; its suffix is ignored.

    NumPy allocates memory for the size in a header before it reads any data.

    Raises:
        DataError: names the file and the reason.
    """
    with reading(path), path.open("rb") as file:
        start = file.read(len(_NPY))
        file.seek(0)
        if start == _NPY:
            _check_array(str(path), file, path.stat().st_size)
        elif start.startswith(_ZIP):
            _check_archive(path)
        elif start.startswith(_EMPTY_ZIP):
            raise DataError(f"{path}: holds no array; save one in it, with numpy.savez")
        elif path.stat().st_size == 0:
            raise DataError(f"{path}: is empty; save it again")
        else:
            raise DataError(f"{path}: is no .npy or .npz file, whatever its name is; save it with numpy.save")


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a file that passes :func:`check_arrays` but that NumPy cannot read."""
    return DataError(f"{path}: damaged ({error}); save or fetch it again")


def _check_archive(path: Path) -> None:
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    _check_array(f"{path}, {member.filename}", file, member.file_size)
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise damaged(path, error) from error


def _check_array(name: str, file: IO[bytes], size: int) -> None:
    start = file.read(len(_NPY) + 2)
    if not start.startswith(_NPY):
        raise DataError(f"{name}: is no array; save it with numpy.save or numpy.savez")
    try:
        version = np.lib.format.read_magic(BytesIO(start))
        shape, _, dtype = _HEADERS[version](file)
        if min(shape, default=0) < 0:
            raise ValueError(f"shape {shape}")
    except KeyError as error:
        raise DataError(f"{name}: holds records, expected numbers; save their fields as one array") from error
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name}: its header is damaged ({reason}); save or fetch it again") from error
    if dtype.hasobject:
        raise DataError(f"{name}: holds pickled Python objects; save an array of numbers")
    announced, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if announced > held:
        raise DataError(
            f"{name}: truncated, its header announces {announced:,} bytes and {held:,} follow; "
            "save or fetch it again"
        )
