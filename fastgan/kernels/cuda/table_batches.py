"""CUDA kernels for conditions, and for batches of rows of an encoded table."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cuda.module import _cuda, address, rows_address, stream
from fastgan.kernels.native import DTYPES
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size
from fastgan.kernels.spans import Table


class TableBatches(Reference):
    def draw_conditions(self, uniform: Tensor, cumulative: Tensor) -> Tensor:
        uniform, cumulative = uniform.contiguous(), cumulative.contiguous()
        if cumulative.numel() == 0:
            raise ValueError("cumulative has no elements, expected one for each condition")
        drawn = uniform.new_empty(uniform.numel(), dtype=torch.int64)
        if drawn.numel():
            _cuda.draw_conditions(
                address(uniform, torch.float32),
                uniform.numel(),
                address(cumulative, torch.float64),
                cumulative.numel(),
                drawn.data_ptr(),
                stream(uniform),
            )
        return drawn

    def table_batch(self, table: Table, conditions: Tensor | None, uniform: Tensor, into: Tensor) -> None:
        spans, rows, batch = table.spans, len(table.codes), len(uniform)
        uniform = of_size(uniform, batch, "uniform").contiguous()
        if rows == 0:
            raise ValueError("table has no rows, expected at least one")
        if into.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"into is {into.dtype}, expected float32 or float64")
        columns = spans.width
        condition_address = starts = 0
        if conditions is not None:
            if not spans.conditions:
                raise ValueError("conditions are given, but spans.conditions is empty")
            columns += spans.num_conditions
            conditions = of_size(conditions, batch, "conditions").contiguous()
            condition_address = address(conditions, torch.int64)
            starts = address(of_size(table.starts, spans.num_conditions + 1, "table.starts"), torch.int64)
        layout, targets = spans.tables(into.device)
        num_codes = spans.num_codes
        num_values = len(layout) - num_codes
        place = rows_address(into, into.dtype, batch, columns, "into")
        if batch == 0:
            return
        _cuda.table_batch(
            DTYPES[into.dtype],
            batch,
            spans.width,
            rows,
            layout.data_ptr(),
            len(layout),
            targets.data_ptr(),
            len(targets),
            address(of_size(table.codes, rows * num_codes, "table.codes"), torch.int32),
            address(of_size(table.values, rows * num_values, "table.values"), torch.float32),
            num_codes,
            num_values,
            address(of_size(table.order, rows * len(spans.conditions), "table.order"), torch.int32),
            table.order.numel(),
            starts,
            condition_address,
            address(uniform, torch.float32),
            *place,
            stream(into),
        )
