"""tanh, Gumbel-softmax and the cross-entropy of conditions over the spans of an output layer.

A launch covers all spans. Its programs take tiles of equal size: rows by columns of several tanh spans, or of
one softmax span. Spans are grouped by width, so that a tile fits those of its group; only a span wider than
the widest tile takes a loop. How many spans a group has is a number, so a new table compiles nothing.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import in_rows
from fastgan.kernels.native import compute_dtype, row_stride
from fastgan.kernels.reference import Reference
from fastgan.kernels.reference_tables import SMALLEST
from fastgan.kernels.sizes import checked_conditions, matrix, of_size, same_size
from fastgan.kernels.spans import Spans
from fastgan.kernels.triton.launch import Kernel, threads
from fastgan.kernels.triton.reduction import FINISH, add_up
from fastgan.kernels.triton.scalar_math import exp_minus_abs, hyperbolic_tangent, logarithm, number

# columns of a tile: tanh spans of a tile and narrow softmax spans, medium spans, wide ones
_NARROW, _MEDIUM, _WIDE = tl.constexpr(16), tl.constexpr(64), tl.constexpr(512)
_OF_CONDITIONS = tl.constexpr(
    128
)  # columns of a tile of the cross-entropy, whose rows have spans of all widths
# of the tiles of tanh spans and of each group of softmax spans
_WIDTHS = _NARROW.value, _NARROW.value, _MEDIUM.value, _WIDE.value
_MOST_RANGES = 1024  # of rows, for which one program adds the cross-entropy
# Limit per thread in float64: by default ptxas stays at 80 with the cross-entropy, and spills on a B200.
_FLOAT64_REGISTERS = 128
_SMALLEST = tl.constexpr(SMALLEST)
_LOWEST = tl.constexpr(-3e38)  # less than a maximum, and finite: a difference from it is no nan


@triton.jit
def _tile(program, count, ROWS: tl.constexpr):
    """Rows of a program and its position among ``count`` spans. Neighbours have the same rows."""
    count = number(count, tl.int32)
    return (program // count).to(tl.int64) * ROWS + tl.arange(0, ROWS), program % count


@triton.jit
def _tile_of_tanhs(spans, program, count, rows, TILE: tl.constexpr):
    """Rows and columns of a program, and which of them exist."""
    row, index = _tile(program, tl.cdiv(count, _NARROW), TILE // _NARROW)
    each = index * _NARROW + tl.arange(0, _NARROW)
    column = tl.load(spans + 3 * each, mask=each < count, other=0)
    return row[:, None], column[None, :], (row < rows)[:, None] & (each < count)[None, :]


@triton.jit
def _tanh(x, y, spans, program, count, rows, width, y_apart, TILE: tl.constexpr, COMPUTE: tl.constexpr):
    row, column, inside = _tile_of_tanhs(spans, program, count, rows, TILE)
    value = tl.load(x + row * width + column, mask=inside, other=0.0).to(COMPUTE)
    value = hyperbolic_tangent(value, x.dtype.element_ty == tl.float32)
    tl.store(y + row * y_apart + column, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _tanh_backward(
    grad, y, dx, spans, program, count, rows, width, grad_apart, y_apart,
    TILE: tl.constexpr, COMPUTE: tl.constexpr,
):  # fmt: skip
    row, column, inside = _tile_of_tanhs(spans, program, count, rows, TILE)
    g = tl.load(grad + row * grad_apart + column, mask=inside, other=0.0).to(COMPUTE)
    t = tl.load(y + row * y_apart + column, mask=inside, other=0.0).to(COMPUTE)
    tl.store(dx + row * width + column, (g * (1.0 - t * t)).to(dx.dtype.element_ty), mask=inside)


@triton.jit
def _include(top, total, value, sharpness, EXACT: tl.constexpr):
    """Include values in the maximum of a row, and in its sum of exp((value - maximum) * sharpness)."""
    highest = tl.maximum(top, tl.max(value, 1))
    total *= exp_minus_abs((top - highest) * sharpness, EXACT)
    return highest, total + tl.sum(exp_minus_abs((value - highest[:, None]) * sharpness, EXACT), 1)


@triton.jit
def _logits(x, at, inside, in_span, COMPUTE: tl.constexpr):
    """x, -inf in columns beyond the span."""
    return tl.where(in_span, tl.load(x + at, mask=inside & in_span, other=0.0).to(COMPUTE), -float("inf"))


@triton.jit
def _noisy(x, noise, at, inside, in_span, COMPUTE: tl.constexpr):
    """x with Gumbel noise, -inf in columns beyond the span."""
    value = _logits(x, at, inside, in_span, COMPUTE)
    if noise is not None:
        uniform = tl.load(noise + at, mask=inside & in_span, other=0.5).to(COMPUTE)
        value -= logarithm(-logarithm(tl.maximum(uniform, _SMALLEST)))
    return value


@triton.jit
def _softmax(
    x,
    noise,
    y,
    spans,  # [count, 3]: first column, number of columns, ...
    program,  # among those of these spans
    count,
    rows,
    width,
    y_apart,
    sharpness,
    TILE: tl.constexpr,
    COLUMNS: tl.constexpr,
    LONG: tl.constexpr,  # a span may have more columns
    COMPUTE: tl.constexpr,
):
    EXACT: tl.constexpr = x.dtype.element_ty == tl.float32
    row, index = _tile(program, count, TILE // COLUMNS)
    first = tl.load(spans + 3 * index)
    size = tl.load(spans + 3 * index + 1)
    lane = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows)[:, None]
    at = row[:, None] * width + first + lane
    to = y + row[:, None] * y_apart + first + lane
    value = _noisy(x, noise, at, inside, lane < size, COMPUTE)
    top = tl.maximum(tl.max(value, 1), _LOWEST)
    e = exp_minus_abs((value - top[:, None]) * sharpness, EXACT)
    total = tl.sum(e, 1)
    if LONG:
        for base in range(COLUMNS, size, COLUMNS):
            part = _noisy(x, noise, at + base, inside, lane < size - base, COMPUTE)
            top, total = _include(top, total, part, sharpness, EXACT)
        e = exp_minus_abs((value - top[:, None]) * sharpness, EXACT)
    share = (1.0 / total)[:, None]
    tl.store(to, (e * share).to(y.dtype.element_ty), mask=inside & (lane < size))
    if LONG:
        for base in range(COLUMNS, size, COLUMNS):
            part = _noisy(x, noise, at + base, inside, lane < size - base, COMPUTE)
            e = exp_minus_abs((part - top[:, None]) * sharpness, EXACT)
            tl.store(to + base, (e * share).to(y.dtype.element_ty), mask=inside & (lane < size - base))


@triton.jit
def _target(conditions, targets, row, inside, last):
    """The column of a row's condition, the first one of its span and the one after; zeros if not inside."""
    condition = tl.load(conditions + row, mask=inside, other=0)
    at = targets + 3 * tl.minimum(tl.maximum(condition, 0), last)
    column = tl.load(at, mask=inside, other=0)
    return column, tl.load(at + 1, mask=inside, other=0), tl.load(at + 2, mask=inside, other=0)


