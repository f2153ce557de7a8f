"""Batch norm + leaky ReLU: statistics in one launch, normalize + activate in one.

The backward pass takes one launch for the sums and one for the input's gradient in training, one in
evaluation. Kernels view memory as a matrix (tiles.py). Partial results cover ranges that depend only on
sizes; the last program of a channel combines them in order.

The *moments* of some values of a channel are their mean less the channel's first value, the mean's rounding
error, and the sum of squared distances from the mean. Subtracting a value keeps the digits of a mean that is
large compared to these distances. It loses none, even if that value is an outlier: the variance contains its
distance from the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.channels import copy_back, of_channels
from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import channel_layout, in_rows
from fastgan.kernels.native import compute_dtype, row_stride
from fastgan.kernels.reference import Reference
from fastgan.kernels.sizes import matrix as rows_and_columns
from fastgan.kernels.sizes import same_size
from fastgan.kernels.triton.launch import Kernel, divisor
from fastgan.kernels.triton.reduction import FINISH, add_up, sums_of_columns
from fastgan.kernels.triton.scalar_math import leaky_relu, leaky_relu_gradient, number
from fastgan.kernels.triton.tiles import (
    first_row_of_program,
    in_rows_apart,
    matrix,
    ranges_of_planes,
    ranges_of_rows,
    rows_apart,
    tile_of,
    tile_of_program,
)

Layout = tuple[int, int, int]
Tensors = Sequence[Tensor | None]

_LOADS = 2  # per thread and array, as every element of a tile has two accumulators, or there are two arrays
# Limit per thread for the sums of planes. By default ptxas stays at 64 in bfloat16 on an A100, and at 48 in
# float64 on an H100, and spills.
_PLANES_REGISTERS = 96
_WIDEST = 128  # columns of a tile that have a channel each, as each loads several numbers of its channel


# --- statistics


@triton.jit
def _update(running, channel, batch, inside, momentum, COMPUTE: tl.constexpr):
    before = tl.load(running + channel, mask=inside, other=0.0).to(COMPUTE)
    after = (1 - momentum) * before + momentum * batch
    tl.store(running + channel, after.to(running.dtype.element_ty), mask=inside)


@triton.jit
def _write_statistics(
    batch_mean,  # [channels]: the mean is written at ``channel``
    batch_var,  # [channels]: m2 / count
    running_mean,  # [channels] or None: updated
    running_var,  # [channels] or None: updated
    channel,
    inside,
    mean,  # like channel
    m2,  # like channel: the sum of squared distances from the mean
    count,
    momentum,
    COMPUTE: tl.constexpr,
):
    momentum = number(momentum, COMPUTE)
    tl.store(batch_mean + channel, mean, mask=inside)
    tl.store(batch_var + channel, m2 / number(count, COMPUTE), mask=inside)
    if running_mean is not None:
        _update(running_mean, channel, mean, inside, momentum, COMPUTE)
    if running_var is not None:
        unbiased = m2 / number(tl.maximum(count - 1, 1), COMPUTE)
        _update(running_var, channel, unbiased, inside, momentum, COMPUTE)


@triton.jit
def _moments_of_rows(
    x,  # [rows, columns]
    column,  # [COLUMNS]
    origin,  # [COLUMNS]: subtracted from x
    first,  # of the rows
    stop,
    columns,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """The moments of each column of rows first to stop."""
    means = tl.zeros([ROWS, COLUMNS], COMPUTE)
    squares = tl.zeros([ROWS, COLUMNS], COMPUTE)
    steps = number(0.0, COMPUTE)
    for base in range(first, stop, ROWS):  # Welford's recurrence for each element of the tile
        row = base + tl.arange(0, ROWS)
        inside = (row < stop)[:, None] & (column < columns)[None, :]
        value = tl.load(x + row[:, None] * columns + column[None, :], mask=inside, other=0.0).to(COMPUTE)
        value = tl.where(inside, value - origin[None, :], means)
        steps += 1.0
        distance = value - means
        means += distance * (1.0 / steps)
        squares += distance * (value - means)
    # how many values each row of the tile had
    count = ((stop - first + ROWS - 1 - tl.arange(0, ROWS)) // ROWS).to(COMPUTE)[:, None]
    size = (stop - first).to(COMPUTE)
    mean = tl.sum(count * means, 0) / size
    apart = means - mean[None, :]
    return mean, tl.sum(count * apart, 0) / size, tl.sum(squares + count * apart * apart, 0)


@triton.jit
def _moments_of_ranges(
    partials,  # [3, ranges, columns]: the moments of each range
    column,  # [COLUMNS]
    ranges,
    span,  # rows of a range
    rows,
    columns,
    ROWS: tl.constexpr,  # ranges read at a time
    COLUMNS: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """The moments of each column over all rows."""
    sums = tl.zeros([ROWS, COLUMNS], COMPUTE)
    for base in range(0, ranges, ROWS):
        part = base + tl.arange(0, ROWS)
        inside = (part < ranges)[:, None] & (column < columns)[None, :]
        size = tl.minimum(rows - part * span, span).to(COMPUTE)[:, None]
        sums += size * tl.load(partials + part[:, None] * columns + column[None, :], mask=inside, other=0.0)
    mean = tl.sum(sums, 0) / rows.to(COMPUTE)
    rests = tl.zeros([ROWS, COLUMNS], COMPUTE)
    squares = tl.zeros([ROWS, COLUMNS], COMPUTE)
    for base in range(0, ranges, ROWS):
        part = base + tl.arange(0, ROWS)
        inside = (part < ranges)[:, None] & (column < columns)[None, :]
        size = tl.minimum(rows - part * span, span).to(COMPUTE)[:, None]
        at = partials + part[:, None] * columns + column[None, :]
        apart = tl.load(at, mask=inside, other=0.0) - mean[None, :]
        apart = tl.where(inside, apart + tl.load(at + ranges * columns, mask=inside, other=0.0), 0.0)
        rests += size * apart
        squares += tl.load(at + 2 * ranges * columns, mask=inside, other=0.0) + size * apart * apart
    return mean, tl.sum(rests, 0) / rows.to(COMPUTE), tl.sum(squares, 0)


@Kernel
def statistics_rows_kernel(
    x,  # [rows, columns]
    batch_mean,  # [columns]: mean of each column
    batch_var,  # [columns]: its biased variance
    running_mean,  # [columns] or None: updated
    running_var,  # [columns] or None: updated
    partials,  # [3, ranges, columns]: the moments of each range
    arrived,  # [tiles of columns]: zero before and after
    rows: tl.int64,
    columns: tl.int64,
    span: tl.int64,  # rows of a range
    momentum: tl.float64,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
):
    """Each program handles a range of rows in the columns of one tile."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY  # no change: tells the compiler a divisor
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    tile = tl.program_id(0) % tiles
    part = (tl.program_id(0) // tiles).to(tl.int64)
    ranges = (tl.num_programs(0) // tiles).to(tl.int64)
    column = tile.to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside_columns = column < columns
    origin = tl.load(x + column, mask=inside_columns, other=0.0).to(COMPUTE)
    first = part * span
    stop = tl.minimum(first + span, rows)
    mean, rest, m2 = _moments_of_rows(x, column, origin, first, stop, columns, ROWS, COLUMNS, COMPUTE)
    own = partials + part * columns + column
    tl.store(own, mean, mask=inside_columns)
    tl.store(own + ranges * columns, rest, mask=inside_columns)
    tl.store(own + 2 * ranges * columns, m2, mask=inside_columns)
    tl.debug_barrier()  # all threads must have stored before one signals arrival
    if tl.atomic_add(arrived + tile, 1, sem="acq_rel") == ranges - 1:
        tl.store(arrived + tile, 0)
        mean, rest, m2 = _moments_of_ranges(
            partials, column, ranges, span, rows, columns, ROWS, COLUMNS, COMPUTE
        )
        _write_statistics(
            batch_mean,
            batch_var,
            running_mean,
            running_var,
            column,
            inside_columns,
            origin + mean + rest,
            m2,
            rows,
            momentum,
            COMPUTE,
        )


@triton.jit
def _moments_of_channel(
    partials,  # [4, ...]: from here on size and moments of each range
    ranges,
    apart,  # between the size of a range and its first moment, and so on
    count,  # values of the channel
    COMPUTE: tl.constexpr,
):
    each = tl.arange(0, FINISH)  # there are no more ranges (tiles.py)
    sizes = tl.load(partials + each, mask=each < ranges, other=0.0)
    means = tl.load(partials + apart + each, mask=each < ranges, other=0.0)
    rests = tl.load(partials + 2 * apart + each, mask=each < ranges, other=0.0)
    squares = tl.load(partials + 3 * apart + each, mask=each < ranges, other=0.0)
    count = number(count, COMPUTE)
    mean = tl.sum(sizes * means) / count
    distances = means - mean + rests
    return mean, tl.sum(sizes * distances) / count, tl.sum(squares + sizes * distances * distances)


@Kernel
def statistics_planes_kernel(
    x,  # [outer, channels, inner]
    batch_mean,  # [channels]: mean over outer and inner
    batch_var,  # [channels]: biased variance
    running_mean,  # [channels] or None: updated
    running_var,  # [channels] or None: updated
    partials,  # [4, channels, ranges]: of each range its size, then the moments
    arrived,  # [channels]: zero before and after
    outer: tl.int64,
    channels: tl.int64,
    inner: tl.int64,
    ranges: tl.int64,  # per channel
    span: tl.int64,  # tiles per range
    momentum: tl.float64,
    INNER_BY: tl.constexpr,  # divides inner
    OUTER: tl.constexpr,  # of a tile
    INNER: tl.constexpr,  # of a tile
):
    """Each program handles a range of consecutive tiles of one channel."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    inner = inner // INNER_BY * INNER_BY
    ranges = ranges.to(tl.int32)
    span = span.to(tl.int32)
    channel = (tl.program_id(0) // ranges).to(tl.int64)
    origin = tl.load(x + channel * inner).to(COMPUTE)
    inner_tiles = tl.cdiv(inner, INNER).to(tl.int32)
    tiles = inner_tiles * tl.cdiv(outer, OUTER).to(tl.int32)
    first = tl.program_id(0) % ranges * span
    count = number(0.0, COMPUTE)
    mean = number(0.0, COMPUTE)
    rest = number(0.0, COMPUTE)
    m2 = number(0.0, COMPUTE)
    for tile in range(first, tl.minimum(first + span, tiles)):
        sample = (tile // inner_tiles).to(tl.int64) * OUTER
        place = (tile % inner_tiles).to(tl.int64) * INNER
        size = (tl.minimum(outer - sample, OUTER) * tl.minimum(inner - place, INNER)).to(COMPUTE)
        sample += tl.arange(0, OUTER)
        place += tl.arange(0, INNER)
        at = (sample * channels + channel)[:, None] * inner + place[None, :]
        inside = (sample < outer)[:, None] & (place < inner)[None, :]
        value = tl.load(x + at, mask=inside, other=0.0).to(COMPUTE) - origin
        tile_mean = tl.sum(tl.where(inside, value, 0.0)) / size
        apart = tl.where(inside, value - tile_mean, 0.0)
        # Chan's formula; what rounding takes from the mean goes to rest
        count += size
        share = size / count
        distance = tile_mean - mean + (tl.sum(apart) / size - rest)
        before = mean
        mean += distance * share
        rest += distance * share - (mean - before)
        m2 += tl.sum(apart * apart) + distance * distance * (count - size) * share
    apart_by = tl.num_programs(0).to(tl.int64)
    own = partials + tl.program_id(0)
    tl.store(own, count)
    tl.store(own + apart_by, mean)
    tl.store(own + 2 * apart_by, rest)
    tl.store(own + 3 * apart_by, m2)
    tl.debug_barrier()
    if tl.atomic_add(arrived + channel, 1, sem="acq_rel") == ranges - 1:
        tl.store(arrived + channel, 0)
        own = partials + channel * ranges
        mean, rest, m2 = _moments_of_channel(own, ranges, apart_by, outer * inner, COMPUTE)
        _write_statistics(
            batch_mean,
            batch_var,
            running_mean,
            running_var,
            channel,
            channel < channels,
            origin + mean + rest,
            m2,
            outer * inner,
            momentum,
            COMPUTE,
        )


# --- normalize + activate


@triton.jit
def _of_channels(values, channel, inside, otherwise, COMPUTE: tl.constexpr):
    """values[channel]; a number if there are no values."""
    if values is None:
        return number(otherwise, COMPUTE)
    else:
        return tl.load(values + channel, mask=inside, other=1.0).to(COMPUTE)


@triton.jit
def _inverse(var, channel, inside, eps, COMPUTE: tl.constexpr):
    """1 / a channel's deviation."""
    return tl.rsqrt(_of_channels(var, channel, inside, 1.0, COMPUTE) + number(eps, COMPUTE))


@triton.jit
def _norm(mean, var, weight, channel, inside, eps, COMPUTE: tl.constexpr):
    """A channel's mean, and the factor of distances from it."""
    center = _of_channels(mean, channel, inside, 0.0, COMPUTE)
    factor = _of_channels(weight, channel, inside, 1.0, COMPUTE)
    return center, factor * _inverse(var, channel, inside, eps, COMPUTE)


@Kernel
def normalize_kernel(
    x,  # [rows, columns]
    mean,  # [channels], ALONG_COLUMNS: one per column; else: of row r, mean[r % channels]
    var,  # like mean
    weight,  # like mean, or None: 1
    bias,  # like mean, or None: 0
    y,  # [rows, columns]
    rows: tl.int64,
    columns: tl.int64,
    channels: tl.int64,
    eps: tl.float64,
    negative_slope: tl.float64,
    apart: tl.int64,  # elements between rows of y, unless it is dense
    APART_BY: tl.constexpr,  # divides apart; 0: y is dense
    ALONG_COLUMNS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile; one tile per program
    COLUMNS: tl.constexpr,  # of a tile
):
    """y = leaky_relu((x - mean) * (weight * rsqrt(var + eps)) + bias)."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY
    at, inside, channel, inside_channels = tile_of_program(
        rows, columns, channels, ALONG_COLUMNS, ROWS, COLUMNS
    )
    value = tl.load(x + at, mask=inside, other=0.0).to(COMPUTE)
    center, factor = _norm(mean, var, weight, channel, inside_channels, eps, COMPUTE)
    z = (value - center) * factor + _of_channels(bias, channel, inside_channels, 0.0, COMPUTE)
    z = leaky_relu(z, number(negative_slope, COMPUTE))
    row = first_row_of_program(columns, ROWS, COLUMNS) + tl.arange(0, ROWS)[:, None]
    to = in_rows_apart(at, row, columns, apart, APART_BY)
    tl.store(y + to, z.to(y.dtype.element_ty), mask=inside)


# --- backward


@triton.jit
def _through_slope(grad, x, inside, center, factor, shift, negative_slope, COMPUTE: tl.constexpr):
    """grad times the slope at z, which is computed as in the forward pass; and x - mean."""
    centered = tl.load(x, mask=inside, other=0.0).to(COMPUTE) - center
    g = tl.load(grad, mask=inside, other=0.0).to(COMPUTE)
    return leaky_relu_gradient(g, centered * factor + shift, negative_slope), centered


@triton.jit
def _write_sums(
    of_gradients,  # like channel: the sum of grad times slope
    of_products,  # like channel: the sum of grad times slope times (x - mean)
    inverse,
    count,  # values of a channel
    dweight,  # [channels] or None: written at ``channel``
    dbias,  # [channels] or None
    averages,  # [2, channels] or None: averages of both; the second times inverse squared
    channels,
    channel,
    inside,
    COMPUTE: tl.constexpr,
):
    of_products *= inverse  # times the normalized x
    if dweight is not None:
        tl.store(dweight + channel, of_products.to(dweight.dtype.element_ty), mask=inside)
    if dbias is not None:
        tl.store(dbias + channel, of_gradients.to(dbias.dtype.element_ty), mask=inside)
    if averages is not None:
        count = number(count, COMPUTE)
        tl.store(averages + channel, of_gradients / count, mask=inside)
        tl.store(averages + channels + channel, of_products * inverse / count, mask=inside)


@Kernel
def gradient_sums_rows_kernel(
    grad,  # [rows, columns]
    x,  # [rows, columns]: the input
    mean,  # [columns]
    var,  # [columns]
    weight,  # [columns] or None: 1
    bias,  # [columns] or None: 0
    dx,  # [rows, columns] or None: gradient of x where mean and var are constants
    dweight,  # [columns] or None
    dbias,  # [columns] or None
    averages,  # [2, columns] or None: for normalize_backward_kernel
    partials,  # [2, ranges, columns]: the sums over each range
    arrived,  # [tiles of columns]: zero before and after
    rows: tl.int64,
    columns: tl.int64,
    span: tl.int64,  # rows of a range
    eps: tl.float64,
    negative_slope: tl.float64,
    apart: tl.int64,  # elements between rows of grad, unless it is dense
    APART_BY: tl.constexpr,  # divides apart; 0: grad is dense
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
):
    """Each program handles a range of rows in the columns of one tile."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY
    negative_slope = number(negative_slope, COMPUTE)
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    tile = tl.program_id(0) % tiles
    part = (tl.program_id(0) // tiles).to(tl.int64)
    ranges = (tl.num_programs(0) // tiles).to(tl.int64)
    column = tile.to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside_columns = column < columns
    channel, of_channels = column[None, :], inside_columns[None, :]
    center, factor = _norm(mean, var, weight, channel, of_channels, eps, COMPUTE)
    shift = _of_channels(bias, channel, of_channels, 0.0, COMPUTE)
    gradients = tl.zeros([ROWS, COLUMNS], COMPUTE)
    products = tl.zeros([ROWS, COLUMNS], COMPUTE)
    first = part * span
    for base in range(first, tl.minimum(first + span, rows), ROWS):
        row = base + tl.arange(0, ROWS)
        at = row[:, None] * columns + channel
        inside = (row < rows)[:, None] & of_channels
        of_grad = grad + in_rows_apart(at, row[:, None], columns, apart, APART_BY)
        g, centered = _through_slope(of_grad, x + at, inside, center, factor, shift, negative_slope, COMPUTE)
        gradients += g
        products += g * centered
        if dx is not None:
            tl.store(dx + at, (g * factor).to(dx.dtype.element_ty), mask=inside)
    second = partials + ranges * columns
    tl.store(partials + part * columns + column, tl.sum(gradients, 0), mask=inside_columns)
    tl.store(second + part * columns + column, tl.sum(products, 0), mask=inside_columns)
    tl.debug_barrier()
    if tl.atomic_add(arrived + tile, 1, sem="acq_rel") == ranges - 1:
        tl.store(arrived + tile, 0)
        of_gradients = sums_of_columns(partials, column, ranges, columns, columns, ROWS, COLUMNS, COMPUTE)
        of_products = sums_of_columns(second, column, ranges, columns, columns, ROWS, COLUMNS, COMPUTE)
        _write_sums(
            of_gradients,
            of_products,
            _inverse(var, column, inside_columns, eps, COMPUTE),
            rows,
            dweight,
            dbias,
            averages,
            columns,
            column,
            inside_columns,
            COMPUTE,
        )


@Kernel
def gradient_sums_planes_kernel(
    grad,  # [outer, channels, inner]
    x,  # [outer, channels, inner]: the input
    mean,  # [channels]
    var,  # [channels]
    weight,  # [channels] or None: 1
    bias,  # [channels] or None: 0
    dx,  # [outer, channels, inner] or None: gradient of x where mean and var are constants
    dweight,  # [channels] or None
    dbias,  # [channels] or None
    averages,  # [2, channels] or None: for normalize_backward_kernel
    partials,  # [2, channels, ranges]: the sums over each range
    arrived,  # [channels]: zero before and after
    outer: tl.int64,
    channels: tl.int64,
    inner: tl.int64,
    ranges: tl.int64,  # per channel
    span: tl.int64,  # tiles per range
    eps: tl.float64,
    negative_slope: tl.float64,
    INNER_BY: tl.constexpr,  # divides inner
    OUTER: tl.constexpr,  # of a tile
    INNER: tl.constexpr,  # of a tile
):
    """Each program handles a range of consecutive tiles of one channel."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    inner = inner // INNER_BY * INNER_BY
    negative_slope = number(negative_slope, COMPUTE)
    ranges = ranges.to(tl.int32)
    span = span.to(tl.int32)
    channel = (tl.program_id(0) // ranges).to(tl.int64)
    center, factor = _norm(mean, var, weight, channel, channel < channels, eps, COMPUTE)
    shift = _of_channels(bias, channel, channel < channels, 0.0, COMPUTE)
    inner_tiles = tl.cdiv(inner, INNER).to(tl.int32)
    tiles = inner_tiles * tl.cdiv(outer, OUTER).to(tl.int32)
    first = tl.program_id(0) % ranges * span
    gradients = tl.zeros([OUTER, INNER], COMPUTE)
    products = tl.zeros([OUTER, INNER], COMPUTE)
    for tile in range(first, tl.minimum(first + span, tiles)):
        sample = (tile // inner_tiles).to(tl.int64) * OUTER + tl.arange(0, OUTER)
        place = (tile % inner_tiles).to(tl.int64) * INNER + tl.arange(0, INNER)
        at = (sample * channels + channel)[:, None] * inner + place[None, :]
        inside = (sample < outer)[:, None] & (place < inner)[None, :]
        g, centered = _through_slope(
            grad + at, x + at, inside, center, factor, shift, negative_slope, COMPUTE
        )
        gradients += g
        products += g * centered
        if dx is not None:
            tl.store(dx + at, (g * factor).to(dx.dtype.element_ty), mask=inside)
    second = partials + tl.num_programs(0)
    tl.store(partials + tl.program_id(0), tl.sum(gradients))
    tl.store(second + tl.program_id(0), tl.sum(products))
    tl.debug_barrier()
    if tl.atomic_add(arrived + channel, 1, sem="acq_rel") == ranges - 1:
        tl.store(arrived + channel, 0)
        of_gradients = add_up(partials + channel * ranges, 0, ranges, FINISH, COMPUTE)
        of_products = add_up(second + channel * ranges, 0, ranges, FINISH, COMPUTE)
        _write_sums(
            of_gradients,
            of_products,
            _inverse(var, channel, channel < channels, eps, COMPUTE),
            outer * inner,
            dweight,
            dbias,
            averages,
            channels,
            channel,
            channel < channels,
            COMPUTE,
        )


@Kernel
def normalize_backward_kernel(
    grad,  # [rows, columns]
    x,  # [rows, columns]: the input
    mean,  # [channels], ALONG_COLUMNS: one per column; else: of row r, mean[r % channels]
    var,  # like mean
    weight,  # like mean, or None: 1
    bias,  # like mean, or None: 0
    averages,  # [2, channels] from the kernels above; None if mean and var are constants
    dx,  # [rows, columns]
    rows: tl.int64,
    columns: tl.int64,
    channels: tl.int64,
    eps: tl.float64,
    negative_slope: tl.float64,
    apart: tl.int64,  # elements between rows of grad, unless it is dense
    APART_BY: tl.constexpr,  # divides apart; 0: grad is dense
    ALONG_COLUMNS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile; one tile per program
    COLUMNS: tl.constexpr,  # of a tile
):
    """dx = factor * (g - averages[0] - (x - mean) * averages[1]), with g = grad times slope."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY
    at, inside, channel, inside_channels = tile_of_program(
        rows, columns, channels, ALONG_COLUMNS, ROWS, COLUMNS
    )
    center, factor = _norm(mean, var, weight, channel, inside_channels, eps, COMPUTE)
    shift = _of_channels(bias, channel, inside_channels, 0.0, COMPUTE)
    slope = number(negative_slope, COMPUTE)
    row = first_row_of_program(columns, ROWS, COLUMNS) + tl.arange(0, ROWS)[:, None]
    of_grad = grad + in_rows_apart(at, row, columns, apart, APART_BY)
    g, centered = _through_slope(of_grad, x + at, inside, center, factor, shift, slope, COMPUTE)
    if averages is not None:
        g -= tl.load(averages + channel, mask=inside_channels, other=0.0)
        g -= centered * tl.load(averages + channels + channel, mask=inside_channels, other=0.0)
    tl.store(dx + at, (g * factor).to(dx.dtype.element_ty), mask=inside)


# --- the methods


class BatchNorm(Reference):
    def batch_norm_statistics(
        self, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
    ) -> tuple[Tensor, Tensor]:
        if input.numel() == 0:
            return super().batch_norm_statistics(input, running_mean, running_var, momentum)
        dense, layout, _ = channel_layout(input, 1)
        running = of_channels(layout[1], running_mean=running_mean, running_var=running_var)
        mean, var = (input.new_empty(layout[1], dtype=compute_dtype(input.dtype)) for _ in range(2))
        _statistics(dense, layout, (mean, var, *running), momentum)
        copy_back(running, (running_mean, running_var))
        return mean, var

    def batch_norm_leaky_relu(
        self,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        into: Tensor | None = None,
    ) -> Tensor:
        dense, layout, _ = channel_layout(input, 1)
        norm = of_channels(layout[1], mean=mean, var=var, weight=weight, bias=bias)
        if into is None:
            output = torch.empty_like(dense)  # keeps the memory format
        else:
            row_stride(into, *rows_and_columns(input, "input"), "into")
            output = into
        if input.numel():
            tensors = dense, *norm, output
            _by_tiles(normalize_kernel, tensors, output, layout, eps, negative_slope, 2 * _LOADS)
        return output

    def batch_norm_leaky_relu_backward(
        self,
        grad: Tensor,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        negative_slope: float,
        training: bool,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if input.numel() == 0:
            call = mean, var, weight, bias, eps, negative_slope, training, needs
            return super().batch_norm_leaky_relu_backward(grad, input, *call)
        dense, layout, channels_last = channel_layout(input, 1)
        if input.dim() == 2:
            grad = in_rows(grad)
            row_stride(grad, *rows_and_columns(input, "input"), "grad")
        else:
            grad = grad.movedim(1, -1).contiguous() if channels_last else grad.contiguous()
            same_size(grad, dense, "grad")
        norm = of_channels(layout[1], mean=mean, var=var, weight=weight, bias=bias)
        dx = torch.empty_like(dense) if needs[0] else None
        dweight = torch.empty_like(norm[2]) if needs[1] and norm[2] is not None else None
        dbias = torch.empty_like(norm[3]) if needs[2] and norm[3] is not None else None
        averages = None
        if training and needs[0]:
            averages = input.new_empty(2, layout[1], dtype=compute_dtype(input.dtype))
        if any(each is not None for each in (dweight, dbias, averages)):
            results = None if training else dx, dweight, dbias, averages
            gradient_sums((grad, dense, *norm, *results), layout, eps, negative_slope)
            if not training:
                return dx, dweight, dbias  # the sums' pass has written dx
        if dx is not None:
            input_gradient((grad, dense, *norm, averages, dx), layout, eps, negative_slope)
        return dx, dweight, dbias


def _statistics(input: Tensor, layout: Layout, results: Tensors, momentum: float) -> None:
    """Compute the statistics of a dense input. ``results``: mean, var, running_mean, running_var."""
    outer, channels, inner = layout
    if inner == 1:
        tile, column_tiles, ranges, span = ranges_of_rows(outer, channels, input.dtype, _LOADS)
        statistics_rows_kernel.launch(
            column_tiles * ranges,
            (input, *results, _partials(input, 3 * ranges * channels), arrivals(input, column_tiles)),
            (outer, channels, span, momentum),
            (divisor(channels), *tile),
        )
    else:
        tile, ranges, span = ranges_of_planes(layout, input.dtype, _LOADS)
        statistics_planes_kernel.launch(
            channels * ranges,
            (input, *results, _partials(input, 4 * ranges * channels), arrivals(input, channels)),
            (outer, channels, inner, ranges, span, momentum),
            (divisor(inner), *tile),
        )


def gradient_sums(tensors: Tensors, layout: Layout, eps: float, negative_slope: float) -> None:
    """Launch a kernel for the sums. ``tensors``: its first arguments, grad to averages."""
    outer, channels, inner = layout
    grad, input = tensors[:2]
    assert grad is not None
    assert input is not None
    if inner == 1:
        apart, by = rows_apart(grad)
        tile, column_tiles, ranges, span = ranges_of_rows(outer, channels, input.dtype, _LOADS)
        gradient_sums_rows_kernel.launch(
            column_tiles * ranges,
            (*tensors, _partials(input, 2 * ranges * channels), arrivals(input, column_tiles)),
            (outer, channels, span, eps, negative_slope, apart),
            (by, divisor(channels), *tile),
        )
    else:
        tile, ranges, span = ranges_of_planes(layout, input.dtype, _LOADS)
        gradient_sums_planes_kernel.launch(
            channels * ranges,
            (*tensors, _partials(input, 2 * ranges * channels), arrivals(input, channels)),
            (outer, channels, inner, ranges, span, eps, negative_slope),
            (divisor(inner), *tile),
            maxnreg=_PLANES_REGISTERS,
        )


def input_gradient(tensors: Tensors, layout: Layout, eps: float, negative_slope: float) -> None:
    """Launch the kernel for dx. ``tensors``: its arguments, grad to dx."""
    grad = tensors[0]
    assert grad is not None
    _by_tiles(normalize_backward_kernel, tensors, grad, layout, eps, negative_slope, _LOADS)


def _by_tiles(
    kernel: Kernel,
    tensors: Tensors,
    strided: Tensor,
    layout: Layout,
    eps: float,
    negative_slope: float,
    loads: int,
) -> None:
    """Launch a kernel that handles one tile per program. The rows of ``strided``, a tensor, may be apart."""
    rows, columns, along_columns = matrix(layout)
    tile = tile_of(rows, columns, _WIDEST if along_columns else 1024, strided.dtype, loads)
    apart, by = rows_apart(strided)
    kernel.launch(
        triton.cdiv(rows, tile[0]) * triton.cdiv(columns, tile[1]),
        tensors,
        (rows, columns, layout[1], eps, negative_slope, apart),
        (by, along_columns, divisor(columns), *tile),
    )


def _partials(like: Tensor, count: int) -> Tensor:
    return like.new_empty(count, dtype=compute_dtype(like.dtype))
