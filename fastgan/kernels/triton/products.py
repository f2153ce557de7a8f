"""The matrix product, with an epilogue applied to the result in registers.

One kernel computes the layer (bias and leaky ReLU), dgrad (mask and bias gradient of the layer below) and
wgrad. wgrad splits its sum over the batch so that a large batch fills the GPU. Results do not depend on
scheduling: the last program of a tile adds the partial sums in order.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.acts import Act
from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import room
from fastgan.kernels.sizes import dgrad_sizes, forward_sizes, same_size, wgrad_sizes
from fastgan.kernels.triton import tuning
from fastgan.kernels.triton.bias_act import bounded
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, divisor
from fastgan.kernels.triton.reduction import add_up_columns
from fastgan.kernels.triton.scalar_math import leaky_relu, leaky_relu_gradient, number
from fastgan.kernels.triton.tuning import Config, Kind

_GROUP = 8  # row tiles that share the columns in L2
_FINISH = tl.constexpr(32)  # partial column sums read at a time
_NO_ACT = (0.0, 1.0, math.nan)  # slope, gain and bound
_UPCAST = tl.constexpr(INTERPRETING)  # numpy has no bfloat16


@triton.jit
def _dot(x, w, total, PRECISION: tl.constexpr):
    if _UPCAST:
        x = x.to(tl.float32)
        w = w.to(tl.float32)
    return tl.dot(x, w, total, input_precision=PRECISION)


@Kernel
def product_kernel(
    a,  # [rows, depth]; if A_TRANSPOSED, [depth, rows]
    b,  # [depth, columns]; if B_TRANSPOSED, [columns, depth]
    c,  # [rows, columns]: epilogue of a b
    bias,  # [columns], if BIAS: added
    output,  # [rows, columns], if MASK: c is multiplied by the slope of a leaky ReLU with this output
    summed,  # [columns], if SUM: the sum of c over rows
    partials,  # if SPLIT, [parts, rows, columns]: product of each part; if SUM, [row tiles, columns]
    arrived,  # if SPLIT, [tiles]; if SUM, [column tiles]: zero before and after
    rows: tl.int64,
    columns: tl.int64,
    depth: tl.int64,
    span: tl.int64,  # steps of depth per part
    negative_slope: tl.float64,
    gain: tl.float64,
    bound: tl.float64,  # nan: none
    A_TRANSPOSED: tl.constexpr,
    B_TRANSPOSED: tl.constexpr,
    BIAS: tl.constexpr,
    ACTIVATE: tl.constexpr,  # leaky_relu after the bias, gain and bound
    MASK: tl.constexpr,
    SUM: tl.constexpr,
    SPLIT: tl.constexpr,  # each program sums only a part of the depth
    ROWS_BY: tl.constexpr,  # divides rows
    COLUMNS_BY: tl.constexpr,  # divides columns
    DEPTH_BY: tl.constexpr,  # divides depth
    PRECISION: tl.constexpr,  # of float32: "ieee" or "tf32"
    GROUP: tl.constexpr,  # row tiles that share the columns in L2
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
    DEPTH: tl.constexpr,  # of a step
):
    """Each program handles one tile of c."""
    rows = rows // ROWS_BY * ROWS_BY  # no change: tells the compiler a divisor
    columns = columns // COLUMNS_BY * COLUMNS_BY
    depth = depth // DEPTH_BY * DEPTH_BY
    row_tiles = tl.cdiv(rows, ROWS).to(tl.int32)
    column_tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    tile = tl.program_id(0) % (row_tiles * column_tiles)
    part = tl.program_id(0) // (row_tiles * column_tiles)
    first_row_tile = tile // (GROUP * column_tiles) * GROUP
    height = tl.minimum(row_tiles - first_row_tile, GROUP)
    row_tile = first_row_tile + tile % (GROUP * column_tiles) % height
    column_tile = tile % (GROUP * column_tiles) // height
    row = row_tile.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = column_tile.to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside_rows = (row < rows)[:, None]
    inside_columns = (column < columns)[None, :]

    start = part.to(tl.int64) * span * DEPTH
    stop = tl.minimum(start + span * DEPTH, depth)
    k = start + tl.arange(0, DEPTH)
    if A_TRANSPOSED:
        a_at = a + k[None, :] * rows + row[:, None]
        a_step = DEPTH * rows
    else:
        a_at = a + row[:, None] * depth + k[None, :]
        a_step = DEPTH
    if B_TRANSPOSED:
        b_at = b + column[None, :] * depth + k[:, None]
        b_step = DEPTH
    else:
        b_at = b + k[:, None] * columns + column[None, :]
        b_step = DEPTH * columns
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    whole = (stop - start) // DEPTH
    for _ in range(whole):
        total = _dot(
            tl.load(a_at, mask=inside_rows, other=0.0),
            tl.load(b_at, mask=inside_columns, other=0.0),
            total,
            PRECISION,
        )
        a_at += a_step
        b_at += b_step
    rest = stop - start - whole * DEPTH
    if rest > 0:
        inside = tl.arange(0, DEPTH) < rest
        total = _dot(
            tl.load(a_at, mask=inside_rows & inside[None, :], other=0.0),
            tl.load(b_at, mask=inside_columns & inside[:, None], other=0.0),
            total,
            PRECISION,
        )

    at = row[:, None] * columns + column[None, :]
    inside_both = inside_rows & inside_columns
    if SPLIT:
        tl.store(partials + part.to(tl.int64) * rows * columns + at, total, mask=inside_both)
        tl.debug_barrier()  # all threads must have stored before one signals arrival
        parts = tl.num_programs(0) // (row_tiles * column_tiles)
        if tl.atomic_add(arrived + tile, 1, sem="acq_rel") == parts - 1:
            tl.store(arrived + tile, 0)
            total = tl.zeros([ROWS, COLUMNS], tl.float32)
            at_part = partials + at
            for _part in range(parts):
                total += tl.load(at_part, mask=inside_both, other=0.0)
                at_part += rows * columns
            tl.store(c + at, total.to(c.dtype.element_ty), mask=inside_both)
    else:
        if BIAS:
            total += tl.load(bias + column, mask=column < columns, other=0.0).to(tl.float32)[None, :]
        if ACTIVATE:
            total = number(gain, tl.float32) * leaky_relu(total, number(negative_slope, tl.float32))
            total = bounded(total, number(bound, tl.float32))
        if MASK:
            y = tl.load(output + at, mask=inside_both, other=0.0).to(tl.float32)
            total = leaky_relu_gradient(total, y, number(negative_slope, tl.float32))
        tl.store(c + at, total.to(c.dtype.element_ty), mask=inside_both)
        if SUM:
            # Rows outside were loaded as zeros and add nothing.
            sums = tl.sum(total, 0)
            tl.store(partials + row_tile.to(tl.int64) * columns + column, sums, mask=column < columns)
            tl.debug_barrier()
            if tl.atomic_add(arrived + column_tile, 1, sem="acq_rel") == row_tiles - 1:
                tl.store(arrived + column_tile, 0)
                add_up_columns(partials, summed, column, row_tiles, columns, _FINISH, COLUMNS, tl.float32)


def forward(input: Tensor, weight: Tensor, bias: Tensor | None, act: Act | None) -> Tensor:
    """Return ``input @ weight.T + bias``, with leaky ReLU, gain and bound if given."""
    n, k, m = forward_sizes(input, weight, bias)
    c = input.new_empty(n, m)
    tensors = input.contiguous(), weight.contiguous(), c, None if bias is None else bias.contiguous()
    numbers = _NO_ACT if act is None else (act.alpha, act.gain, act.bound)

    def run(config: Config) -> None:
        _launch(
            config,
            (*tensors, None, None, None, None),
            (n, m, k, triton.cdiv(k, config.depth), *numbers),
            (False, True, bias is not None, act is not None, False, False, False),
            (1, divisor(m), divisor(k)),
        )

    tuning.run(run, Kind.FORWARD, c, k)
    return c


def dgrad(
    grad: Tensor,
    weight: Tensor,
    output: Tensor | None = None,
    negative_slope: float = 0.0,
    with_bias: bool = False,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return ``grad @ weight``, times the slope at ``output`` if given; and its row sum if ``with_bias``."""
    n, k, m = dgrad_sizes(grad, weight)
    c = grad.new_empty(n, k)
    if output is not None:
        same_size(output, c, "output")
    summed = room(into, grad, k) if with_bias else None
    tensors = grad.contiguous(), weight.contiguous(), c, None, None if output is None else output.contiguous()

    def run(config: Config) -> None:
        partials = counters = None
        if with_bias:
            partials = grad.new_empty(triton.cdiv(n, config.rows) * k, dtype=torch.float32)
            counters = arrivals(grad, triton.cdiv(k, config.columns))
        _launch(
            config,
            (*tensors, summed, partials, counters),
            (n, k, m, triton.cdiv(m, config.depth), negative_slope, *_NO_ACT[1:]),
            (False, False, False, False, output is not None, with_bias, False),
            (1, divisor(k), divisor(m)),
        )

    tuning.run(run, Kind.DGRAD_WITH_SUMS if with_bias else Kind.DGRAD, c, m)
    return c, summed