@triton.jit
def _cross_entropy(
    x,
    conditions,
    targets,
    start,  # first row of the range
    stop,
    width,
    last,  # condition
    TILE: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """The sum over a range of rows."""
    ROWS: tl.constexpr = TILE // _OF_CONDITIONS
    EXACT: tl.constexpr = x.dtype.element_ty == tl.float32
    lane = tl.arange(0, _OF_CONDITIONS)[None, :]
    sums = tl.zeros([ROWS], COMPUTE)
    for base in range(start, stop, ROWS):
        row = base + tl.arange(0, ROWS)
        inside = row < stop
        column, first, end = _target(conditions, targets, row, inside, last)
        size = end - first
        at = row[:, None] * width + first[:, None] + lane
        top = tl.full([ROWS], _LOWEST, COMPUTE)
        total = tl.zeros([ROWS], COMPUTE)
        for begin in range(0, tl.max(size), _OF_CONDITIONS):
            part = _logits(x, at + begin, inside[:, None], lane < (size - begin)[:, None], COMPUTE)
            top, total = _include(top, total, part, 1.0, EXACT)
        own = tl.load(x + row * width + column, mask=inside, other=0.0).to(COMPUTE)
        sums += tl.where(inside, logarithm(total) + (top - own), 0.0)
    return tl.sum(sums)


@Kernel
def span_activations_kernel(
    x,  # [rows, width]
    noise,  # [rows, width], uniform in [0, 1); None: no noise
    y,  # [rows, width]: the activations
    spans,  # [spans, 3], by groups: first column, number of columns, whether the columns are conditions
    conditions,  # [rows], or None
    targets,  # [last + 1, 3], or None: column of a condition, first one of its span, and the one after
    entropy,  # [], or None: mean of the cross-entropy
    partials,  # [ranges], or None: its sum over each range of rows
    arrived,  # [], or None: zero before and after
    rows: tl.int64,
    width: tl.int64,
    y_apart: tl.int64,  # elements between rows of y
    last: tl.int64,  # condition
    span: tl.int64,  # rows of a range of the cross-entropy
    tanhs: tl.int64,  # spans of each group; the wide ones are last
    narrow: tl.int64,
    medium: tl.int64,
    wide: tl.int64,
    begin_tanhs: tl.int64,  # first program of each group; those before are for ranges of the cross-entropy
    begin_narrow: tl.int64,
    begin_medium: tl.int64,
    begin_wide: tl.int64,
    sharpness: tl.float64,  # 1 / temperature
    TILE: tl.constexpr,  # elements
):
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    program = tl.program_id(0)
    sharpness = number(sharpness, COMPUTE)
    if program < begin_tanhs:
        if conditions is not None:
            start = program.to(tl.int64) * span
            sums = _cross_entropy(
                x, conditions, targets, start, tl.minimum(start + span, rows), width, last, TILE, COMPUTE
            )
            tl.store(partials + program, sums)
            tl.debug_barrier()  # all threads must have stored before one signals arrival
            if tl.atomic_add(arrived, 1, sem="acq_rel") == begin_tanhs - 1:
                tl.store(arrived, 0)
                total = add_up(partials, 0, begin_tanhs, FINISH, COMPUTE)
                tl.store(entropy, total / number(tl.maximum(rows, 1), COMPUTE))
    elif program < begin_narrow:
        _tanh(x, y, spans, program - begin_tanhs, tanhs, rows, width, y_apart, TILE, COMPUTE)
    elif program < begin_medium:
        _softmax(
            x, noise, y, spans + 3 * tanhs, program - begin_narrow, narrow, rows, width, y_apart, sharpness,
            TILE, _NARROW, False, COMPUTE,
        )  # fmt: skip
    elif program < begin_wide:
        _softmax(
            x, noise, y, spans + 3 * (tanhs + narrow), program - begin_medium, medium, rows, width, y_apart,
            sharpness, TILE, _MEDIUM, False, COMPUTE,
        )  # fmt: skip
    else:
        _softmax(
            x, noise, y, spans + 3 * (tanhs + narrow + medium), program - begin_wide, wide, rows, width,
            y_apart, sharpness, TILE, _WIDE, True, COMPUTE,
        )  # fmt: skip


@triton.jit
def _through_entropy(value, top, share, is_target, scale, EXACT: tl.constexpr):
    """scale * (softmax(value) - [is_target]), where share is scale / (the sum of exponentials)."""
    return exp_minus_abs(value - top[:, None], EXACT) * share[:, None] - tl.where(is_target, scale, 0.0)


@triton.jit
def _softmax_backward(
    grad,
    y,
    x,
    dx,
    spans,  # [count, 3]: first column, number of columns, whether they are conditions
    conditions,
    targets,
    program,  # among those of these spans
    count,
    rows,
    width,
    grad_apart,
    y_apart,
    last,
    scale,
    sharpness,
    TILE: tl.constexpr,
    COLUMNS: tl.constexpr,
    LONG: tl.constexpr,  # a span may have more columns
    COMPUTE: tl.constexpr,
):
    EXACT: tl.constexpr = y.dtype.element_ty == tl.float32
    HALF: tl.constexpr = y.dtype.element_ty.primitive_bitwidth == 16
    row, index = _tile(program, count, TILE // COLUMNS)
    first = tl.load(spans + 3 * index)
    size = tl.load(spans + 3 * index + 1)
    lane = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows)[:, None]
    at = row[:, None] * width + first + lane
    from_grad = grad + row[:, None] * grad_apart + first + lane
    from_y = y + row[:, None] * y_apart + first + lane
    g = tl.load(from_grad, mask=inside & (lane < size), other=0.0).to(COMPUTE)
    p = tl.load(from_y, mask=inside & (lane < size), other=0.0).to(COMPUTE)
    dot = tl.sum(p * g, 1)
    sums = tl.sum(p, 1) if HALF else dot
    if x is not None:
        is_own = row < tl.where(tl.load(spans + 3 * index + 2) != 0, rows, 0)
        column, beginning, _ = _target(conditions, targets, row, is_own, last)
        is_own &= beginning == first
        column = tl.where(is_own, column - first, -1)[:, None]
        # rows with a condition elsewhere read nothing: their logits are 0
        value = _logits(x, at, is_own[:, None], lane < size, COMPUTE)
        top = tl.maximum(tl.max(value, 1), _LOWEST)
        total = tl.sum(exp_minus_abs(value - top[:, None], EXACT), 1)
    if LONG:
        for base in range(COLUMNS, size, COLUMNS):
            in_span = lane < size - base
            g_part = tl.load(from_grad + base, mask=inside & in_span, other=0.0).to(COMPUTE)
            p_part = tl.load(from_y + base, mask=inside & in_span, other=0.0).to(COMPUTE)
            dot += tl.sum(p_part * g_part, 1)
            if HALF:
                sums += tl.sum(p_part, 1)
            if x is not None:
                part = _logits(x, at + base, is_own[:, None], in_span, COMPUTE)
                top, total = _include(top, total, part, 1.0, EXACT)
    if HALF:  # a probability next to 1 has lost its distance from 1: divide by the sum of all, 1 + an error
        dot *= 2.0 - sums
    d = p * (g - dot[:, None]) * sharpness
    if x is not None:
        share = tl.where(is_own, scale / total, 0.0)
        d += _through_entropy(value, top, share, lane == column, scale, EXACT)
    tl.store(dx + at, d.to(dx.dtype.element_ty), mask=inside & (lane < size))
    if LONG:
        for base in range(COLUMNS, size, COLUMNS):
            in_span = lane < size - base
            g = tl.load(from_grad + base, mask=inside & in_span, other=0.0).to(COMPUTE)
            p = tl.load(from_y + base, mask=inside & in_span, other=0.0).to(COMPUTE)
            d = p * (g - dot[:, None]) * sharpness
            if x is not None:
                part = _logits(x, at + base, is_own[:, None], in_span, COMPUTE)
                d += _through_entropy(part, top, share, lane + base == column, scale, EXACT)
            tl.store(dx + at + base, d.to(dx.dtype.element_ty), mask=inside & in_span)


@Kernel
def span_activations_backward_kernel(
    grad,  # [rows, width]
    y,  # [rows, width]: the activations
    x,  # [rows, width]: the input; None without a gradient of the cross-entropy
    dx,  # [rows, width]
    spans,  # [spans, 3], by groups: first column, number of columns, whether the columns are conditions
    conditions,  # [rows], or None
    targets,  # [last + 1, 3], or None: column of a condition, first one of its span, and the one after
    grad_entropy,  # [], or None
    rows: tl.int64,
    width: tl.int64,
    grad_apart: tl.int64,  # elements between rows of grad
    y_apart: tl.int64,
    last: tl.int64,  # condition
    tanhs: tl.int64,  # spans of each group; the wide ones are last
    narrow: tl.int64,
    medium: tl.int64,
    wide: tl.int64,
    begin_narrow: tl.int64,  # first program of each group
    begin_medium: tl.int64,
    begin_wide: tl.int64,
    sharpness: tl.float64,  # 1 / temperature
    TILE: tl.constexpr,  # elements
):
    COMPUTE: tl.constexpr = tl.float64 if y.dtype.element_ty == tl.float64 else tl.float32
    program = tl.program_id(0)
    sharpness = number(sharpness, COMPUTE)
    scale = number(0.0, COMPUTE)
    if x is not None:
        scale = tl.load(grad_entropy).to(COMPUTE) / number(rows, COMPUTE)
    if program < begin_narrow:
        _tanh_backward(grad, y, dx, spans, program, tanhs, rows, width, grad_apart, y_apart, TILE, COMPUTE)
    elif program < begin_medium:
        _softmax_backward(
            grad, y, x, dx, spans + 3 * tanhs, conditions, targets, program - begin_narrow, narrow, rows,
            width, grad_apart, y_apart, last, scale, sharpness, TILE, _NARROW, False, COMPUTE,
        )  # fmt: skip
    elif program < begin_wide:
        _softmax_backward(
            grad, y, x, dx, spans + 3 * (tanhs + narrow), conditions, targets, program - begin_medium, medium,
            rows, width, grad_apart, y_apart, last, scale, sharpness, TILE, _MEDIUM, False, COMPUTE,
        )  # fmt: skip
    else:
        _softmax_backward(
            grad, y, x, dx, spans + 3 * (tanhs + narrow + medium), conditions, targets, program - begin_wide,
            wide, rows, width, grad_apart, y_apart, last, scale, sharpness, TILE, _WIDE, True, COMPUTE,
        )  # fmt: skip


class _Groups(NamedTuple):
    """Spans of a layer, grouped by the tiles that they need."""

    spans: Tensor  # int32 [spans, 3]: first column, number of columns, whether the columns are conditions
    counts: tuple[int, ...]  # of tanh, narrow, medium and wide spans

    def begins(self, rows: int, before: int) -> list[int]:
        """The first program of each group, and the number of programs, if ``before`` come before."""
        programs = [before]
        tiles = triton.cdiv(self.counts[0], _NARROW.value), *self.counts[1:]
        for count, columns in zip(tiles, _WIDTHS, strict=True):
            programs.append(programs[-1] + count * triton.cdiv(rows * columns, _tile_size()))
        return programs


@cache  # never freed: a captured graph keeps only the address
def _groups(spans: Spans, device: torch.device) -> _Groups:
    found: list[list[tuple[int, int, bool]]] = [[], [], [], []]
    first = 0
    for i, size in enumerate(spans.sizes):
        group = (size > 1) + (size > _NARROW.value) + (size > _MEDIUM.value)
        found[group].append((first, size, i in spans.conditions))
        first += size
    return _Groups(torch.tensor([*chain(*found)], dtype=torch.int32, device=device), tuple(map(len, found)))


def _tile_size() -> int:
    return 4 * threads()


class SpanActivations(Reference):
    def span_activations(
        self,
        input: Tensor,
        spans: Spans,
        noise: Tensor | None,
        temperature: float,
        conditions: Tensor | None,
        into: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        rows, width = _sizes(input, spans)
        output = input.new_empty(rows, width) if into is None else into
        groups, tile = _groups(spans, input.device), _tile_size()
        of_rows, targets, entropy, partials, span, ranges = None, None, None, None, 1, 0
        if conditions is not None:
            of_rows = checked_conditions(conditions, spans, rows)
            targets = spans.tables(input.device)[1]
            span = tile // _OF_CONDITIONS.value
            span *= max(1, triton.cdiv(rows, span * _MOST_RANGES))
            ranges = max(1, triton.cdiv(rows, span))
            entropy = input.new_empty((), dtype=compute_dtype(input.dtype))
            partials = input.new_empty(ranges, dtype=entropy.dtype)
        *begins, programs = groups.begins(rows, ranges)
        if programs:
            span_activations_kernel.launch(
                programs,
                (
                    input.contiguous(),
                    None if noise is None else of_size(noise, rows * width, "noise").contiguous(),
                    *(output, groups.spans, of_rows, targets, entropy, partials),
                    None if entropy is None else arrivals(input),
                ),
                (
                    *(rows, width, row_stride(output, rows, width, "into"), spans.num_conditions - 1, span),
                    *(*groups.counts, *begins, 1 / temperature),
                ),
                (tile,),
                maxnreg=_FLOAT64_REGISTERS if input.dtype is torch.float64 else None,
            )
        return output, entropy

    def span_activations_backward(
        self,
        grad: Tensor,
        grad_entropy: Tensor | None,
        input: Tensor | None,
        output: Tensor,
        spans: Spans,
        temperature: float,
        conditions: Tensor | None,
    ) -> Tensor:
        rows, width = _sizes(output, spans)
        grad, output = in_rows(grad), in_rows(output)
        apart = row_stride(grad, rows, width, "grad"), row_stride(output, rows, width, "output")
        dx = output.new_empty(rows, width)
        of_entropy: tuple[Tensor | None, ...] = None, None, None, None
        if grad_entropy is not None:
            assert input is not None
            assert conditions is not None
            of_entropy = (
                same_size(input, output, "input").contiguous(),
                checked_conditions(conditions, spans, rows),
                spans.tables(output.device)[1],
                of_size(grad_entropy, 1, "grad_entropy"),
            )
        x, *of_conditions = of_entropy
        groups = _groups(spans, output.device)
        _, *begins, programs = groups.begins(rows, 0)
        if programs:
            span_activations_backward_kernel.launch(
                programs,
                (grad, output, x, dx, groups.spans, *of_conditions),
                (*(rows, width, *apart, spans.num_conditions - 1), *groups.counts, *begins, 1 / temperature),
                (_tile_size(),),
            )
        return dx


def _sizes(input: Tensor, spans: Spans) -> tuple[int, int]:
    """Return rows and columns of a matrix that fits the spans."""
    rows, width = matrix(input, "input")
    if width != spans.width:
        raise ValueError(f"input has {width} columns, expected {spans.width}, as in spans")
    return rows, width
