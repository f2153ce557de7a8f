"""Bias, activation, gain and bound. The backward computes the bias gradient in the same pass.

Kernels view memory as a matrix (tiles.py), and are compiled for each form of an activation on its first use.
Partial sums cover ranges that depend only on sizes; the last program of a channel adds them in order.
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
from fastgan.kernels.triton.scalar_math import (
    exact_sigmoid,
    exp_minus_abs,
    expm1_nonpositive,
    hyperbolic_tangent,
    leaky_relu,
    log1p_nonnegative,
    number,
    sigmoid,
)
from fastgan.kernels.triton.tiles import (
    LOADS_IN_FLIGHT,
    matrix,
    ranges_of_planes,
    ranges_of_rows,
    tile_of,
)

Layout = tuple[int, int, int]
Arrays = tuple[Tensor | None, Tensor, Tensor]  # cotangent, grad and saved of a derivative


@triton.jit
def bounded(y, bound):
    """y, with a magnitude of at most ``bound``; nan stands for no bound."""
    return tl.where(y > bound, bound, tl.where(y < -bound, -bound, y))


@triton.jit
def _value(z, alpha, FORM: tl.constexpr, EXACT: tl.constexpr):
    """f(z)."""
    if FORM == "leaky":
        return leaky_relu(z, alpha)
    elif FORM == "relu":
        return tl.where(z <= 0, 0.0, z)
    elif FORM == "tanh":
        return hyperbolic_tangent(z, EXACT)
    elif FORM == "sigmoid":
        return exact_sigmoid(z, EXACT)
    elif FORM == "elu":
        return tl.where(z > 0, z, alpha * expm1_nonpositive(tl.where(z > 0, 0.0, z)))
    elif FORM == "softplus":
        return tl.where(z > 0, z, 0.0) + log1p_nonnegative(exp_minus_abs(z, EXACT))
    else:
        tl.static_assert(FORM == "swish")
        return z * exact_sigmoid(z, EXACT)


@triton.jit
def _slope(t, alpha, FORM: tl.constexpr):
    """f'(z) from t = f(z)."""
    if FORM == "leaky":
        return tl.where(t > 0, 1.0, alpha)
    elif FORM == "relu":
        return tl.where(t <= 0, 0.0, 1.0)
    elif FORM == "tanh":
        return (1.0 - t) * (1.0 + t)
    elif FORM == "sigmoid":
        return t * (1.0 - t)
    elif FORM == "elu":
        return tl.where(t > 0, 1.0, t + alpha)
    else:
        tl.static_assert(FORM == "softplus")
        return -expm1_nonpositive(-t)


@triton.jit
def _swish(z, BENT: tl.constexpr, EXACT: tl.constexpr):
    """f(z), and f'(z) or, if BENT, f''(z). The value, good enough to see whether the bound is reached."""
    e = exp_minus_abs(z, EXACT)
    s = sigmoid(z, e)
    r = sigmoid(-z, e)
    if BENT:
        return z * s, s * r * (2.0 + z * (r - s))
    else:
        return z * s, s * (1.0 + z * r)


@triton.jit
def _curvature(t, FORM: tl.constexpr, EXACT: tl.constexpr):
    """The derivative of _slope with respect to t."""
    if FORM == "leaky" or FORM == "relu":
        return tl.zeros_like(t)
    elif FORM == "tanh":
        return -2.0 * t
    elif FORM == "sigmoid":
        return 1.0 - 2.0 * t
    elif FORM == "elu":
        return tl.where(t > 0, 0.0, 1.0)
    else:
        tl.static_assert(FORM == "softplus")
        return exp_minus_abs(t, EXACT)


