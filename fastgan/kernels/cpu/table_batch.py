"""Conditions, and batches of rows of an encoded table, in C++."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.module import CPU, _cpu
from fastgan.kernels.native import DTYPES, address, rows_address
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import matrix, of_size
from fastgan.kernels.spans import Table


class TableBatch(Reference):
    def draw_conditions(self, uniform: Tensor, cumulative: Tensor) -> Tensor:
        uniform, cumulative = uniform.contiguous(), cumulative.contiguous()
        if not cumulative.numel():
            raise ValueError("cumulative has no shares, expected at least one")
        drawn = torch.empty(uniform.shape, dtype=torch.int64, device=CPU)
        _cpu.draw_conditions(
            address(uniform, torch.float32),
            uniform.numel(),
            address(cumulative, torch.float64),
            cumulative.numel(),
            drawn.data_ptr(),
            torch.get_num_threads(),
        )
        return drawn

    def table_batch(self, table: Table, conditions: Tensor | None, uniform: Tensor, into: Tensor) -> None:
        spans, uniform, batch, dtype = table.spans, uniform.contiguous(), uniform.numel(), into.dtype
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"into is {dtype}, expected float32 or float64")
        (rows, num_codes), of_spans = matrix(table.codes, "table.codes"), spans.tables(CPU)[0]
        if rows == 0 and batch:
            raise ValueError(f"the table has no rows, but a batch of {batch} is to be drawn")
        conditions, targets, order, starts = _of_conditions(table, conditions, batch)
        _cpu.table_batch(
            *(DTYPES[dtype], batch, spans.width, rows),
            *(of_spans.data_ptr(), len(of_spans), targets.data_ptr(), len(targets)),
            address(of_size(table.codes, rows * spans.num_codes, "table.codes"), torch.int32),
            num_codes,
            address(of_size(table.values, rows * spans.num_values, "table.values"), torch.float32),
            spans.num_values,
            *(address(order, torch.int32), order.numel(), address(starts, torch.int64)),
            0 if conditions is None else address(conditions, torch.int64),
            address(uniform, torch.float32),
            *rows_address(into, dtype, batch, spans.width + len(targets), "into"),
            torch.get_num_threads(),
        )


def _of_conditions(
    table: Table, conditions: Tensor | None, batch: int
) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
    """Contiguous conditions, their targets, and the table's order and starts; without conditions empty."""
    spans, targets = table.spans, table.spans.tables(CPU)[1]
    if conditions is None:
        return None, targets[:0], table.order[:0], table.starts[:0]
    if not spans.conditions:
        raise ValueError("conditions are given, but spans.conditions is empty; name the discrete spans there")
    order = of_size(table.order, len(spans.conditions) * len(table.codes), "table.order")
    starts = of_size(table.starts, len(targets) + 1, "table.starts")
    return of_size(conditions, batch, "conditions").contiguous(), targets, order, starts
