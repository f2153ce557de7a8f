"""The losses of logits: value and statistics, and gradients in the same pass.

A tensor of logits is split into ranges, whose number depends on its size alone, and each range into
tiles of a few blocks. One program sums a range: every lane keeps the product of (1 + e) down its column of
a tile, and one log1p serves a thread's whole share of the tile. The program that arrives last adds up the
ranges in order, so sums never depend on scheduling.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.codes import compute_dtype
from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import neighbours_like
from fastgan.kernels.sizes import check_pair, of_size
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, on_amd, threads
from fastgan.kernels.triton.logit_losses import kind_of, slope, statistics, term
from fastgan.kernels.triton.reduction import FINISH, add_up, slope_scale, write_loss
from fastgan.kernels.triton.scalar_math import (
    LABEL_BETWEEN,
    exp_minus_abs,
    log1p_nonnegative,
    number,
    product_minus_one,
)


def _steps() -> int:
    """Blocks in a tile. With 8 lanes a thread's product of 64 factors stays below 2^64.

    They are unrolled, and AMD's compiler then runs out of scalar registers for the comparisons. The
    interpreter shall have several tiles in small tensors.
    """
    return 2 if INTERPRETING or on_amd() else 8


_MAX_RANGES = 2048  # a tensor: enough to fill any GPU, few enough for one program to add up


@triton.jit
def _tile(
    x, grad, base, left, label, slope_scale, product, linear, mean, saturation,
    KIND: tl.constexpr, BLOCK: tl.constexpr, STATS: tl.constexpr, GRAD: tl.constexpr,
    MASKED: tl.constexpr, C: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """One block of a tile. Without a mask loads stay 16 bytes wide."""
    lane = tl.arange(0, BLOCK)
    if MASKED:
        t = tl.load(x + base + lane, mask=lane < left, other=0.0).to(C)
    else:
        t = tl.load(x + base + lane).to(C)
    e = exp_minus_abs(t, EXACT) if KIND <= LABEL_BETWEEN else t
    if GRAD:
        derivative = (slope_scale * slope(t, e, label, KIND)).to(x.dtype.element_ty)
        if MASKED:
            tl.store(grad + base + lane, derivative, mask=lane < left)
        else:
            tl.store(grad + base + lane, derivative)
    if STATS:
        output, saturated = statistics(t, e, label, KIND)
        if MASKED:
            output = tl.where(lane < left, output, 0.0)
        mean += output
        saturation += saturated
    value = term(t, label, KIND)
    if KIND <= LABEL_BETWEEN:
        if MASKED:
            e = tl.where(lane < left, e, 0.0)
        product = product_minus_one(product, e)
    elif MASKED:
        value = tl.where(lane < left, value, 0.0)
    return product, linear + value, mean, saturation


@triton.jit
def _log_of_lanes(product, BLOCK: tl.constexpr, LANES: tl.constexpr):
    """log(1 + product), each of the LANES neighbours that a thread holds multiplied into one."""
    if LANES == 1:
        return log1p_nonnegative(product)
    else:
        first, second = tl.split(tl.reshape(product, [BLOCK // 2, 2]))
        return _log_of_lanes(product_minus_one(first, second), BLOCK // 2, LANES // 2)


@triton.jit
def _sum_range(
    x, grad, start, stop, label, slope_scale,
    KIND: tl.constexpr, BLOCK: tl.constexpr, LANES: tl.constexpr, STEPS: tl.constexpr,
    STATS: tl.constexpr, GRAD: tl.constexpr, C: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Sums over x[start:stop] of the loss, of D's output, and of saturated logits."""
    TILE: tl.constexpr = BLOCK * STEPS
    zero = tl.zeros([BLOCK], C)
    linear = zero
    mean = zero
    saturation = zero
    logs = tl.zeros([BLOCK // LANES], C)
    full = (stop - start) // TILE
    for tile in range(full):
        product = zero
        for step in tl.static_range(STEPS):
            product, linear, mean, saturation = _tile(
                x, grad, start + tile * TILE + step * BLOCK, 0, label, slope_scale, product, linear, mean,
                saturation, KIND, BLOCK, STATS, GRAD, False, C, EXACT,
            )  # fmt: skip
        if KIND <= LABEL_BETWEEN:
            logs += _log_of_lanes(product, BLOCK, LANES)
    rest = start + full * TILE
    if rest < stop:
        product = zero
        for base in range(rest, stop, BLOCK):
            product, linear, mean, saturation = _tile(
                x, grad, base, stop - base, label, slope_scale, product, linear, mean, saturation,
                KIND, BLOCK, STATS, GRAD, True, C, EXACT,
            )  # fmt: skip
        if KIND <= LABEL_BETWEEN:
            logs += _log_of_lanes(product, BLOCK, LANES)
    return tl.sum(linear) + tl.sum(logs), tl.sum(mean), tl.sum(saturation)


@Kernel
def loss_kernel(
    first, second, grad_first, grad_second, scale, loss, stats, partials, arrived,
    n_first: tl.int64, n_second: tl.int64, span: tl.int64, ranges_first: tl.int64, ranges_second: tl.int64,
    label_first: tl.float64, label_second: tl.float64, sign: tl.float64,
    KIND_FIRST: tl.constexpr, KIND_SECOND: tl.constexpr, TWO: tl.constexpr, MEAN: tl.constexpr,
    STATS: tl.constexpr, GRAD: tl.constexpr, SCALED: tl.constexpr, ALONE: tl.constexpr,
    BLOCK: tl.constexpr, LANES: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """first, second [n]; loss []; stats [2 or 3]; partials [3, programs]. ALONE: one program does it all."""
    C: tl.constexpr = tl.float64 if first.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = first.dtype.element_ty.primitive_bitwidth > 16
    sign = number(sign, C)
    label_first = number(label_first, C)
    label_second = number(label_second, C)
    scale_first = sign
    scale_second = sign
    if GRAD:
        scale_first = slope_scale(scale, sign, n_first, SCALED, MEAN, C)
        scale_second = slope_scale(scale, sign, n_second, SCALED, MEAN, C)
    span = span // (BLOCK * STEPS) * (BLOCK * STEPS)  # no change: the compiler learns what divides it
    program = tl.program_id(0).to(tl.int64)
    if ALONE:
        sum_first, mean_first, saturated_first = _sum_range(
            first, grad_first, 0, n_first, label_first, scale_first,
            KIND_FIRST, BLOCK, LANES, STEPS, STATS, GRAD, C, EXACT,
        )  # fmt: skip
        sum_second, mean_second, saturated_second = sum_first, mean_first, saturated_first
        if TWO:
            sum_second, mean_second, saturated_second = _sum_range(
                second, grad_second, 0, n_second, label_second, scale_second,
                KIND_SECOND, BLOCK, LANES, STEPS, STATS, GRAD, C, EXACT,
            )  # fmt: skip
        write_loss(
            loss, stats, sign, sum_first, mean_first, saturated_first, n_first, sum_second, mean_second,
            saturated_second, n_second, TWO, MEAN, STATS, C,
        )  # fmt: skip
    else:
        programs = tl.num_programs(0)
        if program < ranges_first:
            start = program * span
            total, mean, saturation = _sum_range(
                first, grad_first, start, tl.minimum(start + span, n_first), label_first, scale_first,
                KIND_FIRST, BLOCK, LANES, STEPS, STATS, GRAD, C, EXACT,
            )  # fmt: skip
        else:
            start = (program - ranges_first) * span
            total, mean, saturation = _sum_range(
                second, grad_second, start, tl.minimum(start + span, n_second), label_second, scale_second,
                KIND_SECOND, BLOCK, LANES, STEPS, STATS, GRAD, C, EXACT,
            )  # fmt: skip
        tl.store(partials + program, total)
        if STATS:
            tl.store(partials + programs + program, mean)
            tl.store(partials + 2 * programs + program, saturation)
        tl.debug_barrier()  # every thread's stores are issued before one thread announces them
        if tl.atomic_add(arrived, 1, sem="acq_rel") == programs - 1:
            tl.store(arrived, 0)
            sum_first = add_up(partials, 0, ranges_first, FINISH, C)
            sum_second = add_up(partials, ranges_first, programs, FINISH, C)
            mean_first = sum_first
            mean_second = sum_second
            saturation = sum_first
            if STATS:
                means = partials + programs
                mean_first = add_up(means, 0, ranges_first, FINISH, C)
                mean_second = add_up(means, ranges_first, programs, FINISH, C)
                saturation = add_up(means + programs, 0, programs, FINISH, C)
            write_loss(
                loss, stats, sign, sum_first, mean_first, saturation, n_first, sum_second, mean_second,
                saturation * 0, n_second, TWO, MEAN, STATS, C,
            )  # fmt: skip


def _forward(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    grads: tuple[Tensor | None, ...],
    scale: Tensor | None,
    kind: str,
) -> tuple[Tensor, Tensor | None]:
    check_pair(logits, labels, "logits")
    if scale is not None:
        of_size(scale, 1, "scale")
    first, second = logits[0], logits[-1]
    two = len(logits) == 2
    lanes = 16 // first.element_size()
    block = threads() * lanes
    largest = max(first.numel(), second.numel())
    tiles = triton.cdiv(largest, block * _steps())
    span = triton.cdiv(tiles, _MAX_RANGES) * block * _steps()
    ranges_first = triton.cdiv(first.numel(), span) if tiles else 0
    ranges_second = triton.cdiv(second.numel(), span) if two and tiles else 0
    alone = tiles <= 1
    programs = 1 if alone else ranges_first + ranges_second
    loss = torch.empty((), dtype=loss_dtype, device=first.device)
    stats = torch.empty(len(logits) + 1, dtype=torch.float32, device=first.device) if with_stats else None
    partials = None
    if not alone:
        partials = torch.empty(3 * programs, dtype=compute_dtype(first.dtype), device=first.device)
    constants = (
        kind_of(kind, labels[0]),
        kind_of(kind, labels[-1]),
        two,
        mean,
        with_stats,
        grads[0] is not None,
        scale is not None,
        alone,
        block,
        lanes,
        _steps(),
    )
    loss_kernel.launch(
        programs,
        (first, second, *grads, scale, loss, stats, partials, None if alone else arrivals(first)),
        (first.numel(), second.numel(), span, ranges_first, ranges_second, labels[0], labels[-1], sign),
        constants,
    )
    return loss, stats


def loss(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None]:
    dense = tuple(t.contiguous() for t in logits)
    return _forward(dense, labels, sign, mean, loss_dtype, with_stats, (None, None), None, kind)


def loss_keeping_grads(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    """A logit is read once and its gradient written: 4 bytes for one of bf16, where two passes move 6."""
    return _with_grads(logits, labels, sign, mean, None, loss_dtype, with_stats, kind)


def loss_and_grad(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    kind: str = "bce",
) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    value, stats, grads = _with_grads(logits, labels, sign, mean, scale, loss_dtype, True, kind)
    assert stats is not None
    return value, grads, stats


def _with_grads(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str,
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    dense = tuple(t.contiguous() for t in logits)
    grads = neighbours_like(dense)
    outputs = grads[0], grads[-1]
    value, stats = _forward(dense, labels, sign, mean, loss_dtype, with_stats, outputs, scale, kind)
    return value, stats, grads
