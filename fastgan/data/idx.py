"""IDX, the format of the MNIST family: http://yann.lecun.com/exdb/mnist/.

A file has four bytes (0, 0, type, number of dimensions), the dimensions as big-endian uint32, and the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastgan.data.dataset import DataError, reading

_UNSIGNED_BYTE = 0x08
_MOST_DIMENSIONS = 4  # images with channels


def is_idx(path: Path) -> bool:
    """Whether the file's name ends in ``ubyte`` or ``.idx``, perhaps followed by ``.gz``."""
    return path.name.removesuffix(".gz").endswith(("ubyte", ".idx"))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    Returns:
        An array with the shape in the file's header.

    Raises:
        DataError: if the file is not IDX, holds another type, or is empty, truncated or too long.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file; it must begin with two zero bytes")
    kind, dimensions = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise DataError(f"{path}: IDX type 0x{kind:02x}, expected 0x08 (unsigned bytes)")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise DataError(f"{path}: IDX with {dimensions} dimensions, expected 1 to {_MOST_DIMENSIONS}")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{path}: truncated within its header; fetch it again")
    shape = struct.unpack_from(f">{dimensions}I", content, offset=4)
    if 0 in shape:
        raise DataError(f"{path}: IDX of shape {shape} is empty; add samples")
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DataError(
            f"{path}: truncated or damaged, {len(content)} bytes where the header announces {expected}; "
            "fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def read_idx_labels(path: Path) -> NDArray[np.int64] | None:
    """The labels in :func:`labels_file`; None if there is none.

    Raises:
        DataError: as :func:`read_idx`.
    """
    file = labels_file(path)
    return None if file is None else read_idx(file).astype(np.int64)


def labels_file(path: Path) -> Path | None:
    """The file of labels next to an IDX file of images; None if there is none, or for other paths.

    It has the name of the images with ``labels`` for ``images`` and, in MNIST's names, ``idx1`` for ``idx3``,
    plain or gzipped.
    """
    if not is_idx(path) or "images" not in path.name:
        return None
    name = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    return next(filter(Path.is_file, (path.with_name(name), path.with_name(f"{name}.gz"))), None)


def _content(path: Path) -> bytes:
    with reading(path):
        content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or damaged gzip file; fetch it again") from error
