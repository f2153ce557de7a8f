"""Upsampling, filtering and downsampling of images.

With the usual filters and factors each lane walks down a strip of columns of one image. It reads every row of
the input once and keeps in registers what later rows need: if it upsamples, rows of the input, filtered along
the row if the filter is separable; otherwise sums for rows of the output. Rows at the start of a run are also
read by the lane above, and columns at the edges of a strip by its neighbours, from the cache.

Other resamplings gather the input's pixels for each output pixel, with loops over taps at run time.

Taps are numbered as in a correlation: tap k is filter[first + k * step], as convolutions need them in reverse
order. Zeros between the input's pixels are never multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.images import resampled_size, room_for_images
from fastgan.kernels.layout import channel_layout
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference import Reference
from fastgan.kernels.reference_upfirdn import Resampling
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, divisor, threads
from fastgan.kernels.triton.scalar_math import number
from fastgan.kernels.triton.windows import columns_of, joined

_WALKED = (((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2)))  # up and down
_LANES = 1 << 16  # fill any GPU
_FEWEST, _MOST = 8, 128  # iterations of a run; the fewest with 4 taps, more with more
_GROUPS = 8  # of adjacent lanes, which together read 128 bytes
_WIDEST = 64  # channels of a tile
_MOST_LANES = 1 << 30  # of a launch


# --- walks


@triton.jit
def _taps(filter, first, step, factor, COUNT: tl.constexpr, COMPUTE: tl.constexpr):
    taps = ()
    for k in tl.static_range(COUNT):
        taps += (tl.load(filter + first + k * step).to(COMPUTE) * number(factor, COMPUTE),)
    return taps


@triton.jit
def _lanes(plane, channel, column, height, width, channels, inside):
    """What each lane reads or writes: where its plane starts, its first column, and limits."""
    pitch = width * channels
    start = plane * height * pitch + channel
    return start, column, height.to(tl.int32), width.to(tl.int32), pitch, channels, inside


@triton.jit
def _filtered(
    sums,
    row,
    taps,
    FIRST: tl.constexpr,
    COUNT: tl.constexpr,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    PHASE: tl.constexpr,
):
    """sums[i] plus taps[FIRST + k] row[(i DOWN + k - PHASE) / UP] for each k where that is an integer."""
    result = ()
    for i in tl.static_range(len(sums)):
        total = sums[i]
        for k in tl.static_range((PHASE - i * DOWN) % UP, COUNT, UP):
            total = tl.fma(taps[FIRST + k], row[(i * DOWN + k - PHASE) // UP], total)
        result += (total,)
    return result


@triton.jit
def _added(
    sums,
    row,
    taps,
    K: tl.constexpr,
    SEPARABLE: tl.constexpr,
    TAPS: tl.constexpr,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    PHASE: tl.constexpr,
):
    """The sums of a row of outputs, plus a row times row K of the filter."""
    if SEPARABLE:
        result = ()
        for i in tl.static_range(len(sums)):
            result += (tl.fma(taps[K], row[i], sums[i]),)
        return result
    else:
        return _filtered(sums, row, taps, K * TAPS, TAPS, UP, DOWN, PHASE)


@triton.jit
def _copies(value, COUNT: tl.constexpr):
    copies = ()
    for _ in tl.static_range(COUNT):
        copies += (value,)
    return copies


@triton.jit
def _read(
    x,  # [planes, height, width, channels]
    lanes,
    row,
    IN_BLOCKS: tl.constexpr,
    SHIFT: tl.constexpr,
    SPAN: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,
    LANES: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """The pixels of one row under each lane's strip, a tuple of SPAN columns; 0 outside the image."""
    start, column, height, width, pitch, channels, inside = lanes
    inside = inside & (row >= 0) & (row < height)
    start += row.to(tl.int64) * pitch
    columns = ()
    if IN_BLOCKS:
        for i in tl.static_range((SHIFT + SPAN + WIDE - 1) // WIDE):
            place = column + i * WIDE
            mask = (inside & (place >= 0) & (place < width))[:, None]
            at = (start + place)[:, None] + tl.arange(0, WIDE)[None, :]
            columns += columns_of(tl.load(x + at, mask=mask, other=0.0).to(COMPUTE), LANES, WIDE)
        return columns[SHIFT : SHIFT + SPAN]
    else:
        for i in tl.static_range(SPAN):
            place = column + i
            at = start + place
            mask = inside & (place >= 0) & (place < width)
            if CHANNELS_LAST:
                at = (start + place * channels)[:, None] + tl.arange(0, WIDE)[None, :]
                mask = mask[:, None]
            columns += (tl.load(x + at, mask=mask, other=0.0).to(COMPUTE),)
        return columns


@triton.jit
def _write(
    y,  # [planes, out_height, out_width, channels]
    columns,
    lanes,
    row,
    is_complete,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,
    LANES: tl.constexpr,
):
    start, column, height, width, pitch, channels, inside = lanes
    inside = inside & (row < height) & is_complete
    start += row.to(tl.int64) * pitch
    if CHANNELS_LAST:
        for i in tl.static_range(len(columns)):
            at = (start + (column + i) * channels)[:, None] + tl.arange(0, WIDE)[None, :]
            mask = (inside & (column + i < width))[:, None]
            tl.store(y + at, columns[i].to(y.dtype.element_ty), mask=mask)
    else:
        for i in tl.static_range(0, len(columns), WIDE):
            place = (column + i)[:, None] + tl.arange(0, WIDE)[None, :]
            tile = joined(columns[i : i + WIDE], LANES, WIDE)
            mask = inside[:, None] & (place < width)
            tl.store(y + (start[:, None] + place), tile.to(y.dtype.element_ty), mask=mask)


@triton.jit
def _gathered(
    window,  # a tuple of rows
    zeros,
    taps,
    ROW: tl.constexpr,
    SEPARABLE: tl.constexpr,
    TAPS: tl.constexpr,
    PHASE_X: tl.constexpr,
    PHASE_Y: tl.constexpr,
):
    """Row ROW of the outputs of an iteration that upsamples.

    The sum over rows k of the filter with window[(ROW + k - PHASE_Y) / 2], where that is an integer.
    """
    sums = zeros
    for k in tl.static_range((PHASE_Y - ROW) % 2, TAPS, 2):
        row = window[(ROW + k - PHASE_Y) // 2]
        sums = _added(sums, row, taps, k, SEPARABLE, TAPS, 2, 1, PHASE_X)
    return sums


@triton.jit
def _spread(
    sums,  # a tuple of rows. Row i is a sum over the rows of inputs from i DOWN on
    row,
    taps,
    ROW: tl.constexpr,
    SEPARABLE: tl.constexpr,
    TAPS: tl.constexpr,
    DOWN: tl.constexpr,
):
    """The sums of rows of outputs, plus what row ROW of the inputs adds to them."""
    result = ()
    for i in tl.static_range(len(sums)):
        if (ROW - i * DOWN) // TAPS == 0:  # if the filter, from i DOWN on, covers it
            result += (_added(sums[i], row, taps, ROW - i * DOWN, SEPARABLE, TAPS, 1, DOWN, 0),)
        else:
            result += (sums[i],)
    return result


@Kernel
def upfirdn2d_walk_kernel(
    x,  # [planes, height, width, channels]
    filter,  # [TAPS] if SEPARABLE, else [TAPS, TAPS]
    y,  # [planes, out_height, out_width, channels]
    planes: tl.int64,
    height: tl.int64,
    width: tl.int64,
    channels: tl.int64,  # 1 unless CHANNELS_LAST
    out_height: tl.int64,
    out_width: tl.int64,
    groups: tl.int64,  # of WIDE channels, of adjacent lanes; 1 unless CHANNELS_LAST
    runs: tl.int64,  # of a strip
    run: tl.int64,  # iterations of a run
    left: tl.int64,  # columns that the lanes of the first strip read before the image
    top: tl.int64,  # rows before the image that the first row of the output needs
    first: tl.int64,
    step: tl.int64,
    gain: tl.float64,
    SEPARABLE: tl.constexpr,
    TAPS: tl.constexpr,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    PHASE_X: tl.constexpr,  # the padding modulo UP
    PHASE_Y: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,  # if CHANNELS_LAST: channels of a lane, divides channels; else: columns of a block
    IN_BLOCKS: tl.constexpr,  # whether blocks are read: WIDE divides width and left
    OUT_BLOCKS: tl.constexpr,  # whether WIDE divides out_width
    SHIFT: tl.constexpr,  # if IN_BLOCKS: columns that a lane reads before the first that it needs
    COLUMNS: tl.constexpr,  # of the output in a strip, a multiple of UP
    STEPS: tl.constexpr,  # of an iteration; each reads DOWN rows and writes UP rows
    LANES: tl.constexpr,  # of a program
):
    """y = x upsampled, filtered and downsampled. Each lane handles one run of one strip."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    SPAN: tl.constexpr = ((COLUMNS - 1) * DOWN + TAPS - 1 - PHASE_X) // UP + 1
    # Rows that the first iteration needs and does not read: LEAD iterations before it read them.
    BEFORE: tl.constexpr = (TAPS - DOWN + UP - 1 - PHASE_Y) // UP
    LEAD: tl.constexpr = (BEFORE + STEPS * DOWN - 1) // (STEPS * DOWN)
    if CHANNELS_LAST:
        channels = channels // WIDE * WIDE  # no change: tells the compiler a divisor
    if IN_BLOCKS:
        width = width // WIDE * WIDE
        left = left // WIDE * WIDE
    if OUT_BLOCKS:
        out_width = out_width // WIDE * WIDE
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    groups, runs, run = groups.to(tl.int32), runs.to(tl.int32), run.to(tl.int32)
    strips = tl.cdiv(out_width, COLUMNS).to(tl.int32)
    outer_groups = tl.cdiv(channels, groups * WIDE).to(tl.int32)
    group = lane % groups
    strip = lane // groups % strips
    part = lane // groups // strips % runs
    plane = lane // groups // strips // runs
    channel = (plane % outer_groups * groups + group) * WIDE
    plane = (plane // outer_groups).to(tl.int64)
    inside = (plane < planes) & (channel < channels)
    strip *= COLUMNS
    source = _lanes(plane, channel, strip // UP * DOWN - left.to(tl.int32), height, width, channels, inside)
    target = _lanes(plane, channel, strip, out_height, out_width, channels, inside)
    out_row = (part * run - LEAD) * (STEPS * UP)
    row = (part * run - LEAD) * (STEPS * DOWN) + BEFORE - top.to(tl.int32)

    taps = _taps(filter, first, step, gain, TAPS if SEPARABLE else TAPS * TAPS, COMPUTE)
    along = _taps(filter, first, step, 1.0, TAPS if SEPARABLE else 0, COMPUTE)
    zeros = _copies(tl.zeros([LANES, WIDE] if CHANNELS_LAST else [LANES], COMPUTE), COLUMNS)
    if UP == 1:
        state = _copies(zeros, (BEFORE - 1) // DOWN + 1)
    else:
        state = _copies(zeros if SEPARABLE else _copies(zeros[0], SPAN), BEFORE)
    for iteration in range(-LEAD, run):
        state += _copies(zeros, STEPS if UP == 1 else 0)
        for i in tl.static_range(STEPS * DOWN):
            new = _read(x, source, row + i, IN_BLOCKS, SHIFT, SPAN, CHANNELS_LAST, WIDE, LANES, COMPUTE)
            if SEPARABLE:
                new = _filtered(zeros, new, along, 0, TAPS, UP, DOWN, PHASE_X)
            if UP == 1:
                state = _spread(state, new, taps, BEFORE + i, SEPARABLE, TAPS, DOWN)
            else:
                state += (new,)
        for i in tl.static_range(STEPS * UP):
            if UP == 1:
                sums = state[i]
            else:
                sums = _gathered(state, zeros, taps, i, SEPARABLE, TAPS, PHASE_X, PHASE_Y)
            _write(y, sums, target, out_row + i, iteration >= 0, CHANNELS_LAST, WIDE, LANES)
        state = state[STEPS:]
        row += STEPS * DOWN
        out_row += STEPS * UP


# --- any factors and filters


@triton.jit
def _first_tap(place, up, down, lead, before):
    """The first tap that meets a pixel of the input at an output pixel, and that pixel."""
    at = place * down + lead
    pixel = (at + up - 1) // up
    return pixel * up - at, pixel - before


@Kernel
def upfirdn2d_kernel(
    x,  # [planes, height, width, channels]
    filter,  # [taps_y, taps_x]
    y,  # [planes, out_height, out_width, channels]
    planes: tl.int64,
    height: tl.int64,
    width: tl.int64,
    channels: tl.int64,
    out_height: tl.int64,
    out_width: tl.int64,
    taps_x: tl.int64,
    taps_y: tl.int64,
    up_x: tl.int64,
    up_y: tl.int64,
    down_x: tl.int64,
    down_y: tl.int64,
    lead_x: tl.int64,  # the padding is before_x up_x - lead_x, with 0 <= lead_x < up_x
    lead_y: tl.int64,
    before_x: tl.int64,
    before_y: tl.int64,
    first: tl.int64,
    step: tl.int64,
    gain: tl.float64,
    CHANNELS_BY: tl.constexpr,  # divides channels
    PIXELS: tl.constexpr,  # of a tile; one tile per program
    CHANNELS: tl.constexpr,  # of a tile
):
    """y = x upsampled, filtered and downsampled, with any factors and numbers of taps."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    channels = channels // CHANNELS_BY * CHANNELS_BY  # no change: tells the compiler a divisor
    taps_x, taps_y = taps_x.to(tl.int32), taps_y.to(tl.int32)
    up_x, up_y = up_x.to(tl.int32), up_y.to(tl.int32)
    tiles = tl.cdiv(channels, CHANNELS).to(tl.int32)
    out_width_32, out_height_32 = out_width.to(tl.int32), out_height.to(tl.int32)
    pixel = tl.program_id(0) // tiles * PIXELS + tl.arange(0, PIXELS)
    place_x = pixel % out_width_32
    place_y = pixel // out_width_32 % out_height_32
    plane = (pixel // out_width_32 // out_height_32).to(tl.int64)
    channel = tl.program_id(0) % tiles * CHANNELS + tl.arange(0, CHANNELS)
    inside = (plane < planes)[:, None] & (channel < channels)[None, :]
    first_x, column = _first_tap(
        place_x, up_x, down_x.to(tl.int32), lead_x.to(tl.int32), before_x.to(tl.int32)
    )
    first_y, row = _first_tap(place_y, up_y, down_y.to(tl.int32), lead_y.to(tl.int32), before_y.to(tl.int32))
    total = tl.zeros([PIXELS, CHANNELS], COMPUTE)
    for i in range(tl.cdiv(taps_y, up_y)):
        tap_y = first_y + i * up_y
        is_row = (tap_y < taps_y) & (row + i >= 0) & (row + i < height)
        start = ((plane * height + row + i) * width + column) * channels
        for j in range(tl.cdiv(taps_x, up_x)):
            tap_x = first_x + j * up_x
            is_pixel = is_row & (tap_x < taps_x) & (column + j >= 0) & (column + j < width)
            tap = tl.load(filter + first + (tap_y * taps_x + tap_x) * step, mask=is_pixel, other=0.0)
            at = (start + j * channels)[:, None] + channel[None, :]
            value = tl.load(x + at, mask=inside & is_pixel[:, None], other=0.0)
            total = tl.fma(tap.to(COMPUTE)[:, None], value.to(COMPUTE), total)
    total *= number(gain, COMPUTE)
    at = ((plane * out_height + place_y) * out_width + place_x) * channels
    tl.store(y + (at[:, None] + channel[None, :]), total.to(y.dtype.element_ty), mask=inside)


# --- the method


class Upfirdn2d(Reference):
    def upfirdn2d(self, input: Tensor, filter: Tensor, resampling: Resampling) -> Tensor:
        size = resampled_size(input, filter, resampling)
        dense, _, channels_last = channel_layout(input, 1)
        filter = filter.contiguous()
        output = room_for_images(input, size, input.dtype, channels_last)
        x, y = _planes(dense, channels_last), _planes(output, channels_last)
        if input.numel() == 0:
            output.zero_()
        elif _is_walked(filter, resampling):
            _walk(x, filter, resampling, y, channels_last)
        elif filter.dim() == 2:
            _gather(x, filter, resampling, y)
        else:
            along_x, along_y = _by_axis(resampling)
            between = room_for_images(
                input, (input.shape[2], size[1]), compute_dtype(input.dtype), channels_last
            )
            between = _planes(between, channels_last)
            _gather(x, filter[None], along_x, between)
            _gather(between, filter[:, None], along_y, y)
        return output


def _planes(images: Tensor, channels_last: bool) -> Tensor:
    """View images as [planes, height, width, channels]. If channels are not last, each has a plane."""
    return images.permute(0, 2, 3, 1) if channels_last else images.flatten(0, 1)[..., None]


def _parts(x: Tensor, y: Tensor, lanes: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Planes of each launch: kernels number lanes, of which a plane takes ``lanes``, in 32 bits."""
    if lanes > _MOST_LANES:
        raise ValueError(f"an image of shape {list(y.shape[1:])} is too large: it takes {lanes} lanes")
    count = _MOST_LANES // lanes
    return zip(x.split(count), y.split(count), strict=True)


def _order(filter: Tensor, resampling: Resampling) -> tuple[int, int]:
    """``first`` and ``step``."""
    return (0, 1) if resampling.flip_filter else (filter.numel() - 1, -1)


def _is_walked(filter: Tensor, resampling: Resampling) -> bool:
    up, down = resampling.up, resampling.down
    taps = tuple(filter.shape)
    is_filter = taps in ((4,), (4, 4)) or (taps == (12,) and up != down)
    return is_filter and (up, down) in _WALKED


def _walk(x: Tensor, filter: Tensor, resampling: Resampling, y: Tensor, channels_last: bool) -> None:
    planes, height, width, channels = x.shape
    _, out_height, out_width, _ = y.shape
    (up, _), (down, _), (left, _, top, _), _, gain = resampling
    taps = len(filter)
    wide = 16 // x.element_size()
    columns = wide * up
    if channels_last:
        wide, columns = math.gcd(channels, wide), 2
    in_blocks = not channels_last and width % wide == 0
    out_blocks = not channels_last and out_width % wide == 0
    shift = -(left // up) % wide if in_blocks else 0
    steps = 2 if taps == 4 else 1
    groups = min(triton.cdiv(channels, wide), _GROUPS)
    strips = triton.cdiv(channels, groups * wide) * groups * triton.cdiv(out_width, columns)
    runs, run = _runs(planes * strips, triton.cdiv(out_height, steps * up), taps)
    warps = 4 if channels_last else 1
    lanes = 256 if INTERPRETING else threads() // 4 * warps
    for inputs, outputs in _parts(x, y, strips * runs):
        upfirdn2d_walk_kernel.launch(
            triton.cdiv(len(inputs) * strips * runs, lanes),
            (inputs, filter, outputs),
            (
                *(len(inputs), height, width, channels, out_height, out_width, groups, runs, run),
                *(left // up + shift, top // up, *_order(filter, resampling), gain),
            ),
            (
                *(filter.dim() == 1, taps, up, down, left % up, top % up),
                *(channels_last, wide, in_blocks, out_blocks, shift, columns, steps, lanes),
            ),
            num_warps=warps,
        )


def _runs(strips: int, iterations: int, taps: int) -> tuple[int, int]:
    """The number of runs of a strip, and iterations of a run. They depend on sizes only."""
    longest = min(max(_FEWEST * taps // 4, strips * iterations // _LANES), _MOST)
    runs = triton.cdiv(iterations, longest)
    return runs, triton.cdiv(iterations, runs)


def _by_axis(resampling: Resampling) -> tuple[Resampling, Resampling]:
    """Resamplings along x and along y, which together are this one."""
    (up_x, up_y), (down_x, down_y), (left, right, top, bottom), flip, gain = resampling
    return (
        Resampling((up_x, 1), (down_x, 1), (left, right, 0, 0), flip, 1.0),
        Resampling((1, up_y), (1, down_y), (0, 0, top, bottom), flip, gain),
    )


def _gather(x: Tensor, filter: Tensor, resampling: Resampling, y: Tensor) -> None:
    _, height, width, channels = x.shape
    _, out_height, out_width, _ = y.shape
    taps_y, taps_x = filter.shape
    (up_x, up_y), (left, _, top, _) = resampling.up, resampling.padding
    before_x, before_y = -(-left // up_x), -(-top // up_y)
    leads = before_x * up_x - left, before_y * up_y - top
    of_tile = min(triton.next_power_of_2(channels), _WIDEST)
    wide = 16 // x.element_size()
    pixels = threads() * wide // of_tile
    # If a thread has one pixel, ptxas would take fewer registers, call a part of the loop as a function, and
    # spill around the call.
    most = 64 if of_tile >= wide else None
    for inputs, outputs in _parts(x, y, out_height * out_width):
        upfirdn2d_kernel.launch(
            triton.cdiv(len(inputs) * out_height * out_width, pixels) * triton.cdiv(channels, of_tile),
            (inputs, filter, outputs),
            (
                *(len(inputs), height, width, channels, out_height, out_width, taps_x, taps_y),
                *(up_x, up_y, *resampling.down, *leads, before_x, before_y),
                *(*_order(filter, resampling), resampling.gain),
            ),
            (divisor(channels), pixels, of_tile),
            maxnreg=most,
        )
