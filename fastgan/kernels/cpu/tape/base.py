"""Units and stages of a tape, and the checks of its calls."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import _cpu
from fastgan.kernels.native import address, rows_address
from fastgan.kernels.sizes import of_size

FLOAT = torch.float32


class TapeBase:
    """Stages of units of rows (``csrc/cpu/tape.h``), to which subclasses add calls.

    A call takes a tensor with one or more rows (or elements) for each row of its unit: their number is a
    multiple of the unit's rows.
    """

    def __init__(self) -> None:
        self._calls = _cpu.Tape()
        self._kept: list[Tensor] = []
        self._rows = 0

    def stage(self) -> None:
        """Begin a stage: what follows waits for everything before."""
        self._calls.stage()

    def unit(self, rows: int, step: int) -> None:
        """Begin a unit of ``rows`` rows, taken ``step`` at a time."""
        self._rows = rows
        self._calls.unit(rows, step)

    def _at(self, tensor: Tensor, size: int | None = None, dtype: torch.dtype = FLOAT) -> int:
        """The address of a tensor, which the tape keeps alive."""
        if size is not None:
            of_size(tensor, size, "a tensor of a recorded step")
        self._kept.append(tensor)
        return address(tensor, dtype)

    def _matrix(self, tensor: Tensor, rows: int, columns: int) -> tuple[int, int]:
        """The address of a matrix with adjacent columns, and the elements from each row to the next."""
        self._kept.append(tensor)
        return rows_address(tensor, FLOAT, rows, columns, "a matrix of a recorded step")

    def _like(self, tensor: Tensor, other: Tensor) -> int:
        return self._at(tensor, other.numel())

    def _each(self, tensor: Tensor) -> int:
        """Number of elements for each row of the unit."""
        return self._ratio(tensor.numel())

    def _ratio(self, count: int) -> int:
        if count % self._rows:
            raise ValueError(
                f"a call has {count} rows or elements, expected a multiple of the unit's {self._rows}"
            )
        return count // self._rows

    def _one_each(self, count: int) -> None:
        """Check that a call has one row or column for each of the unit."""
        if count != self._rows:
            raise ValueError(f"a call has {count} rows or columns, expected the unit's {self._rows}")
