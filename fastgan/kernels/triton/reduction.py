"""How the partial sums of programs become results: in order, by the program that arrives last."""

from __future__ import annotations

import triton
import triton.language as tl

FINISH = tl.constexpr(1024)  # partial sums read at a time


@triton.jit
def add_up(partials, first, last, RANGES: tl.constexpr, C: tl.constexpr):
    """Sum of partials[first:last], in order."""
    total = tl.zeros([RANGES], C)
    lane = tl.arange(0, RANGES)
    for base in range(first, last, RANGES):
        total += tl.load(partials + base + lane, mask=lane < last - base, other=0.0)
    return tl.sum(total)


@triton.jit
def write_loss(
    loss, stats, sign, sum_first, mean_first, saturated_first, n_first, sum_second, mean_second,
    saturated_second, n_second, TWO: tl.constexpr, MEAN: tl.constexpr, STATS: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    size_first = n_first.to(C)
    size_second = n_second.to(C)
    value = sum_first / size_first if MEAN else sum_first
    if TWO:
        value += sum_second / size_second if MEAN else sum_second
    tl.store(loss, (sign * value).to(loss.dtype.element_ty))
    if STATS:
        tl.store(stats, (mean_first / size_first).to(tl.float32))
        if TWO:
            tl.store(stats + 1, (mean_second / size_second).to(tl.float32))
            share = (saturated_first + saturated_second) / (size_first + size_second)
            tl.store(stats + 2, share.to(tl.float32))
        else:
            tl.store(stats + 1, (saturated_first / size_first).to(tl.float32))


@triton.jit
def slope_scale(scale, sign, n, SCALED: tl.constexpr, MEAN: tl.constexpr, C: tl.constexpr):
    result = sign * tl.load(scale).to(C) if SCALED else sign
    return result / n.to(C) if MEAN else result


@triton.jit
def add_up_columns(
    partials, summed, column, count, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, C: tl.constexpr
):
    """summed [columns] = the sum over partials [count, columns], at the WIDTH columns of ``column``."""
    inside_columns = (column < columns)[None, :]
    sums = tl.zeros([HEIGHT, WIDTH], C)
    for first in range(0, count, HEIGHT):
        each = first + tl.arange(0, HEIGHT)
        inside = (each < count)[:, None] & inside_columns
        at = each.to(tl.int64)[:, None] * columns + column[None, :]
        sums += tl.load(partials + at, mask=inside, other=0.0)
    tl.store(summed + column, tl.sum(sums, 0).to(summed.dtype.element_ty), mask=column < columns)
