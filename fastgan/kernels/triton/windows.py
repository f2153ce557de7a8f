"""Walks along signals, for kernels that filter them.

Each lane walks along a run of consecutive samples of one signal. It has a *window* of samples in registers: a
tuple of [LANES], one for each position. What is constexpr here is an index in a window.

Positions are relative to the first sample of a lane's run.
"""

from __future__ import annotations

import triton
import triton.language as tl

RUN_BY = tl.constexpr(16)  # divides the number of samples of a run
_LEVELS = tl.constexpr(5)  # of a tile that is split into columns: there are at most 32


@triton.jit
def columns_of(tile, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """The columns of [LANES, WIDTH]. If a thread has whole rows, nothing moves."""
    parts = (tile,)
    for level in tl.static_range(_LEVELS):
        if WIDTH >> level > 1:
            even = ()
            odd = ()
            for i in tl.static_range(len(parts)):
                first, second = tl.split(tl.reshape(parts[i], [LANES, WIDTH >> (level + 1), 2]))
                even += (first,)
                odd += (second,)
            parts = even + odd
    columns = ()
    for i in tl.static_range(WIDTH):
        columns += (tl.reshape(parts[i], [LANES]),)
    return columns


@triton.jit
def joined(columns, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """[LANES, WIDTH] with these columns, then zeros."""
    for _ in tl.static_range(WIDTH - len(columns)):
        columns += (tl.zeros_like(columns[0]),)
    for _ in tl.static_range(_LEVELS):
        if len(columns) > 1:
            pairs = ()
            for i in tl.static_range(len(columns) // 2):
                pairs += (tl.join(columns[i], columns[len(columns) // 2 + i]),)
            columns = pairs
    return tl.reshape(columns[0], [LANES, WIDTH])


@triton.jit
def taps_of(filter, COUNT: tl.constexpr, FACTOR: tl.constexpr, LANES: tl.constexpr, COMPUTE: tl.constexpr):
    """The taps of a filter [COUNT] times a factor, each as [LANES]."""
    taps = ()
    for k in tl.static_range(COUNT):
        taps += (tl.zeros([LANES], COMPUTE) + tl.load(filter + k).to(COMPUTE) * FACTOR,)
    return taps


@triton.jit
def interpolated(window, taps, AT: tl.constexpr, COUNT: tl.constexpr):
    """For each i < COUNT the sum of taps[k] window[(AT + i - k) / 2] over k for which that is an integer.

    Zeros follow the window.
    """
    sums = ()
    for i in tl.static_range(COUNT):
        total = tl.zeros_like(window[0])
        for k in tl.static_range((AT + i) % 2, len(taps), 2):
            if (AT + i - k) // 2 < len(window):
                total = tl.fma(taps[k], window[(AT + i - k) // 2], total)
        sums += (total,)
    return sums


@triton.jit
def decimated(window, taps, AT: tl.constexpr, COUNT: tl.constexpr):
    """For each i < COUNT the sum of taps[k] window[AT + 2 i + k]. Zeros surround the window."""
    sums = ()
    for i in tl.static_range(COUNT):
        total = tl.zeros_like(window[0])
        for k in tl.static_range(len(taps)):
            if AT + 2 * i + k >= 0 and AT + 2 * i + k < len(window):
                total = tl.fma(taps[k], window[AT + 2 * i + k], total)
        sums += (total,)
    return sums


@triton.jit
def repeated_after(values, before, place, end):
    """values, which start at ``place``, with the last one before ``end`` from there on; ``before`` them."""
    result = ()
    for i in tl.static_range(len(values)):
        before = tl.where(place + i < end, values[i], before)
        result += (before,)
    return result


@triton.jit
def repeated(values, is_start, end, ZERO: tl.constexpr):
    """values, which start at -ZERO, repeated beyond a signal's ends. Where ``is_start``, it starts at 0."""
    result = ()
    for i in tl.static_range(ZERO):
        result += (tl.where(is_start, values[ZERO], values[i]),)
    result += (values[ZERO],)
    return result + repeated_after(values[ZERO + 1 :], values[ZERO], 1, end)


@triton.jit
def folded_after(values, place, end, COUNT: tl.constexpr):
    """The first COUNT of values, which start at ``place``. The last before ``end`` takes those after it."""
    taken = tl.zeros_like(values[0])
    folded = ()
    for i in tl.static_range(len(values)):
        value = values[len(values) - 1 - i] + taken
        is_after = place + (len(values) - 1 - i) >= end
        taken = tl.where(is_after, value, 0.0)
        if i >= len(values) - COUNT:
            first = (tl.where(is_after, 0.0, value),)
            folded = first + folded
    return folded


@triton.jit
def folded_before(values, is_start, ZERO: tl.constexpr):
    """values; where ``is_start``, values[ZERO] takes those before it."""
    taken = tl.zeros_like(values[0])
    folded = ()
    for i in tl.static_range(ZERO):
        taken += values[i]
        folded += (tl.where(is_start, 0.0, values[i]),)
    folded += (values[ZERO] + tl.where(is_start, taken, 0.0),)
    return folded + values[ZERO + 1 :]


@triton.jit
def lanes_of(
    channels, length, runs, run, lanes, CHANNELS_LAST: tl.constexpr, BY: tl.constexpr, LANES: tl.constexpr
):
    """Each lane's channel, its index in a row of ``partials``, and its run for read and write: a tuple.

    The run is the offset of its first sample in memory, the positions where the signal starts and ends, which
    lanes there are, and the distance of samples if CHANNELS_LAST.
    """
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    runs = runs.to(tl.int32)
    few = channels.to(tl.int32)
    run = run // RUN_BY * RUN_BY  # no change: tells the compiler a divisor
    if CHANNELS_LAST:
        channels = channels // BY * BY
        channel = lane % (few // BY * BY)
        sample = lane // few // runs
        part = lane // few % runs
        first = part.to(tl.int64) * run
        offset = (sample.to(tl.int64) * length + first) * channels + channel
    else:
        length = length // BY * BY
        channel = lane // runs % few
        sample = lane // runs // few
        part = lane % runs
        first = part.to(tl.int64) * run
        offset = (lane // runs).to(tl.int64) * length + first
    partial = channel * (lanes // channels) + sample * runs + part
    return channel, partial, (offset, -first, length - first, lane < lanes, channels)


@triton.jit
def _place(run, place, CHECKED: tl.constexpr, CHANNELS_LAST: tl.constexpr):
    """Offsets and mask of each lane's sample at a position."""
    offset, begin, end, inside, channels = run
    if CHECKED:
        inside = inside & (place >= begin) & (place < end)
    return offset + place * (channels if CHANNELS_LAST else 1), inside


@triton.jit
def _places(run, place, CHECKED: tl.constexpr, WIDTH: tl.constexpr):
    """Offsets and mask of [LANES, WIDTH] adjacent samples from position ``place`` on."""
    offset, begin, end, inside, _ = run
    mask = inside[:, None]
    j = (place + tl.arange(0, WIDTH))[None, :]
    if CHECKED:
        mask = mask & (j >= begin[:, None]) & (j < end[:, None])
    return offset[:, None] + j, mask


@triton.jit
def read(
    x,  # [samples, channels, length]
    run,
    place,
    CHECKED: tl.constexpr,  # there may be positions outside the signal: read as 0
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,  # a lane's samples are 16 adjacent bytes. If not, tiles would move between threads
    WIDTH: tl.constexpr,
    LANES: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    if WIDE:
        at, mask = _places(run, place, CHECKED, WIDTH)
        return columns_of(tl.load(x + at, mask=mask, other=0.0).to(COMPUTE), LANES, WIDTH)
    else:
        columns = ()
        for i in tl.static_range(WIDTH):
            at, mask = _place(run, place + i, CHECKED, CHANNELS_LAST)
            columns += (tl.load(x + at, mask=mask, other=0.0).to(COMPUTE),)
        return columns


@triton.jit
def write(
    y,  # [samples, channels, length]
    columns,
    run,
    place,
    CHECKED: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,  # as in read
    WIDTH: tl.constexpr,
    LANES: tl.constexpr,
):
    if WIDE:
        at, mask = _places(run, place, CHECKED, WIDTH)
        tl.store(y + at, joined(columns, LANES, WIDTH).to(y.dtype.element_ty), mask=mask)
    else:
        for i in tl.static_range(WIDTH):
            at, mask = _place(run, place + i, CHECKED, CHANNELS_LAST)
            tl.store(y + at, columns[i].to(y.dtype.element_ty), mask=mask)


@triton.jit
def read_before(
    x,
    run,
    CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr,
    BACK: tl.constexpr,
    DELAY: tl.constexpr,
    WIDTH: tl.constexpr,
    LANES: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """The samples at -BACK to DELAY, 0 outside the signal."""
    window = ()
    for i in tl.static_range((BACK + DELAY) // WIDTH):
        window += read(x, run, i * WIDTH - BACK, True, CHANNELS_LAST, WIDE, WIDTH, LANES, COMPUTE)
    return window


@triton.jit
def end_of_unchecked(run, length, DELAY: tl.constexpr, WIDTH: tl.constexpr):
    """Up to where iterations reach the end of no lane's signal."""
    nearest = tl.minimum(tl.min(run[2]), length)
    return tl.maximum(nearest - DELAY, 0) // WIDTH * WIDTH
