"""Euclidean distances between all pairs of two sets, a few rows at a time.

In 64 dimensions the matrix product |a|² - 2ab + |b|² takes a fourth of the time of differences. It loses to
cancellation where points lie close together and far from their mean, but no more than a bound that is known.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_ELEMENTS = 2**20  # of one chunk, in float64: 8 MiB


def distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances by differences, right to a few units in the last place wherever the points lie.

    Args:
        rows: ``[N, D]``.
        columns: ``[M, D]``.

    Yields:
        Which rows, and their distances, float64 ``[rows, M]``.
    """
    columns = columns.double()
    for part in _chunks(rows, columns):
        yield part, torch.cdist(rows[part].double(), columns, compute_mode="donot_use_mm_for_euclid_dist")


def squared_distances(rows: Tensor, columns: Tensor, tolerance: float) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances, by products where these are within the tolerance, and else by differences.

    Args:
        rows: ``[N, D]``.
        columns: ``[M, D]``.
        tolerance: the largest error that is good enough.

    Yields:
        Which rows, and their squared distances, float64 ``[rows, M]``.
    """
    for part, low, high in bounds_of_squared_distances(rows, columns):
        if (high - low).max() <= tolerance:
            yield part, low.clamp_(min=0)
        else:
            for _, direct in distances(rows[part], columns):
                yield part, direct.square_()


def bounds_of_squared_distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Between which two numbers each squared distance lies, by products about the columns' mean.

    Args:
        rows: ``[N, D]``.
        columns: ``[M, D]``.

    Yields:
        Which rows, and the lower and upper bounds of their squared distances, float64 ``[rows, M]``. A lower
        bound may be below 0.
    """
    columns = columns.double()
    center = columns.mean(dim=0)
    rows, columns = rows.double() - center, columns - center
    squares, column_squares = rows.square().sum(dim=1, keepdim=True), columns.square().sum(dim=1)
    # Sums of D products in any order: D units of rounding each, of |a|², |b|² and twice |a||b|. The rest is
    # for the centring and for the sum of the three.
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
