"""All distances between two sets, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_ELEMENTS = 2**23  # of one chunk, in float64: 64 MiB


def squared_distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared Euclidean distances, a chunk of rows after another.

    Computed as |a|² - 2ab + |b|² about the columns' mean, which is one product. In float64 that loses to
    cancellation what float32 data do not have.

    Args:
        rows: ``[N, D]``.
        columns: ``[M, D]``.

    Yields:
        Which rows, and their distances, float64 ``[rows, M]``.
    """
    columns = columns.double()
    center = columns.mean(dim=0)
    rows, columns = rows.double() - center, columns - center
    squares = columns.square().sum(dim=1)
    size = max(1, _ELEMENTS // len(columns))
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        chunk = torch.addmm(squares, part, columns.T, alpha=-2).add_(part.square().sum(dim=1, keepdim=True))
        yield slice(begin, begin + len(part)), chunk.clamp_(min=0)
