"""The last program of a launch turns the partial sums of all programs into results, in a fixed order.

If a kernel takes several tensors, each tensor is split into ranges, and one program sums a range. ``firsts``
holds the index of the first range of each tensor. An empty tensor has no range.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from fastgan.kernels.triton.scalar_math import number

FINISH = tl.constexpr(1024)  # partial sums read at a time


def ranges_of(sizes: Sequence[int], span: int) -> tuple[list[int], int]:
    """Return the first range of each tensor and the number of ranges, for ranges of ``span`` elements."""
    firsts, count = [], 0
    for size in sizes:
        firsts.append(count)
        count += -(-size // span)
    return firsts, count


@triton.jit
def tensor_of(part, firsts):
    """Index of the tensor with range ``part``: the last tensor whose first range is not after it."""
    found = number(0, tl.int32)
    for i in tl.static_range(1, len(firsts)):
        found = tl.where(part >= firsts[i], i, found)
    return found


@triton.jit
def pick(pointers, index):
    """pointers[index]. A selection, not a branch, so that the code after it is compiled only once."""
    chosen = pointers[0]
    for i in tl.static_range(1, len(pointers)):
        chosen = tl.where(index == i, pointers[i], chosen)
    return chosen


@triton.jit
def pick_number(numbers, index, TYPE: tl.constexpr):
    """numbers[index], with the shape of index; zero for an index beyond the last number."""
    chosen = tl.where(index == 0, number(numbers[0], TYPE), number(0, TYPE))
    for i in tl.static_range(1, len(numbers)):
        chosen = tl.where(index == i, number(numbers[i], TYPE), chosen)
    return chosen


@triton.jit
def add_up(partials, first, last, BLOCK: tl.constexpr, COMPUTE: tl.constexpr):
    """The sum of partials[first:last], in order."""
    total = tl.zeros([BLOCK], COMPUTE)
    lane = tl.arange(0, BLOCK)
    for base in range(first, last, BLOCK):
        total += tl.load(partials + base + lane, mask=lane < last - base, other=0.0)
    return tl.sum(total)


@triton.jit
def add_up_tensors(partials, firsts, ranges, ROWS: tl.constexpr, COMPUTE: tl.constexpr):
    """The sum of each tensor's partials, in order: [ROWS], zero beyond the last tensor.

    partials [ranges]: one value per range.
    ROWS: power of two, at least the number of tensors.
    """
    WIDTH: tl.constexpr = FINISH // ROWS
    row = tl.arange(0, ROWS)
    lane = tl.arange(0, WIDTH)
    first = pick_number(firsts, row, tl.int64)
    stop = pick_number(firsts, row + 1, tl.int64)  # first range of the next tensor
    stop = tl.where(row == len(firsts) - 1, ranges, stop)
    longest = ranges - number(firsts[len(firsts) - 1], tl.int64)
    for i in tl.static_range(1, len(firsts)):
        longest = tl.maximum(longest, number(firsts[i] - firsts[i - 1], tl.int64))
    sums = tl.zeros([ROWS, WIDTH], COMPUTE)
    for base in range(0, longest, WIDTH):
        at = first[:, None] + base + lane[None, :]
        sums += tl.load(partials + at, mask=at < stop[:, None], other=0.0)
    return tl.sum(sums, 1)


@triton.jit
def write_loss(
    total,  # []: the sum of weights[i] * sums[i]
    details,  # [2 n + 1], if DETAILED: weights[i] * sums[i], means of D's outputs, share of saturated logits
    sums,  # [ROWS]: sum of each tensor's terms
    outputs,  # [ROWS]: sum of D's outputs for each tensor
    saturated,  # scalar: number of saturated logits
    sizes,  # n numbers
    weights,  # n numbers: factor of each term
    DETAILED: tl.constexpr,
    ROWS: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    COUNT: tl.constexpr = len(sizes)
    row = tl.arange(0, ROWS)
    shares = pick_number(weights, row, tl.float64).to(COMPUTE) * sums
    tl.store(total, tl.sum(shares).to(total.dtype.element_ty))
    if DETAILED:
        elements = pick_number(sizes, row, tl.int64).to(COMPUTE)
        tl.store(details + row, shares, mask=row < COUNT)
        tl.store(details + COUNT + row, outputs / elements, mask=row < COUNT)
        tl.store(details + 2 * COUNT, saturated / tl.sum(elements))


@triton.jit
def loaded_or_one(scale, SCALED: tl.constexpr, COMPUTE: tl.constexpr):
    """The factor of the gradients: scale [], or 1."""
    return tl.load(scale).to(COMPUTE) if SCALED else number(1.0, COMPUTE)


@triton.jit
def columns_added(
    partials, column, count, columns, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, COMPUTE: tl.constexpr
):
    """The sum of partials [count, columns] over rows, in order, for the columns ``column`` [WIDTH].

    HEIGHT: rows read at a time.
    """
    inside_columns = (column < columns)[None, :]
    sums = tl.zeros([HEIGHT, WIDTH], COMPUTE)
    for first in range(0, count, HEIGHT):
        each = first + tl.arange(0, HEIGHT)
        inside = (each < count)[:, None] & inside_columns
        at = each.to(tl.int64)[:, None] * columns + column[None, :]
        sums += tl.load(partials + at, mask=inside, other=0.0)
    return tl.sum(sums, 0)


@triton.jit
def add_up_columns(
    partials,  # [count, columns]
    summed,  # [columns]: sum of partials over rows, written at ``column``
    column,  # [WIDTH]: the columns to add
    count,
    columns,
    HEIGHT: tl.constexpr,  # rows read at a time
    WIDTH: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    sums = columns_added(partials, column, count, columns, HEIGHT, WIDTH, COMPUTE)
    tl.store(summed + column, sums.to(summed.dtype.element_ty), mask=column < columns)