@Kernel
def forward_kernel(
    x,  # [rows, columns]
    bias,  # [channels] or None; ALONG_COLUMNS: one per column; else: of row r, bias[r % channels]
    y,  # [rows, columns]
    rows: tl.int64,
    columns: tl.int64,
    channels: tl.int64,
    alpha: tl.float64,
    gain: tl.float64,
    bound: tl.float64,  # nan: none
    FORM: tl.constexpr,
    ALONG_COLUMNS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile; one tile per program
    COLUMNS: tl.constexpr,  # of a tile
):
    """y = bounded(gain * f(x + bias))."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = x.dtype.element_ty == tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY  # no change: tells the compiler a divisor
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    first = (tl.program_id(0) // tiles).to(tl.int64) * ROWS
    row = first + tl.arange(0, ROWS)
    column = (tl.program_id(0) % tiles).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    at = row[:, None] * columns + column[None, :]
    z = tl.load(x + at, mask=inside, other=0.0).to(COMPUTE)
    if bias is not None:
        if ALONG_COLUMNS:
            z += tl.load(bias + column, mask=column < columns, other=0.0).to(COMPUTE)[None, :]
        else:
            z += tl.load(bias + _channel_of_rows(first, channels, ROWS)).to(COMPUTE)[:, None]
    z = number(gain, COMPUTE) * _value(z, number(alpha, COMPUTE), FORM, EXACT)
    tl.store(y + at, bounded(z, number(bound, COMPUTE)).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _channel_of_rows(first, channels, ROWS: tl.constexpr):
    return ((first % channels).to(tl.int32) + tl.arange(0, ROWS)) % channels.to(tl.int32)


@triton.jit
def _mask_tile(
    grad,  # the four arrays have one shape, and ``at`` are offsets into it
    cotangent,  # or None
    saved,
    masked,
    shift,  # like at: the bias, or zeros; added to ``saved``
    at,
    inside,
    alpha,
    gain,
    bound,
    FORM: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Write a tile of ``masked``: grad times the slope, or times cotangent and the slope's derivative."""
    EXACT: tl.constexpr = grad.dtype.element_ty == tl.float32
    alpha = number(alpha, COMPUTE)
    gain = number(gain, COMPUTE)
    g = tl.load(grad + at, mask=inside, other=0.0).to(COMPUTE)
    y = tl.load(saved + at, mask=inside, other=0.0).to(COMPUTE)
    BENT: tl.constexpr = cotangent is not None
    if BENT:
        g *= tl.load(cotangent + at, mask=inside, other=0.0).to(COMPUTE)
    if FORM == "swish":
        value, factor = _swish(y + shift, BENT, EXACT)
        y = gain * value
        factor *= gain
    else:
        if FORM == "leaky" or FORM == "relu":
            t = tl.where(gain < 0, -y, y)  # only the sign matters
        else:
            t = tl.where(gain == 0, 0.0, y / tl.where(gain == 0, 1.0, gain))
        # of the slope's derivative and of the output the gains cancel
        factor = _curvature(t, FORM, EXACT) if BENT else gain * _slope(t, alpha, FORM)
    g = tl.where(tl.abs(y) >= number(bound, COMPUTE), 0.0, g * factor)
    tl.store(masked + at, g.to(masked.dtype.element_ty), mask=inside)
    return g


