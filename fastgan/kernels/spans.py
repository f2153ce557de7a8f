"""Spans of a table's output layer, and encoded tables, as arguments of kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spans:
    """Consecutive columns of an output layer that belong together.

    Attributes:
        sizes: columns of each span. A span of one column is a tanh, a longer one a softmax.
        conditions: positions in ``sizes`` of the softmax spans that are discrete columns of the table, in
            ascending order. Each of their columns is a condition; conditions are numbered across spans.
    """

    sizes: tuple[int, ...]
    conditions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ValueError("spans has no sizes, expected at least one")
        for i, size in enumerate(self.sizes):
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"spans.sizes[{i}] is {size!r}, expected a positive integer")
        if list(self.conditions) != sorted(set(self.conditions)):
            raise ValueError(f"spans.conditions is {self.conditions}, expected ascending positions in sizes")
        for i in self.conditions:
            if not 0 <= i < len(self.sizes) or self.sizes[i] < 2:
                raise ValueError(
                    f"spans.conditions has {i}, expected the position of a span of 2 columns or more"
                )

    @property
    def width(self) -> int:
        """Number of columns of all spans."""
        return sum(self.sizes)

    @property
    def num_conditions(self) -> int:
        """Number of columns of the spans that are conditions."""
        return sum(self.sizes[i] for i in self.conditions)

    @property
    def num_codes(self) -> int:
        """Number of softmax spans."""
        return sum(size > 1 for size in self.sizes)

    @property
    def num_values(self) -> int:
        """Number of tanh spans."""
        return len(self.sizes) - self.num_codes

    def tables(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The spans and the conditions for kernels, on a device.

        Returns:
            int32 ``[spans, 3]``: first column, number of columns, and position among the spans of its kind,
            and int32 ``[conditions, 3]``: column of the condition, first column of its span, and the column
            after its last.
        """
        return _tables(self, device)


@cache  # a captured graph keeps the addresses
def _tables(spans: Spans, device: torch.device) -> tuple[Tensor, Tensor]:
    firsts = [0, *accumulate(spans.sizes)]
    rows, seen = [], [0, 0]
    for first, size in zip(firsts, spans.sizes, strict=False):
        is_softmax = size > 1
        rows.append((first, size, seen[is_softmax]))
        seen[is_softmax] += 1
    targets = [
        (column, firsts[i], firsts[i + 1])
        for i in spans.conditions
        for column in range(firsts[i], firsts[i + 1])
    ]
    return (
        torch.tensor(rows, dtype=torch.int32, device=device).view(-1, 3),
        torch.tensor(targets, dtype=torch.int32, device=device).view(-1, 3),
    )


class Table(NamedTuple):
    """An encoded table on a device, from which batches are drawn.

    Attributes:
        spans: its columns.
        codes: int32 ``[rows, softmax spans]``: the column within the span that is 1.
        values: float32 ``[rows, tanh spans]``, in [-1, 1].
        order: int32 ``[discrete columns * rows]``: for each discrete column the rows, sorted by value.
        starts: int64 ``[conditions + 1]``: where the rows of each condition begin in ``order``.
    """

    spans: Spans
    codes: Tensor
    values: Tensor
    order: Tensor
    starts: Tensor