def wgrad(grad: Tensor, input: Tensor, into: Tensor | None = None) -> Tensor:
    """Return ``grad.T @ input``."""
    n, k, m = wgrad_sizes(grad, input)
    c = room(into, grad, m, k)
    tensors = grad.contiguous(), input.contiguous(), c

    def run(config: Config) -> None:
        span, parts = _split(m, k, n, config.depth)
        partials = counters = None
        if parts > 1:
            partials = grad.new_empty(parts * m * k, dtype=torch.float32)
            counters = arrivals(grad, triton.cdiv(m, config.rows) * triton.cdiv(k, config.columns))
        _launch(
            config,
            (*tensors, None, None, None, partials, counters),
            (m, k, n, span, *_NO_ACT),
            (True, False, False, False, False, False, parts > 1),
            (divisor(m), divisor(k), 1),
            parts,
        )

    tuning.run(run, Kind.WGRAD, c, n)
    return c


_PROGRAMS_TO_FILL_GPU = 256
_MIN_PART_DEPTH = 256
_MAX_PARTS = 32


def _split(rows: int, columns: int, depth: int, block: int) -> tuple[int, int]:
    """Return blocks per part and parts. They depend only on sizes, so the order of sums is fixed."""
    blocks = triton.cdiv(depth, block)
    tiles = triton.cdiv(rows, 64) * triton.cdiv(columns, 64)
    parts = max(1, min(_PROGRAMS_TO_FILL_GPU // tiles, _MAX_PARTS, depth // _MIN_PART_DEPTH))
    span = triton.cdiv(blocks, parts)
    return span, triton.cdiv(blocks, span)


def _launch(
    config: Config,
    tensors: tuple[Tensor | None, ...],
    numbers: tuple[float, ...],
    epilogue: tuple[bool, ...],
    divisors: tuple[int, int, int],
    parts: int = 1,
) -> None:
    rows, columns = int(numbers[0]), int(numbers[1])
    precision = "tf32" if tuning.tf32_is_allowed() else "ieee"
    constants: tuple[Any, ...] = (*epilogue, *divisors, precision, _GROUP, *config[:3])
    product_kernel.launch(
        triton.cdiv(rows, config.rows) * triton.cdiv(columns, config.columns) * parts,
        tensors,
        numbers,
        constants,
        config.num_warps,
        config.num_stages,
    )