@Kernel
def backward_rows_kernel(
    grad,  # [rows, columns]
    cotangent,  # [rows, columns] or None: the second derivative is computed
    saved,  # [rows, columns]: the output, or for "swish" the input
    bias,  # [channels] or None, for "swish"; see forward_kernel
    masked,  # [rows, columns]: see _mask_tile
    summed,  # [columns] or None: the sum of masked over rows
    partials,  # [ranges, columns], if summed: the sum over each range of rows
    arrived,  # [tiles of columns], if summed: zero before and after
    rows: tl.int64,
    columns: tl.int64,
    channels: tl.int64,
    span: tl.int64,  # rows of a range
    alpha: tl.float64,
    gain: tl.float64,
    bound: tl.float64,  # nan: none
    FORM: tl.constexpr,
    ALONG_COLUMNS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
):
    """Each program handles a range of rows in the columns of one tile."""
    COMPUTE: tl.constexpr = tl.float64 if grad.dtype.element_ty == tl.float64 else tl.float32
    columns = columns // COLUMNS_BY * COLUMNS_BY
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    tile = tl.program_id(0) % tiles
    part = (tl.program_id(0) // tiles).to(tl.int64)
    column = tile.to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside_columns = (column < columns)[None, :]
    first = part * span
    shift = tl.zeros([1, 1], COMPUTE)
    if bias is not None and ALONG_COLUMNS:
        shift = tl.load(bias + column, mask=column < columns, other=0.0).to(COMPUTE)[None, :]
    total = tl.zeros([ROWS, COLUMNS], COMPUTE)
    for base in range(first, tl.minimum(first + span, rows), ROWS):
        row = base + tl.arange(0, ROWS)
        at = row[:, None] * columns + column[None, :]
        inside = (row < rows)[:, None] & inside_columns
        if bias is not None and not ALONG_COLUMNS:
            here = tl.load(bias + _channel_of_rows(base, channels, ROWS)).to(COMPUTE)[:, None]
        else:
            here = shift
        total += _mask_tile(
            grad, cotangent, saved, masked, here, at, inside, alpha, gain, bound, FORM, COMPUTE
        )
    if summed is not None:
        tl.store(partials + part * columns + column, tl.sum(total, 0), mask=column < columns)
        tl.debug_barrier()  # all threads must have stored before one signals arrival
        ranges = tl.num_programs(0) // tiles
        if tl.atomic_add(arrived + tile, 1, sem="acq_rel") == ranges - 1:
            tl.store(arrived + tile, 0)
            add_up_columns(partials, summed, column, ranges, columns, ROWS, COLUMNS, COMPUTE)


@Kernel
def backward_planes_kernel(
    grad,  # [outer, channels, inner]
    cotangent,  # [outer, channels, inner] or None: the second derivative is computed
    saved,  # [outer, channels, inner]: the output, or for "swish" the input
    bias,  # [channels] or None, for "swish"
    masked,  # [outer, channels, inner]: see _mask_tile
    summed,  # [channels]: the sum of masked over outer and inner
    partials,  # [channels, ranges]: the sum over each range
    arrived,  # [channels]: zero before and after
    outer: tl.int64,
    channels: tl.int64,
    inner: tl.int64,
    ranges: tl.int64,  # per channel
    span: tl.int64,  # tiles per range
    alpha: tl.float64,
    gain: tl.float64,
    bound: tl.float64,  # nan: none
    FORM: tl.constexpr,
    INNER_BY: tl.constexpr,  # divides inner
    OUTER: tl.constexpr,  # of a tile
    INNER: tl.constexpr,  # of a tile
):
    """Each program handles a range of consecutive tiles of one channel."""
    COMPUTE: tl.constexpr = tl.float64 if grad.dtype.element_ty == tl.float64 else tl.float32
    inner = inner // INNER_BY * INNER_BY
    ranges = ranges.to(tl.int32)
    span = span.to(tl.int32)
    channel = (tl.program_id(0) // ranges).to(tl.int64)
    inner_tiles = tl.cdiv(inner, INNER).to(tl.int32)
    tiles = inner_tiles * tl.cdiv(outer, OUTER).to(tl.int32)
    first = tl.program_id(0) % ranges * span
    shift = number(0.0, COMPUTE)
    if bias is not None:
        shift = tl.load(bias + channel).to(COMPUTE)
    total = tl.zeros([OUTER, INNER], COMPUTE)
    for tile in range(first, tl.minimum(first + span, tiles)):
        sample = (tile // inner_tiles).to(tl.int64) * OUTER + tl.arange(0, OUTER)
        place = (tile % inner_tiles).to(tl.int64) * INNER + tl.arange(0, INNER)
        at = (sample * channels + channel)[:, None] * inner + place[None, :]
        inside = (sample < outer)[:, None] & (place < inner)[None, :]
        total += _mask_tile(
            grad, cotangent, saved, masked, shift, at, inside, alpha, gain, bound, FORM, COMPUTE
        )
    tl.store(partials + tl.program_id(0), tl.sum(total))
    tl.debug_barrier()
    if tl.atomic_add(arrived + channel, 1, sem="acq_rel") == ranges - 1:
        tl.store(arrived + channel, 0)
        summed_up = add_up(partials + channel * ranges, 0, ranges, FINISH, COMPUTE)
        tl.store(summed + channel, summed_up.to(summed.dtype.element_ty))


class BiasAct(Reference):
    def bias_act(self, input: Tensor, bias: Tensor | None, act: Act, dim: int) -> Tensor:
        dense, layout, _ = channel_layout(input, dim)
        output = torch.empty_like(dense)  # keeps the memory format
        bias_act_into(output, dense, layout, bias, act)
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
        return _derivative((None, grad, saved), bias, act, dim, with_bias, into)

    def bias_act_curvature(
        self,
        cotangent: Tensor,
        grad: Tensor,
        saved: Tensor,
        bias: Tensor | None,
        act: Act,
        dim: int,
        with_bias: bool,
    ) -> tuple[Tensor, Tensor | None]:
        return _derivative((cotangent, grad, saved), bias, act, dim, with_bias, None)


def bias_act_into(output: Tensor, input: Tensor, layout: Layout, bias: Tensor | None, act: Act) -> None:
    """Write the activation of input + bias. Both tensors have ``layout``; they may be the same."""
    if bias is not None:
        bias = of_size(bias, layout[1], "bias").contiguous()
    if input.numel() == 0:
        return
    rows, columns, along_columns = matrix(layout)
    tile = tile_of(rows, columns, 1024, input.dtype)
    forward_kernel.launch(
        triton.cdiv(rows, tile[0]) * triton.cdiv(columns, tile[1]),
        (input, bias, output),
        (rows, columns, layout[1], act.alpha, act.gain, act.bound),
        (act.form, along_columns, divisor(columns), *tile),
    )


def _derivative(
    arrays: Arrays, bias: Tensor | None, act: Act, dim: int, with_bias: bool, into: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    cotangent, grad, saved = arrays
    saved, layout, channels_last = channel_layout(saved, dim)
    masked = torch.empty_like(saved)

    def in_order(tensor: Tensor) -> Tensor:
        return (tensor.movedim(dim, -1) if channels_last else tensor).contiguous()

    arrays = None if cotangent is None else in_order(cotangent), in_order(grad), saved
    return masked, mask_into(masked, arrays, layout, bias, act, with_bias, into)


def mask_into(
    masked: Tensor,
    arrays: Arrays,
    layout: Layout,
    bias: Tensor | None,
    act: Act,
    with_bias: bool,
    into: Tensor | None = None,
) -> Tensor | None:
    """Write grad times slope, or a second derivative, into ``masked``, which may be ``grad``.

    Args:
        arrays: cotangent or None, grad, and saved, in the order of ``layout``.

    Returns:
        The bias gradient.
    """
    cotangent, grad, saved = arrays
    same_size(grad, saved, "grad")
    if cotangent is not None:
        same_size(cotangent, saved, "cotangent")
    _, channels, inner = layout
    shift = of_size(bias, channels, "bias").contiguous() if bias is not None and act.saves_input else None
    summed = room(into, saved, channels) if with_bias else None
    if saved.numel() == 0:
        return None if summed is None else summed.zero_()
    tensors = grad, cotangent, saved, shift, masked
    if summed is not None and inner > 1:
        _mask_planes(tensors, layout, act, summed)
        return summed
    rows, columns, along_columns = matrix(layout)
    loads = _loads(cotangent)
    tile, column_tiles, ranges, span = ranges_of_rows(rows, columns, saved.dtype, loads)
    partials = counters = None
    if with_bias:
        partials = saved.new_empty(ranges * columns, dtype=compute_dtype(saved.dtype))
        counters = arrivals(saved, column_tiles)
    backward_rows_kernel.launch(
        column_tiles * ranges,
        (*tensors, summed, partials, counters),
        (rows, columns, channels, span, act.alpha, act.gain, act.bound),
        (act.form, along_columns, divisor(columns), *tile),
    )
    return summed


def _mask_planes(tensors: tuple[Tensor | None, ...], layout: Layout, act: Act, summed: Tensor) -> None:
    outer, channels, inner = layout
    tile, ranges, span = ranges_of_planes(layout, summed.dtype, _loads(tensors[1]))
    partials = summed.new_empty(channels * ranges, dtype=compute_dtype(summed.dtype))
    backward_planes_kernel.launch(
        channels * ranges,
        (*tensors, summed, partials, arrivals(summed, channels)),
        (outer, channels, inner, ranges, span, act.alpha, act.gain, act.bound),
        (act.form, divisor(inner), *tile),
    )


def _loads(cotangent: Tensor | None) -> int:
    """16-byte loads of a thread from each array: three arrays and a long formula need the registers."""
    return LOADS_IN_FLIGHT if cotangent is None else 1
