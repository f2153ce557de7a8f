"""Bias + leaky ReLU. The backward computes the bias gradient in the same pass.

Kernels view memory as a matrix (tiles.py). Partial sums cover ranges that depend only on sizes; the last
program of a channel adds them in order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.acts import Act
from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import channel_layout, room
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import of_size, same_size
from fastgan.kernels.triton.launch import Kernel, divisor
from fastgan.kernels.triton.reduction import FINISH, add_up, add_up_columns
from fastgan.kernels.triton.scalar_math import leaky_relu, leaky_relu_gradient, number
from fastgan.kernels.triton.tiles import matrix, ranges_of_planes, ranges_of_rows, tile_of


@Kernel
def forward_kernel(
    x,  # [rows, columns]
    bias,  # [channels], if BIAS: ALONG_COLUMNS: one per column; else: of row r, bias[r % channels]
    y,  # [rows, columns]
    rows: tl.int64,
    columns: tl.int64,
    channels: tl.int64,
    negative_slope: tl.float64,
    BIAS: tl.constexpr,
    ALONG_COLUMNS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile; one tile per program
    COLUMNS: tl.constexpr,  # of a tile
):
    """y = leaky_relu(x + bias)."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY  # no change: tells the compiler a divisor
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    first = (tl.program_id(0) // tiles).to(tl.int64) * ROWS
    row = first + tl.arange(0, ROWS)
    column = (tl.program_id(0) % tiles).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    at = row[:, None] * columns + column[None, :]
    z = tl.load(x + at, mask=inside, other=0.0).to(COMPUTE)
    if BIAS:
        if ALONG_COLUMNS:
            z += tl.load(bias + column, mask=column < columns, other=0.0).to(COMPUTE)[None, :]
        else:
            channel = ((first % channels).to(tl.int32) + tl.arange(0, ROWS)) % channels.to(tl.int32)
            z += tl.load(bias + channel).to(COMPUTE)[:, None]
    z = leaky_relu(z, number(negative_slope, COMPUTE))
    tl.store(y + at, z.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _mask_tile(grad, y, masked, at, inside, negative_slope, COMPUTE: tl.constexpr):
    g = tl.load(grad + at, mask=inside, other=0.0).to(COMPUTE)
    g = leaky_relu_gradient(g, tl.load(y + at, mask=inside, other=0.0).to(COMPUTE), negative_slope)
    tl.store(masked + at, g.to(masked.dtype.element_ty), mask=inside)
    return g


@Kernel
def backward_rows_kernel(
    grad,  # [rows, columns]
    y,  # [rows, columns]: the output
    masked,  # [rows, columns]: grad times the slope at y
    summed,  # [columns], if BIAS: the sum of masked over rows
    partials,  # [ranges, columns], if BIAS: the sum over each range of rows
    arrived,  # [tiles of columns], if BIAS: zero before and after
    rows: tl.int64,
    columns: tl.int64,
    span: tl.int64,  # rows of a range
    negative_slope: tl.float64,
    BIAS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
):
    """Each program handles a range of rows in the columns of one tile."""
    COMPUTE: tl.constexpr = tl.float64 if grad.dtype.element_ty == tl.float64 else tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY
    negative_slope = number(negative_slope, COMPUTE)
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    tile = tl.program_id(0) % tiles
    part = (tl.program_id(0) // tiles).to(tl.int64)
    column = tile.to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside_columns = (column < columns)[None, :]
    first = part * span
    total = tl.zeros([ROWS, COLUMNS], COMPUTE)
    for base in range(first, tl.minimum(first + span, rows), ROWS):
        row = base + tl.arange(0, ROWS)
        at = row[:, None] * columns + column[None, :]
        total += _mask_tile(
            grad, y, masked, at, (row < rows)[:, None] & inside_columns, negative_slope, COMPUTE
        )
    if BIAS:
        tl.store(partials + part * columns + column, tl.sum(total, 0), mask=column < columns)
        tl.debug_barrier()  # all threads must have stored before one signals arrival
        ranges = tl.num_programs(0) // tiles
        if tl.atomic_add(arrived + tile, 1, sem="acq_rel") == ranges - 1:
            tl.store(arrived + tile, 0)
            add_up_columns(partials, summed, column, ranges, columns, ROWS, COLUMNS, COMPUTE)


@Kernel
def backward_planes_kernel(
    grad,  # [outer, channels, inner]
    y,  # [outer, channels, inner]: the output
    masked,  # [outer, channels, inner]: grad times the slope at y
    summed,  # [channels]: the sum of masked over outer and inner
    partials,  # [channels, ranges]: the sum over each range
    arrived,  # [channels]: zero before and after
    outer: tl.int64,
    channels: tl.int64,
    inner: tl.int64,
    ranges: tl.int64,  # per channel
    span: tl.int64,  # tiles per range
    negative_slope: tl.float64,
    INNER_BY: tl.constexpr,  # divides inner
    OUTER: tl.constexpr,  # of a tile
    INNER: tl.constexpr,  # of a tile
):
    """Each program handles a range of consecutive tiles of one channel."""
    COMPUTE: tl.constexpr = tl.float64 if grad.dtype.element_ty == tl.float64 else tl.float32
    inner = inner // INNER_BY * INNER_BY
    negative_slope = number(negative_slope, COMPUTE)
    ranges = ranges.to(tl.int32)
    span = span.to(tl.int32)
    channel = (tl.program_id(0) // ranges).to(tl.int64)
    inner_tiles = tl.cdiv(inner, INNER).to(tl.int32)
    tiles = inner_tiles * tl.cdiv(outer, OUTER).to(tl.int32)
    first = tl.program_id(0) % ranges * span
    total = tl.zeros([OUTER, INNER], COMPUTE)
    for tile in range(first, tl.minimum(first + span, tiles)):
        sample = (tile // inner_tiles).to(tl.int64) * OUTER + tl.arange(0, OUTER)
        place = (tile % inner_tiles).to(tl.int64) * INNER + tl.arange(0, INNER)
        at = (sample * channels + channel)[:, None] * inner + place[None, :]
        inside = (sample < outer)[:, None] & (place < inner)[None, :]
        total += _mask_tile(grad, y, masked, at, inside, negative_slope, COMPUTE)
    tl.store(partials + tl.program_id(0), tl.sum(total))
    tl.debug_barrier()
    if tl.atomic_add(arrived + channel, 1, sem="acq_rel") == ranges - 1:
        tl.store(arrived + channel, 0)
        summed_up = add_up(partials + channel * ranges, 0, ranges, FINISH, COMPUTE)
        tl.store(summed + channel, summed_up.to(summed.dtype.element_ty))


class BiasLeakyReLU(Reference):
    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        if not act.is_plain:
            return super().bias_act(input, bias, act, dim)
        dense, layout, _ = channel_layout(input, dim)
        output = torch.empty_like(dense)  # keeps the memory format
        bias_leaky_relu_into(output, dense, layout, bias, act.alpha)
        return output

    def bias_act_backward(
        self,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        if not act.is_plain:
            return super().bias_act_backward(grad, saved, bias, act, dim, with_bias, into)
        dense, layout, channels_last = channel_layout(saved, dim)
        grad = grad.movedim(dim, -1).contiguous() if channels_last else grad.contiguous()
        masked = torch.empty_like(dense)
        return masked, mask_into(masked, grad, dense, layout, act.alpha, with_bias, into)


def bias_leaky_relu_into(
    output: Tensor, input: Tensor, layout: tuple[int, int, int], bias: Tensor | None, negative_slope: float
) -> None:
    """Write leaky_relu(input + bias). Both tensors have ``layout``; they may be the same."""
    if bias is not None:
        bias = of_size(bias, layout[1], "bias").contiguous()
    if input.numel() == 0:
        return
    rows, columns, along_columns = matrix(layout)
    tile = tile_of(rows, columns, 1024, input.dtype)
    forward_kernel.launch(
        triton.cdiv(rows, tile[0]) * triton.cdiv(columns, tile[1]),
        (input, bias, output),
        (rows, columns, layout[1], negative_slope),
        (bias is not None, along_columns, divisor(columns), *tile),
    )


def mask_into(
    masked: Tensor,
    grad: Tensor,
    output: Tensor,
    layout: tuple[int, int, int],
    negative_slope: float,
    with_bias: bool,
    into: Tensor | None = None,
) -> Tensor | None:
    """Write grad times slope into ``masked``, which may be ``grad``. Return the bias gradient."""
    same_size(grad, output, "grad")
    _, channels, inner = layout
    summed = room(into, output, channels) if with_bias else None
    if output.numel() == 0:
        return None if summed is None else summed.zero_()
    if with_bias and inner > 1:
        _mask_planes(masked, grad, output, layout, negative_slope, summed)
        return summed
    rows, columns, _ = matrix(layout)
    tile, column_tiles, ranges, span = ranges_of_rows(rows, columns, output.dtype)
    partials = counters = None
    if with_bias:
        partials = output.new_empty(ranges * columns, dtype=compute_dtype(output.dtype))
        counters = arrivals(output, column_tiles)
    backward_rows_kernel.launch(
        column_tiles * ranges,
        (grad, output, masked, summed, partials, counters),
        (rows, columns, span, negative_slope),
        (with_bias, divisor(columns), *tile),
    )
    return summed


def _mask_planes(
    masked: Tensor,
    grad: Tensor,
    output: Tensor,
    layout: tuple[int, int, int],
    negative_slope: float,
    summed: Tensor | None,
) -> None:
    outer, channels, inner = layout
    tile, ranges, span = ranges_of_planes(layout, output.dtype)
    partials = output.new_empty(channels * ranges, dtype=compute_dtype(output.dtype))
    backward_planes_kernel.launch(
        channels * ranges,
        (grad, output, masked, summed, partials, arrivals(output, channels)),
        (outer, channels, inner, ranges, span, negative_slope),
        (divisor(inner), *tile),
    )
