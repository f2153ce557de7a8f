"""What every step measures, kept on the device until someone wants to read it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NAMES = ("loss_D", "loss_G", "D(x)", "D(G(z))", "saturated")
"""Columns: both losses, mean D(x), mean D(G(z)), share of saturated logits in D's turn."""


class Statistics:
    """A table on the device with one row a step.

    Args:
        capacity: the most rows between two calls of :meth:`drain`.
        device: where the rows are kept.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        self._rows = torch.zeros(capacity, len(NAMES), device=device)
        # on the device as well, so that a captured step writes each row to its own place
        self._next = torch.zeros(1, dtype=torch.int64, device=device)

    def record(self, values: Sequence[Tensor]) -> None:
        """Append a row of scalars, in the order of ``NAMES``, without waiting for the device."""
        row = torch.stack([value.float() for value in values])
        self._rows.index_copy_(0, self._next, row.unsqueeze(0))
        self._next += 1

    def drain(self) -> Tensor:
        """Wait for the device, return the rows ``[steps, 5]`` on the CPU and start again."""
        rows = self._rows[: int(self._next.item())].to("cpu", copy=True)
        self._next.zero_()
        return rows
