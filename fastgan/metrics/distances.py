"""Euclidean distances between all pairs of two sets, a few rows at a time.

In 64 dimensions |a|² - 2ab + |b|², a matrix product, takes a quarter of the time of differences. It suffers
from cancellation for points that are close to each other and far from their mean, but its error has a known
bound.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_ELEMENTS = 2**20  # of one chunk, in float64: 8 MiB


def distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances by differences, accurate to a few units in the last place for any points.

    Args:
        rows: ``[N, D]``.
        columns: ``[M, D]``.

    Yields:
        A slice of the rows, and their distances, float64 ``[rows, M]``.
    """
    columns = columns.double()
    for part in _chunks(rows, columns):
        yield part, torch.cdist(rows[part].double(), columns, compute_mode="donot_use_mm_for_euclid_dist")


def squared_distances(rows: Tensor, columns: Tensor, tolerance: float) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances, by products if their error is within the tolerance, else by differences.

    Args:
        rows: ``[N, D]``.
        columns: ``[M, D]``.
        tolerance: largest absolute error.

    Yields:
        A slice of the rows, and their squared distances, float64 ``[rows, M]``.
    """
    for part, low, high in bounds_of_squared_distances(rows, columns):
        if (high - low).max() <= tolerance:
            yield part, low.clamp_(min=0)
        else:
            for _, direct in distances(rows[part], columns):
                yield part, direct.square_()


def bounds_of_squared_distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Lower and upper bounds of squared distances, by products of points centered on the columns' mean.

    Args:
        rows: ``[N, D]``.
        columns: ``[M, D]``.

    Yields:
        A slice of the rows, and the lower and upper bounds of their squared distances, float64 ``[rows, M]``.
        A lower bound may be below 0.
    """
    columns = columns.double()
    center = columns.mean(dim=0)
    rows, columns = rows.double() - center, columns - center
    squares, column_squares = rows.square().sum(dim=1, keepdim=True), columns.square().sum(dim=1)
    # A sum of D products in any order has an error of at most D roundings, relative to |a|², |b|² and
    # 2|a||b|. The other 24 are for centering and for the sum of the three.
    unit = (columns.shape[1] + 24) * torch.finfo(torch.float64).eps
    for part in _chunks(rows, columns):
        high = torch.addmm(column_squares * (1 + unit), rows[part], columns.T, alpha=-2)
        high += squares[part] * (1 + unit)
        low = high - column_squares * (2 * unit)
        low -= squares[part] * (2 * unit)
        yield part, low, high


def _chunks(rows: Tensor, columns: Tensor) -> Iterator[slice]:
    size = max(1, _ELEMENTS // len(columns))
    return (slice(begin, begin + size) for begin in range(0, len(rows), size))
