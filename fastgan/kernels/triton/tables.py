"""Conditions and batches of rows, drawn from an encoded table."""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.native import row_stride
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import checked_conditions, of_size
from fastgan.kernels.spans import Spans, Table
from fastgan.kernels.triton.launch import Kernel, threads
from fastgan.kernels.triton.tiles import tile_of


@triton.jit
def _within(share, count):
    """floor(share * count), at most count - 1, but 0 if there are none."""
    return tl.maximum(tl.minimum((share.to(tl.float64) * count).to(tl.int64), count - 1), 0)


@Kernel
def table_batch_kernel(
    into,  # [batch, width + num_conditions]
    uniform,  # [batch], in [0, 1)
    conditions,  # [batch], or None
    columns,  # int32 [width, 2]: position among spans of its kind; column within a softmax span, -1 for tanh
    codes,  # [rows, num_codes]
    values,  # [rows, num_values]
    order,  # [places]: rows, sorted by condition
    starts,  # [num_conditions + 1]: where the rows of each begin in order
    batch: tl.int64,
    width: tl.int64,
    num_conditions: tl.int64,  # 0 without conditions
    apart: tl.int64,  # elements between rows of into
    rows: tl.int64,
    num_codes: tl.int64,
    num_values: tl.int64,
    places: tl.int64,
    ROWS: tl.constexpr,  # of a tile; one tile per program
    COLUMNS: tl.constexpr,  # of a tile
):
    """Each program writes a tile. Whatever the table contains, only its own memory is read."""
    tiles = tl.cdiv(width + num_conditions, COLUMNS).to(tl.int32)
    sample = (tl.program_id(0) // tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(0) % tiles).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    exists = sample < batch
    share = tl.load(uniform + sample, mask=exists, other=0.0)
    if conditions is None:
        row = _within(share, rows)
        condition = row * 0 - 1
    else:
        condition = tl.load(conditions + sample, mask=exists, other=0)
        condition = tl.minimum(tl.maximum(condition, 0), num_conditions - 1)
        first = tl.load(starts + condition, mask=exists, other=0)
        place = first + _within(share, tl.load(starts + condition + 1, mask=exists, other=0) - first)
        row = tl.load(order + tl.minimum(tl.maximum(place, 0), places - 1), mask=exists, other=0).to(tl.int64)
        row = tl.minimum(tl.maximum(row, 0), rows - 1)
    row = row[:, None]
    exists = exists[:, None]
    encoded = column < width
    position = tl.load(columns + 2 * column, mask=encoded, other=0)
    own = tl.load(columns + 2 * column + 1, mask=encoded, other=0)
    is_value = encoded & (own < 0)
    value = tl.load(values + row * num_values + position, mask=exists & is_value, other=0.0)
    code = tl.load(codes + row * num_codes + position, mask=exists & encoded & (own >= 0), other=-1)
    one = tl.where(encoded, code == own, column - width == condition[:, None])
    result = tl.where(is_value, value, tl.where(one, 1.0, 0.0))
    inside = exists & (column < width + num_conditions)
    tl.store(into + sample[:, None] * apart + column, result.to(into.dtype.element_ty), mask=inside)


@Kernel
def draw_conditions_kernel(
    uniform,  # [n], in [0, 1)
    cumulative,  # [count]: ascending
    drawn,  # [n]: the first condition with a cumulative share above the number; at most the last
    n: tl.int64,
    count: tl.int64,
    steps: tl.int64,  # of the binary search: bits of count - 1
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    share = tl.load(uniform + at, mask=at < n, other=0.0).to(tl.float64)
    low = at * 0  # the result is in [low, high]
    high = low + count - 1
    for _ in range(steps):
        middle = (low + high) // 2
        is_above = tl.load(cumulative + middle) > share
        low = tl.where(is_above, low, tl.minimum(middle + 1, high))
        high = tl.where(is_above, middle, high)
    tl.store(drawn + at, low, mask=at < n)


class Tables(Reference):
    def table_batch(self, table: Table, conditions: Tensor | None, uniform: Tensor, into: Tensor) -> None:
        spans, rows, batch = table.spans, len(table.codes), uniform.numel()
        num_conditions = 0 if conditions is None else spans.num_conditions
        width = spans.width + num_conditions
        apart = row_stride(into, batch, width, "into")
        of_table = _checked(table)
        if conditions is not None:
            conditions = checked_conditions(conditions, spans, batch)
        if not batch:
            return
        tile = tile_of(batch, width, 128, torch.float32, 1)
        table_batch_kernel.launch(
            triton.cdiv(batch, tile[0]) * triton.cdiv(width, tile[1]),
            (into, uniform.contiguous(), conditions, _columns(spans, into.device), *of_table),
            (
                *(batch, spans.width, num_conditions, apart, rows, spans.num_codes, spans.num_values),
                table.order.numel(),
            ),
            tile,
        )

    def draw_conditions(self, uniform: Tensor, cumulative: Tensor) -> Tensor:
        n, count, block = uniform.numel(), cumulative.numel(), threads()
        if not count:
            raise ValueError("cumulative is empty, expected a share for each condition")
        drawn = torch.empty(n, dtype=torch.int64, device=uniform.device)
        if n:
            draw_conditions_kernel.launch(
                triton.cdiv(n, block),
                (uniform.contiguous(), cumulative.contiguous(), drawn),
                (n, count, (count - 1).bit_length()),
                (block,),
            )
        return drawn


@cache  # never freed: a captured graph keeps only the address
def _columns(spans: Spans, device: torch.device) -> Tensor:
    """int32 ``[width, 2]``: position of a column's span among those of its kind, and column within, or -1."""
    found, seen = [], [0, 0]
    for size in spans.sizes:
        found += [(seen[size > 1], column if size > 1 else -1) for column in range(size)]
        seen[size > 1] += 1
    return torch.tensor(found, dtype=torch.int32, device=device)


def _checked(table: Table) -> tuple[Tensor, ...]:
    """Return codes, values, order and starts, of the right sizes and contiguous."""
    spans, rows = table.spans, len(table.codes)
    if not rows:
        raise ValueError("table has no rows, expected at least one")
    of_size(table.codes, rows * spans.num_codes, "table.codes")
    of_size(table.values, rows * spans.num_values, "table.values")
    of_size(table.order, rows * len(spans.conditions), "table.order")
    if spans.conditions:
        of_size(table.starts, spans.num_conditions + 1, "table.starts")
    return tuple(t.contiguous() for t in table[1:])
