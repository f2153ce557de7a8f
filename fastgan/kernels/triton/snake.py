"""Snake, plain and anti-aliased.

In the anti-aliased kernels each lane walks along a run of samples (windows.py). Nothing of the upsampled
signal goes to memory, and a sample is upsampled and activated once. An iteration reads ``WIDTH`` samples per
lane and writes as many, ``DELAY`` samples before those.

The gradients of alpha and beta are sums over a channel. Each range of samples (a lane's run, or a program's
tiles) has a partial sum; a second launch adds them in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.channels import of_channels
from fastgan.kernels.layout import channel_layout
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.reference_snake import Grads, Needs, Scale, padding
from fastgan.kernels.signals import checked_filters, incoming, signal_sizes
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, divisor, threads
from fastgan.kernels.triton.reduction import FINISH, add_up
from fastgan.kernels.triton.scalar_math import any_is_huge, number, remainder_of_pi, sines
from fastgan.kernels.triton.tiles import matrix, ranges_of_planes, ranges_of_rows, tile_of, tile_of_program
from fastgan.kernels.triton.windows import (
    RUN_BY,
    columns_of,
    decimated,
    end_of_unchecked,
    folded_after,
    folded_before,
    interpolated,
    joined,
    lanes_of,
    read,
    read_before,
    repeated,
    repeated_after,
    taps_of,
    write,
)

Layout = tuple[int, int, int]
Tensors = Sequence[Tensor | None]

_LOADS, _LOADS_BACKWARD = 2, 1  # per thread and array, in kernels without filters
_WIDEST = 128  # columns of a tile that have a channel each, as each loads several numbers of its channel
_LANES = 1 << 17  # fill any GPU
# Of runs. Before its first sample, a lane computes some ten others. In the interpreter only a run takes time.
_SHORTEST, _LONGEST = 16 if INTERPRETING else 32, 256
_NARROW = 4  # samples of a lane in an iteration, if it does not read 16 bytes at a time
_MOST_LANES = 1 << 30  # numbered in 32 bits


# --- numbers of a channel, and what they do to a sample


@triton.jit
def _loaded(values, channel, inside, LOG: tl.constexpr, COMPUTE: tl.constexpr):
    value = tl.load(values + channel, mask=inside, other=0.0).to(COMPUTE)
    return tl.exp(value) if LOG else value


@triton.jit
def _numbers(alpha, beta, channel, inside, eps, LOG: tl.constexpr, COMPUTE: tl.constexpr):
    """a, b and 1 / (b + eps) of channels, in the shape of ``channel``."""
    a = _loaded(alpha, channel, inside, LOG, COMPUTE)
    b = a if beta is None else _loaded(beta, channel, inside, LOG, COMPUTE)
    return a, b, 1.0 / (b + number(eps, COMPUTE))


@triton.jit
def _sines_of(u, frequency, EXACT: tl.constexpr):
    """sin(frequency * u)**2 and sin(2 frequency * u)."""
    angle = frequency * u
    if u.dtype == tl.float32 and any_is_huge(angle):  # of this program's
        angle = remainder_of_pi(angle)
    return sines(angle, EXACT)


# --- without filters


@Kernel
def snake_kernel(
    x,  # [rows, columns]
    alpha,  # [channels], ALONG_COLUMNS: one per column; else: of row r, alpha[r % channels]
    beta,  # like alpha, or None: alpha
    y,  # [rows, columns]
    rows: tl.int64,
    columns: tl.int64,
    channels: tl.int64,
    eps: tl.float64,
    LOG: tl.constexpr,
    ALONG_COLUMNS: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile; one tile per program
    COLUMNS: tl.constexpr,  # of a tile
):
    """y = x + sin(a x)**2 / (b + eps)."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = x.dtype.element_ty == COMPUTE
    columns = columns // COLUMNS_BY * COLUMNS_BY  # no change: tells the compiler a divisor
    at, inside, channel, inside_channels = tile_of_program(
        rows, columns, channels, ALONG_COLUMNS, ROWS, COLUMNS
    )
    a, _, factor = _numbers(alpha, beta, channel, inside_channels, eps, LOG, COMPUTE)
    u = tl.load(x + at, mask=inside, other=0.0).to(COMPUTE)
    square, _ = _sines_of(u, a, EXACT)
    tl.store(y + at, (u + square * factor).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _tile_backward(grad, x, dx, at, inside, frequency, factor, EXACT: tl.constexpr, COMPUTE: tl.constexpr):
    """Store dx of a tile, unless it is None; return what alpha's and beta's gradients sum."""
    g = tl.load(grad + at, mask=inside, other=0.0).to(COMPUTE)
    u = tl.load(x + at, mask=inside, other=0.0).to(COMPUTE)
    square, of_double = _sines_of(u, frequency, EXACT)
    if dx is not None:
        du = g + g * (frequency * factor * of_double)
        tl.store(dx + at, du.to(dx.dtype.element_ty), mask=inside)
    return g * u * of_double, g * square


@triton.jit
def _sum_of_rows(tile, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """In two steps: NumPy, in the interpreter, adds one row after another, with a rounding error for each."""
    FEW: tl.constexpr = 32 if ROWS > 32 else 1
    return tl.sum(tl.sum(tl.reshape(tile, [ROWS // FEW, FEW, COLUMNS]), 0), 0)


@Kernel
def snake_backward_rows_kernel(
    grad,  # [rows, columns]
    x,  # [rows, columns]
    alpha,  # [columns]
    beta,  # [columns] or None: alpha
    dx,  # [rows, columns] or None
    partials,  # [2, columns, ranges], if SUMS: of each range of rows g x sin(2 a x) and g sin(a x)**2
    rows: tl.int64,
    columns: tl.int64,
    span: tl.int64,  # rows of a range
    eps: tl.float64,
    SUMS: tl.constexpr,
    LOG: tl.constexpr,
    COLUMNS_BY: tl.constexpr,  # divides columns
    ROWS: tl.constexpr,  # of a tile
    COLUMNS: tl.constexpr,  # of a tile
):
    """Each program handles a range of rows in the columns of one tile."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = x.dtype.element_ty == COMPUTE
    columns = columns // COLUMNS_BY * COLUMNS_BY
    tiles = tl.cdiv(columns, COLUMNS).to(tl.int32)
    part = (tl.program_id(0) // tiles).to(tl.int64)
    column = (tl.program_id(0) % tiles).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    a, _, factor = _numbers(alpha, beta, column, column < columns, eps, LOG, COMPUTE)
    of_alpha = tl.zeros([ROWS, COLUMNS], COMPUTE)
    of_beta = tl.zeros([ROWS, COLUMNS], COMPUTE)
    for base in range(part * span, tl.minimum(part * span + span, rows), ROWS):
        row = base + tl.arange(0, ROWS)
        at = row[:, None] * columns + column[None, :]
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        terms = _tile_backward(grad, x, dx, at, inside, a[None, :], factor[None, :], EXACT, COMPUTE)
        of_alpha += terms[0]
        of_beta += terms[1]
    if SUMS:
        ranges = (tl.num_programs(0) // tiles).to(tl.int64)
        own = partials + column * ranges + part
        tl.store(own, _sum_of_rows(of_alpha, ROWS, COLUMNS), mask=column < columns)
        tl.store(own + columns * ranges, _sum_of_rows(of_beta, ROWS, COLUMNS), mask=column < columns)


@Kernel
def snake_backward_planes_kernel(
    grad,  # [outer, channels, inner]
    x,  # [outer, channels, inner]
    alpha,  # [channels]
    beta,  # [channels] or None: alpha
    dx,  # [outer, channels, inner] or None
    partials,  # [2, channels, ranges], if SUMS: of each range g x sin(2 a x) and g sin(a x)**2
    outer: tl.int64,
    channels: tl.int64,
    inner: tl.int64,
    ranges: tl.int64,  # per channel
    span: tl.int64,  # tiles per range
    eps: tl.float64,
    SUMS: tl.constexpr,
    LOG: tl.constexpr,
    INNER_BY: tl.constexpr,  # divides inner
    OUTER: tl.constexpr,  # of a tile
    INNER: tl.constexpr,  # of a tile
):
    """Each program handles a range of consecutive tiles of one channel."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = x.dtype.element_ty == COMPUTE
    inner = inner // INNER_BY * INNER_BY
    ranges = ranges.to(tl.int32)
    span = span.to(tl.int32)
    channel = (tl.program_id(0) // ranges).to(tl.int64)
    a, _, factor = _numbers(alpha, beta, channel, channel < channels, eps, LOG, COMPUTE)
    inner_tiles = tl.cdiv(inner, INNER).to(tl.int32)
    tiles = inner_tiles * tl.cdiv(outer, OUTER).to(tl.int32)
    first = tl.program_id(0) % ranges * span
    of_alpha = tl.zeros([OUTER, INNER], COMPUTE)
    of_beta = tl.zeros([OUTER, INNER], COMPUTE)
    for tile in range(first, tl.minimum(first + span, tiles)):
        sample = (tile // inner_tiles).to(tl.int64) * OUTER + tl.arange(0, OUTER)
        place = (tile % inner_tiles).to(tl.int64) * INNER + tl.arange(0, INNER)
        at = (sample * channels + channel)[:, None] * inner + place[None, :]
        inside = (sample < outer)[:, None] & (place < inner)[None, :]
        terms = _tile_backward(grad, x, dx, at, inside, a, factor, EXACT, COMPUTE)
        of_alpha += terms[0]
        of_beta += terms[1]
    if SUMS:
        own = partials + tl.program_id(0)
        tl.store(own, tl.sum(of_alpha))
        tl.store(own + tl.num_programs(0), tl.sum(of_beta))


@Kernel
def numbers_backward_kernel(
    partials,  # [2, channels, ranges]: of each range g u sin(2 a u) and g sin(a u)**2
    alpha,  # [channels]
    beta,  # [channels] or None: alpha
    dalpha,  # [channels] or None
    dbeta,  # [channels] or None
    channels: tl.int64,
    ranges: tl.int64,
    eps: tl.float64,
    LOG: tl.constexpr,
    BLOCK: tl.constexpr,  # partial sums read at a time
):
    """The gradients of alpha and beta. One program per channel."""
    COMPUTE: tl.constexpr = partials.dtype.element_ty
    channel = tl.program_id(0).to(tl.int64)
    a, b, factor = _numbers(alpha, beta, channel, channel < channels, eps, LOG, COMPUTE)
    own = partials + channel * ranges
    of_alpha = add_up(own, 0, ranges, BLOCK, COMPUTE) * factor
    of_beta = -add_up(own + channels * ranges, 0, ranges, BLOCK, COMPUTE) * factor * factor
    if LOG:
        of_alpha *= a
        of_beta *= b
    if beta is None:
        of_alpha += of_beta
    if dalpha is not None:
        tl.store(dalpha + channel, of_alpha.to(dalpha.dtype.element_ty))
    if dbeta is not None:
        tl.store(dbeta + channel, of_beta.to(dbeta.dtype.element_ty))


# --- with filters


@triton.jit
def _activated(u, numbers, EXACT: tl.constexpr, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """Snake of a window, as a tile of WIDTH columns: Triton takes long to compile an operation per column."""
    tile = joined(u, LANES, WIDTH)
    square, _ = _sines_of(tile, numbers[0][:, None], EXACT)
    return columns_of(tile + square * numbers[2][:, None], LANES, WIDTH)[: len(u)]


@triton.jit
def _step(
    x,  # [samples, channels, length]
    y,  # [samples, channels, length]
    run,
    place,
    windows,  # samples from place + LOW to place + DELAY, activated from 2 place - DOWN to 2 place + AHEAD
    numbers,
    up,
    down,
    AT_END: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,
    AHEAD: tl.constexpr,
    LOW: tl.constexpr,
    DELAY: tl.constexpr,
    WIDTH: tl.constexpr,
    LANES: tl.constexpr,
    EXACT: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Write the samples from ``place`` on; return the next windows."""
    new = read(x, run, place + DELAY, AT_END, CHANNELS_LAST, WIDE, WIDTH, LANES, COMPUTE)
    if AT_END:
        new = repeated_after(new, windows[0][len(windows[0]) - 1], place + DELAY, run[2])
    window = windows[0] + new
    FIRST: tl.constexpr = (len(up) - 2) // 2
    u = interpolated(window, up, AHEAD + FIRST - 2 * LOW, 2 * WIDTH)
    v = _activated(u, numbers, EXACT, LANES, 2 * WIDTH)
    if AT_END:
        v = repeated_after(v, windows[1][len(windows[1]) - 1], 2 * place + AHEAD, 2 * run[2])
    v = windows[1] + v
    write(y, decimated(v, down, 0, WIDTH), run, place, AT_END, CHANNELS_LAST, WIDE, WIDTH, LANES)
    return window[WIDTH:], v[2 * WIDTH :]


@Kernel
def anti_aliased_snake_kernel(
    x,  # [samples, channels, length]; if CHANNELS_LAST, in memory [samples, length, channels], like y
    alpha,  # [channels]
    beta,  # [channels] or None: alpha
    up_filter,  # [UP_TAPS]
    down_filter,  # [DOWN_TAPS]
    y,  # [samples, channels, length]
    channels: tl.int64,
    length: tl.int64,
    runs: tl.int64,  # of a signal
    run: tl.int64,  # samples of a run, a multiple of 16
    lanes: tl.int64,  # runs of all signals
    eps: tl.float64,
    LOG: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,  # see read
    BY: tl.constexpr,  # divides length; if CHANNELS_LAST, channels
    UP_TAPS: tl.constexpr,
    DOWN_TAPS: tl.constexpr,
    AHEAD: tl.constexpr,  # this and the next four: see Reach
    LOW: tl.constexpr,
    DELAY: tl.constexpr,
    BACK: tl.constexpr,
    COVER: tl.constexpr,
    WIDTH: tl.constexpr,
    LANES: tl.constexpr,  # of a program
):
    """y = Snake of x upsampled by 2, downsampled by 2. Each lane handles one run."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = x.dtype.element_ty == COMPUTE
    channel, _, walk = lanes_of(channels, length, runs, run, lanes, CHANNELS_LAST, BY, LANES)
    numbers = _numbers(alpha, beta, channel, walk[3], eps, LOG, COMPUTE)
    up = taps_of(up_filter, UP_TAPS, 2.0, LANES, COMPUTE)
    down = taps_of(down_filter, DOWN_TAPS, 1.0, LANES, COMPUTE)
    FIRST: tl.constexpr = (UP_TAPS - 2) // 2
    DOWN: tl.constexpr = (DOWN_TAPS - 1) // 2
    is_start = walk[1] == 0
    window = read_before(x, walk, CHANNELS_LAST, WIDE, BACK, DELAY, WIDTH, LANES, COMPUTE)
    window = repeated(window, is_start & (UP_TAPS != 3), walk[2], BACK)
    u = interpolated(window, up, 2 * BACK + FIRST - DOWN, DOWN + AHEAD)
    v = _activated(u, numbers, EXACT, LANES, COVER)
    windows = window[BACK + LOW :], repeated(v, is_start, 2 * walk[2], DOWN)
    last = end_of_unchecked(walk, run, DELAY, WIDTH)
    for place in range(0, last, WIDTH):
        windows = _step(
            x, y, walk, place, windows, numbers, up, down, False,
            CHANNELS_LAST, WIDE, AHEAD, LOW, DELAY, WIDTH, LANES, EXACT, COMPUTE,
        )  # fmt: skip
    for place in range(last, run, WIDTH):
        windows = _step(
            x, y, walk, place, windows, numbers, up, down, True,
            CHANNELS_LAST, WIDE, AHEAD, LOW, DELAY, WIDTH, LANES, EXACT, COMPUTE,
        )  # fmt: skip


@triton.jit
def _through_snake(
    g, u, numbers, FIRST: tl.constexpr, EXACT: tl.constexpr, LANES: tl.constexpr, WIDTH: tl.constexpr
):
    """The gradient of a window, given that of its Snake; and the sums for alpha and beta from FIRST on."""
    g_tile = joined(g, LANES, WIDTH)
    tile = joined(u, LANES, WIDTH)
    square, of_double = _sines_of(tile, numbers[0][:, None], EXACT)
    du = g_tile + g_tile * ((numbers[0] * numbers[2])[:, None] * of_double)
    if FIRST > 0:
        g_tile = tl.where(tl.arange(0, WIDTH)[None, :] >= FIRST, g_tile, 0.0)
    of_alpha = tl.sum(g_tile * tile * of_double, 1)
    return columns_of(du, LANES, WIDTH)[: len(u)], of_alpha, tl.sum(g_tile * square, 1)


@triton.jit
def _step_backward(
    grad,  # [samples, channels, length]
    x,  # [samples, channels, length]
    dx,  # [samples, channels, length] or None
    run,
    place,
    state,  # windows of x and grad as in _step, of du at 2 place - FIRST to 2 place + AHEAD; sums; see below
    numbers,
    up,
    down,
    AT_END: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,
    AHEAD: tl.constexpr,
    LOW: tl.constexpr,
    DELAY: tl.constexpr,
    WIDTH: tl.constexpr,
    LANES: tl.constexpr,
    EXACT: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Write dx from ``place`` on; return the next state."""
    FIRST: tl.constexpr = (len(up) - 2) // 2
    DOWN: tl.constexpr = (len(down) - 1) // 2
    x_window, g_window, du_window, of_alpha, of_beta, taken = state
    new = read(x, run, place + DELAY, AT_END, CHANNELS_LAST, WIDE, WIDTH, LANES, COMPUTE)
    if AT_END:
        new = repeated_after(new, x_window[len(x_window) - 1], place + DELAY, run[2])
    x_window += new
    g_window += read(grad, run, place + DELAY, AT_END, CHANNELS_LAST, WIDE, WIDTH, LANES, COMPUTE)
    u = interpolated(x_window, up, AHEAD + FIRST - 2 * LOW, 2 * WIDTH)
    if AT_END:
        g = interpolated(g_window, down, AHEAD + DOWN - 2 * LOW, 2 * WIDTH + len(down) - 2 - DOWN)
        g = folded_after(g, 2 * place + AHEAD, 2 * run[2], 2 * WIDTH)
    else:
        g = interpolated(g_window, down, AHEAD + DOWN - 2 * LOW, 2 * WIDTH)
    du, for_alpha, for_beta = _through_snake(g, u, numbers, 0, EXACT, LANES, 2 * WIDTH)
    du = du_window + du
    if dx is not None:
        if AT_END:
            results = decimated(du, up, 0, WIDTH + (FIRST + 1) // 2)
            first = (results[0] + taken,)
            results = folded_after(first + results[1:], place, run[2], WIDTH)
        else:
            results = decimated(du, up, 0, WIDTH)
            first = (results[0] + taken,)
            results = first + results[1:]
        write(dx, results, run, place, AT_END, CHANNELS_LAST, WIDE, WIDTH, LANES)
    return (
        x_window[WIDTH:],
        g_window[WIDTH:],
        du[2 * WIDTH :],
        of_alpha + for_alpha,
        of_beta + for_beta,
        tl.zeros_like(taken),
    )


@Kernel
def anti_aliased_snake_backward_kernel(
    grad,  # [samples, channels, length]; if CHANNELS_LAST, in memory [samples, length, channels], like dx
    x,  # [samples, channels, length]
    alpha,  # [channels]
    beta,  # [channels] or None: alpha
    up_filter,  # [UP_TAPS]
    down_filter,  # [DOWN_TAPS]
    dx,  # [samples, channels, length] or None
    partials,  # [2, channels, samples, runs], if SUMS: of each run g u sin(2 a u) and g sin(a u)**2
    channels: tl.int64,
    length: tl.int64,
    runs: tl.int64,  # of a signal
    run: tl.int64,  # samples of a run, a multiple of 16
    lanes: tl.int64,  # runs of all signals
    eps: tl.float64,
    SUMS: tl.constexpr,
    LOG: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,  # see read
    BY: tl.constexpr,  # divides length; if CHANNELS_LAST, channels
    UP_TAPS: tl.constexpr,
    DOWN_TAPS: tl.constexpr,
    AHEAD: tl.constexpr,  # this and the next four: see Reach
    LOW: tl.constexpr,
    DELAY: tl.constexpr,
    BACK: tl.constexpr,
    COVER: tl.constexpr,
    WIDTH: tl.constexpr,
    LANES: tl.constexpr,  # of a program
):
    """Each lane handles one run. It upsamples x again; g is the gradient of the activated signal."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = x.dtype.element_ty == COMPUTE
    channel, partial, walk = lanes_of(channels, length, runs, run, lanes, CHANNELS_LAST, BY, LANES)
    numbers = _numbers(alpha, beta, channel, walk[3], eps, LOG, COMPUTE)
    up = taps_of(up_filter, UP_TAPS, 2.0, LANES, COMPUTE)
    down = taps_of(down_filter, DOWN_TAPS, 1.0, LANES, COMPUTE)
    FIRST: tl.constexpr = (UP_TAPS - 2) // 2
    DOWN: tl.constexpr = (DOWN_TAPS - 1) // 2
    OVER: tl.constexpr = FIRST if FIRST > DOWN else DOWN
    is_start = walk[1] == 0
    x_window = read_before(x, walk, CHANNELS_LAST, WIDE, BACK, DELAY, WIDTH, LANES, COMPUTE)
    x_window = repeated(x_window, is_start & (UP_TAPS != 3), walk[2], BACK)
    g_window = read_before(grad, walk, CHANNELS_LAST, WIDE, BACK, DELAY, WIDTH, LANES, COMPUTE)
    u = interpolated(x_window, up, 2 * BACK + FIRST - OVER, OVER + AHEAD)
    g = interpolated(g_window, down, 2 * BACK + DOWN - OVER, OVER + AHEAD + DOWN_TAPS - 2 - DOWN)
    g = folded_before(folded_after(g, -OVER, 2 * walk[2], OVER + AHEAD), is_start, OVER)
    du, of_alpha, of_beta = _through_snake(g, u, numbers, OVER, EXACT, LANES, COVER)
    # Other runs leave these terms to the one before, whose last iteration goes beyond its end.
    of_alpha = tl.where(is_start, of_alpha, 0.0)
    of_beta = tl.where(is_start, of_beta, 0.0)
    du = du[OVER - FIRST :]
    # dx[0] takes the gradients of what repeats x[0]. With three taps nothing does.
    EDGE: tl.constexpr = 0 if UP_TAPS == 3 else (UP_TAPS - 1 - FIRST) // 2
    taken = tl.zeros_like(of_alpha)
    beyond = decimated(du, up, -2 * EDGE, EDGE)
    for i in tl.static_range(EDGE):
        taken += tl.where(is_start, beyond[i], 0.0)
    state = x_window[BACK + LOW :], g_window[BACK + LOW :], du, of_alpha, of_beta, taken
    last = end_of_unchecked(walk, run, DELAY, WIDTH)
    for place in range(0, last, WIDTH):
        state = _step_backward(
            grad, x, dx, walk, place, state, numbers, up, down, False,
            CHANNELS_LAST, WIDE, AHEAD, LOW, DELAY, WIDTH, LANES, EXACT, COMPUTE,
        )  # fmt: skip
    for place in range(last, run, WIDTH):
        state = _step_backward(
            grad, x, dx, walk, place, state, numbers, up, down, True,
            CHANNELS_LAST, WIDE, AHEAD, LOW, DELAY, WIDTH, LANES, EXACT, COMPUTE,
        )  # fmt: skip
    if SUMS:
        tl.store(partials + partial, state[3], mask=walk[3])
        tl.store(partials + lanes + partial, state[4], mask=walk[3])


# --- the methods


class Reach(NamedTuple):
    """How far an iteration of a lane, which writes samples from ``place`` on, has read and activated.

    Attributes:
        ahead: upsampled samples up to 2 place + ahead are activated before it.
        low: it needs samples from place + low on
        delay: and those before place + delay are read before it.
        back: the first iteration needs samples from place - back on.
        cover: a power of two, at least the number of upsampled samples activated before the loop.
    """

    ahead: int
    low: int
    delay: int
    back: int
    cover: int


def _reach(
    interpolators: Sequence[tuple[int, int]], decimator: tuple[int, int], over: int, width: int
) -> Reach:
    """The reach with filters of (taps, shift): the shift is the tap at the sample's own position.

    Args:
        interpolators: of the loaded signals.
        decimator: of the activated one.
        over: activated samples needed before the first.
        width: divides ``delay`` and ``back``.
    """
    taps, shift = decimator
    ahead = max(1, taps - 2 - shift)  # at least sample 0, which those before a signal repeat
    low = min(-((taps - 1 - ahead - shift) // 2) for taps, shift in interpolators)
    delay = max((ahead + shift + 1) // 2 for _, shift in interpolators)
    back = max((taps - 1 - shift + over) // 2 for taps, shift in interpolators)
    delay, back = (triton.cdiv(n, width) * width for n in (delay, back))
    return Reach(ahead, low, delay, back, triton.next_power_of_2(over + ahead))


class _Walk(NamedTuple):
    """A launch of kernels with filters: programs, the numbers before eps, and the constants."""

    programs: int
    numbers: tuple[int, int, int, int, int]
    constants: tuple[object, ...]


def _walk(input: Tensor, channels_last: bool, filters: Sequence[Tensor], backward: bool) -> _Walk:
    samples, channels, length = input.shape
    up_taps, down_taps = (len(f) for f in filters)
    pad = padding(up_taps, down_taps)
    up, down = (up_taps, pad.first), (down_taps, pad.down)
    width = 16 // input.element_size()
    by = divisor(channels if channels_last else length)
    is_wide = not channels_last and by % width == 0
    if not is_wide:
        width = min(width, _NARROW)
    if backward:
        reach = _reach([up, down], up, max(pad.first, pad.down), width)
    else:
        reach = _reach([up], down, pad.down, width)
    runs, run = _runs(samples * channels, length)
    lanes = samples * channels * runs
    of_program = 256 if INTERPRETING else threads() // 4  # one warp, which branches without a barrier
    return _Walk(
        triton.cdiv(lanes, of_program),
        (channels, length, runs, run, lanes),
        (channels_last, is_wide, by, up_taps, down_taps, *reach, width, of_program),
    )


def _runs(signals: int, length: int) -> tuple[int, int]:
    """The number of runs of a signal, and samples of a run. They depend on sizes only."""
    longest = max(_SHORTEST, min(_LONGEST, signals * length // _LANES), signals * length // _MOST_LANES)
    runs = triton.cdiv(length, longest)
    return runs, triton.cdiv(triton.cdiv(length, runs), RUN_BY.value) * RUN_BY.value


class Snake(Reference):
    def snake(self, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale) -> Tensor:
        dense, layout, _ = channel_layout(input, 1)
        numbers = of_channels(layout[1], alpha=alpha, beta=beta)
        output = torch.empty_like(dense)  # keeps the memory format
        if input.numel() == 0:
            return output
        rows, columns, along_columns = matrix(layout)
        tile = tile_of(rows, columns, _WIDEST if along_columns else 1024, input.dtype, _LOADS)
        snake_kernel.launch(
            triton.cdiv(rows, tile[0]) * triton.cdiv(columns, tile[1]),
            (dense, *numbers, output),
            (rows, columns, layout[1], scale.eps),
            (scale.log, along_columns, divisor(columns), *tile),
        )
        return output

    def snake_backward(
        self, grad: Tensor, input: Tensor, alpha: Tensor, beta: Tensor | None, scale: Scale, needs: Needs
    ) -> Grads:
        dense, layout, channels_last = channel_layout(input, 1)
        numbers = of_channels(layout[1], alpha=alpha, beta=beta)
        grad = incoming(grad, input, channels_last)
        dx = torch.empty_like(dense) if needs[0] else None
        if input.numel() == 0:
            return dx, *grads_of_numbers(_partials(input, 0), numbers, scale, needs)
        partials = backward_sums((grad, dense, *numbers, dx), layout, scale, any(needs[1:]))
        return dx, *grads_of_numbers(partials, numbers, scale, needs)

    def anti_aliased_snake(
        self,
        input: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
    ) -> Tensor:
        _, channels, _ = signal_sizes(input)
        dense, _, channels_last = channel_layout(input, 1)
        numbers = of_channels(channels, alpha=alpha, beta=beta)
        filters = checked_filters(up_filter, down_filter)
        output = torch.empty_like(dense)
        if input.numel():
            walk = _walk(dense, channels_last, filters, backward=False)
            anti_aliased_snake_kernel.launch(
                walk.programs,
                (dense, *numbers, *filters, output),
                (*walk.numbers, scale.eps),
                (scale.log, *walk.constants),
                num_warps=1,
            )
        return output

    def anti_aliased_snake_backward(
        self,
        grad: Tensor,
        input: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        up_filter: Tensor,
        down_filter: Tensor,
        scale: Scale,
        needs: Needs,
    ) -> Grads:
        _, channels, _ = signal_sizes(input)
        dense, _, channels_last = channel_layout(input, 1)
        numbers = of_channels(channels, alpha=alpha, beta=beta)
        filters = checked_filters(up_filter, down_filter)
        grad = incoming(grad, input, channels_last)
        dx = torch.empty_like(dense) if needs[0] else None
        if input.numel() == 0:
            return dx, *grads_of_numbers(_partials(input, 0), numbers, scale, needs)
        tensors = grad, dense, *numbers, *filters, dx
        partials = anti_aliased_backward_sums(tensors, channels_last, scale, any(needs[1:]))
        return dx, *grads_of_numbers(partials, numbers, scale, needs)


def backward_sums(tensors: Tensors, layout: Layout, scale: Scale, with_sums: bool) -> Tensor | None:
    """Write dx, the last of the tensors, if it is there; return partial sums for alpha and beta.

    Args:
        tensors: grad, input, alpha, beta and dx.
        with_sums: return None instead.
    """
    outer, channels, inner = layout
    input = tensors[1]
    assert input is not None
    if inner == 1:
        tile, column_tiles, ranges, span = ranges_of_rows(outer, channels, input.dtype, _LOADS_BACKWARD)
        programs = column_tiles * ranges
        sizes: tuple[int, ...] = (outer, channels, span)
        kernel = snake_backward_rows_kernel
    else:
        tile, ranges, span = ranges_of_planes(layout, input.dtype, _LOADS_BACKWARD)
        programs = channels * ranges
        sizes = (*layout, ranges, span)
        kernel = snake_backward_planes_kernel
    partials = _partials(input, channels * ranges) if with_sums else None
    kernel.launch(
        programs,
        (*tensors, partials),
        (*sizes, scale.eps),
        (with_sums, scale.log, divisor(channels if inner == 1 else inner), *tile),
    )
    return partials


def anti_aliased_backward_sums(
    tensors: Tensors, channels_last: bool, scale: Scale, with_sums: bool
) -> Tensor | None:
    """:func:`backward_sums` with two filters, which come before dx."""
    _, input, _, _, up_filter, down_filter, _ = tensors
    assert input is not None
    assert up_filter is not None
    assert down_filter is not None
    filters = up_filter, down_filter
    walk = _walk(input, channels_last, filters, backward=True)
    partials = _partials(input, walk.numbers[-1]) if with_sums else None
    anti_aliased_snake_backward_kernel.launch(
        walk.programs,
        (*tensors, partials),
        (*walk.numbers, scale.eps),
        (with_sums, scale.log, *walk.constants),
        num_warps=1,
    )
    return partials


def grads_of_numbers(
    partials: Tensor | None, numbers: Sequence[Tensor | None], scale: Scale, needs: Needs
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of alpha and beta, from partial sums."""
    alpha, beta = numbers
    assert alpha is not None
    dalpha = torch.empty_like(alpha) if needs[1] else None
    dbeta = torch.empty_like(beta) if needs[2] and beta is not None else None
    channels = len(alpha)
    if partials is not None and channels:
        numbers_backward_kernel.launch(
            channels,
            (partials, alpha, beta, dalpha, dbeta),
            (channels, partials.shape[1] // channels, scale.eps),
            (scale.log, FINISH.value),
        )
    return dalpha, dbeta


def _partials(like: Tensor, count: int) -> Tensor:
    """Memory for ``count`` partial sums for alpha and as many for beta."""
    return like.new_empty(2, count, dtype=compute_dtype(like.dtype))
