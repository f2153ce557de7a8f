"""The discriminator's head: features to loss and to every gradient, in one pass over the features.

A program takes a range of rows. A tile of rows makes its logits, and while it is still in registers (wide
features: in cache) its part of the weight's gradient and, on request, its own. Partial gradients are added
up in two steps, by the last program of each group and by the last group: one program alone would take long.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.codes import compute_dtype
from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import neighbours_like, room
from fastgan.kernels.sizes import check_head, of_size
from fastgan.kernels.triton.launch import Kernel, divisor, threads
from fastgan.kernels.triton.reduction import FINISH, add_up, add_up_columns, slope_scale, write_loss
from fastgan.kernels.triton.scalar_math import (
    exp_minus_abs,
    label_kind,
    linear_part,
    log1p_nonnegative,
    loss_slope,
    number,
    saturated,
    sigmoid,
)

_MAX_RANGES = 256  # a tensor
_MIN_TILES = 4  # in a range
_GROUP = 16  # ranges whose gradients one program adds up
_WIDEST = 2048  # columns that are kept in registers
_BLOCK = tl.constexpr(256)  # columns of gradients that are added up at a time
_GROUP_CONSTANT = tl.constexpr(_GROUP)


@triton.jit
def _tile_losses(t, inside, label, scale, LABEL: tl.constexpr, C: tl.constexpr):
    """Losses, sigmoids, saturations and slopes of a few logits; zero outside."""
    e = exp_minus_abs(t, True)
    zero = tl.zeros_like(t)
    return (
        tl.where(inside, linear_part(t, label, LABEL) + log1p_nonnegative(e), zero),
        tl.where(inside, sigmoid(t, e), zero),
        tl.where(inside, saturated(t).to(C), zero),
        tl.where(inside, scale * loss_slope(t, e, label, LABEL), zero),
    )


@triton.jit
def _rows(
    features, weight, slopes, grad, sums, start, stop, width, bias, label, scale,
    LABEL: tl.constexpr, GRADS: tl.constexpr, SLOPES: tl.constexpr, FEATURES: tl.constexpr,
    WHOLE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Rows start to stop; the gradient of the weight, [width], goes to sums."""
    lane = tl.arange(0, WIDTH)
    loss = tl.zeros([ROWS], C)
    mean = loss
    saturation = loss
    db = loss
    w = tl.load(weight + lane, mask=lane < width, other=0.0).to(C)[None, :]
    dw = tl.zeros([ROWS, WIDTH], C)
    if GRADS and not WHOLE:
        for first in range(0, width, WIDTH):
            tl.store(sums + first + lane, tl.zeros([WIDTH], C), mask=lane < width - first)
    for base in range(start, stop, ROWS):
        row = base + tl.arange(0, ROWS)
        inside = row < stop
        at = row[:, None] * width + lane[None, :]
        h = tl.load(features + at, mask=inside[:, None] & (lane < width)[None, :], other=0.0).to(C)
        t = tl.sum(h * w, 1)
        if not WHOLE:
            for first in range(WIDTH, width, WIDTH):
                mask = (lane < width - first)[None, :]
                part = tl.load(features + at + first, mask=inside[:, None] & mask, other=0.0).to(C)
                t += tl.sum(part * tl.load(weight + first + lane[None, :], mask=mask, other=0.0).to(C), 1)
        each_loss, each_mean, each_saturation, slope = _tile_losses(t + bias, inside, label, scale, LABEL, C)
        loss += each_loss
        mean += each_mean
        saturation += each_saturation
        if GRADS:
            db += slope
            if SLOPES:
                tl.store(slopes + row, slope, mask=inside)
            if WHOLE:
                dw += slope[:, None] * h
                if FEATURES:
                    mask = inside[:, None] & (lane < width)[None, :]
                    tl.store(grad + at, (slope[:, None] * w).to(grad.dtype.element_ty), mask=mask)
            else:
                tl.debug_barrier()  # sums were stored by other threads
                for first in range(0, width, WIDTH):
                    mask = (lane < width - first)[None, :]
                    part = tl.load(features + at + first, mask=inside[:, None] & mask, other=0.0).to(C)
                    here = sums + first + lane
                    total = tl.load(here, mask=lane < width - first, other=0.0)
                    tl.store(here, total + tl.sum(slope[:, None] * part, 0), mask=lane < width - first)
                    if FEATURES:
                        part = tl.load(weight + first + lane[None, :], mask=mask, other=0.0).to(C)
                        part = (slope[:, None] * part).to(grad.dtype.element_ty)
                        tl.store(grad + at + first, part, mask=inside[:, None] & mask)
    if GRADS and WHOLE:
        tl.store(sums + lane, tl.sum(dw, 0), mask=lane < width)
    return tl.sum(loss), tl.sum(mean), tl.sum(saturation), tl.sum(db)


@triton.jit
def _add_up_gradients(sums, result, count, width):
    """result [width] = the sum over sums [count, width]."""
    for first in range(0, width, _BLOCK):
        column = first + tl.arange(0, _BLOCK)
        add_up_columns(sums, result, column, count, width, _GROUP_CONSTANT, _BLOCK, sums.dtype.element_ty)


@Kernel
def head_kernel(
    first, second, weight, bias, slopes_first, slopes_second, grad_first, grad_second, scale,
    loss, stats, dw, db, partials, sums, group_sums, arrived,
    n_first: tl.int64, n_second: tl.int64, width: tl.int64, span: tl.int64, ranges_first: tl.int64,
    label_first: tl.float64, label_second: tl.float64, sign: tl.float64,
    LABEL_FIRST: tl.constexpr, LABEL_SECOND: tl.constexpr, TWO: tl.constexpr, MEAN: tl.constexpr,
    BIAS: tl.constexpr, STATS: tl.constexpr, GRADS: tl.constexpr, SLOPES: tl.constexpr,
    FEATURES: tl.constexpr, SCALED: tl.constexpr, WHOLE: tl.constexpr, WIDTH_BY: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """first, second and their gradients [n, width]; slopes [n]; weight, dw [width]; bias, db [1].

    partials [4, programs]; sums [programs, width]; group_sums [groups, width]; arrived [1 + groups].
    """
    C: tl.constexpr = tl.float64 if first.dtype.element_ty == tl.float64 else tl.float32
    width = width // WIDTH_BY * WIDTH_BY  # no change: the compiler learns what divides it
    span = span // ROWS * ROWS
    sign = number(sign, C)
    b = number(0.0, C)
    if BIAS:
        b = tl.load(bias).to(C)
    program = tl.program_id(0).to(tl.int64)
    programs = tl.num_programs(0)
    own = sums
    if GRADS:
        own = sums + program * width
    if program < ranges_first:
        start = program * span
        total, mean, saturation, slope = _rows(
            first, weight, slopes_first, grad_first, own, start, tl.minimum(start + span, n_first), width, b,
            number(label_first, C), slope_scale(scale, sign, n_first, SCALED, MEAN, C),
            LABEL_FIRST, GRADS, SLOPES, FEATURES, WHOLE, ROWS, WIDTH, C,
        )  # fmt: skip
    else:
        start = (program - ranges_first) * span
        total, mean, saturation, slope = _rows(
            second, weight, slopes_second, grad_second, own, start, tl.minimum(start + span, n_second), width,
            b, number(label_second, C), slope_scale(scale, sign, n_second, SCALED, MEAN, C),
            LABEL_SECOND, GRADS, SLOPES, FEATURES, WHOLE, ROWS, WIDTH, C,
        )  # fmt: skip
    tl.store(partials + program, total)
    tl.store(partials + programs + program, mean)
    tl.store(partials + 2 * programs + program, saturation)
    tl.store(partials + 3 * programs + program, slope)
    groups = tl.cdiv(programs, _GROUP_CONSTANT)
    group = (tl.program_id(0) // _GROUP_CONSTANT).to(tl.int64)
    members = tl.minimum(programs - group * _GROUP_CONSTANT, _GROUP_CONSTANT)
    tl.debug_barrier()  # every thread's stores are issued before one thread announces them
    if tl.atomic_add(arrived + 1 + group, 1, sem="acq_rel") == members - 1:
        tl.store(arrived + 1 + group, 0)
        if GRADS:
            _add_up_gradients(
                sums + group * _GROUP_CONSTANT * width, group_sums + group * width, members, width
            )
        tl.debug_barrier()
        if tl.atomic_add(arrived, 1, sem="acq_rel") == groups - 1:
            tl.store(arrived, 0)
            if GRADS:
                _add_up_gradients(group_sums, dw, groups, width)
                total = add_up(partials + 3 * programs, 0, programs, FINISH, C)
                tl.store(db, total.to(db.dtype.element_ty))
            write_loss(
                loss, stats, sign,
                add_up(partials, 0, ranges_first, FINISH, C),
                add_up(partials + programs, 0, ranges_first, FINISH, C),
                add_up(partials + 2 * programs, 0, ranges_first, FINISH, C), n_first,
                add_up(partials, ranges_first, programs, FINISH, C),
                add_up(partials + programs, ranges_first, programs, FINISH, C),
                add_up(partials + 2 * programs, ranges_first, programs, FINISH, C), n_second,
                TWO, MEAN, STATS, C,
            )  # fmt: skip


@Kernel
def head_backward_kernel(
    grad, slopes_first, slopes_second, weight, dw, db, grad_first, grad_second, dweight, dbias,
    n_first: tl.int64, n_second: tl.int64, width: tl.int64, tiles_first: tl.int64, tiles_second: tl.int64,
    FEATURES: tl.constexpr, WEIGHT: tl.constexpr, BIAS: tl.constexpr, WIDTH_BY: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """grad [] times slopes [n] weight [width], and times dw and db, by the programs behind them."""
    C: tl.constexpr = dw.dtype.element_ty
    width = width // WIDTH_BY * WIDTH_BY
    factor = tl.load(grad).to(C)
    across = tl.cdiv(width, WIDTH).to(tl.int32)
    tile = (tl.program_id(0) // across).to(tl.int64)
    column = (tl.program_id(0) % across).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    inside = column < width
    if tile < tiles_first + tiles_second:
        if FEATURES:
            w = tl.load(weight + column, mask=inside, other=0.0).to(C)
            if tile < tiles_first:
                _outer(grad_first, slopes_first, tile, n_first, width, column, factor * w, ROWS)
            else:
                _outer(
                    grad_second, slopes_second, tile - tiles_first, n_second, width, column, factor * w, ROWS
                )
    else:
        if WEIGHT:
            value = factor * tl.load(dw + column, mask=inside, other=0.0)
            tl.store(dweight + column, value.to(dweight.dtype.element_ty), mask=inside)
        if BIAS:  # every column's program writes the same
            tl.store(dbias, (factor * tl.load(db)).to(dbias.dtype.element_ty))


@triton.jit
def _outer(result, slopes, tile, n, width, column, w, ROWS: tl.constexpr):
    row = tile * ROWS + tl.arange(0, ROWS)
    value = tl.load(slopes + row, mask=row < n, other=0.0)[:, None] * w[None, :]
    inside = (row < n)[:, None] & (column < width)[None, :]
    at = row[:, None] * width + column[None, :]
    tl.store(result + at, value.to(result.dtype.element_ty), mask=inside)


def head_loss(
    features: tuple[Tensor, ...],
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    with_grads: bool,
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...], Tensor | None, Tensor | None]:
    compute = compute_dtype(weight.dtype)
    slopes: tuple[Tensor, ...] = ()
    dw = db = None
    if with_grads:
        slopes = tuple(t.new_empty(t.shape[0], dtype=compute) for t in features)
        dw, db = weight.new_empty(weight.numel(), dtype=compute), weight.new_empty(1, dtype=compute)
    loss, stats = _run(
        features, weight, bias, labels, sign, mean, loss_dtype, with_stats, slopes, (), dw, db, None
    )
    return loss, stats, slopes, dw, db


def head_loss_and_grad(
    features: tuple[Tensor, ...],
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    into: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor, Tensor]:
    grads = neighbours_like(features)
    rooms = into or (None, None)
    dw, db = room(rooms[0], weight, weight.numel()), room(rooms[1], weight, 1)
    loss, stats = _run(features, weight, bias, labels, sign, mean, loss_dtype, True, (), grads, dw, db, scale)
    assert stats is not None
    return loss, grads, dw, db, stats


def _tile(width: int, dtype: torch.dtype) -> tuple[int, int]:
    """Rows and columns of a tile: 16 features a thread, or 4 of float64."""
    elements = threads() * (4 if dtype is torch.float64 else 16)
    columns = min(triton.next_power_of_2(max(width, 1)), _WIDEST, elements)
    return elements // columns, columns


def _run(
    features: tuple[Tensor, ...],
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    slopes: tuple[Tensor, ...],
    grads: tuple[Tensor, ...],
    dw: Tensor | None,
    db: Tensor | None,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    check_head(features, labels, weight, bias)
    if scale is not None:
        of_size(scale, 1, "scale")
    dense = tuple(t.contiguous() for t in features)
    first, second = dense[0], dense[-1]
    two, width = len(dense) == 2, weight.numel()
    tile = _tile(width, weight.dtype)
    tiles = triton.cdiv(max(t.shape[0] for t in dense), tile[0])
    span = max(_MIN_TILES, triton.cdiv(tiles, _MAX_RANGES)) * tile[0]
    ranges_first = triton.cdiv(first.shape[0], span)
    programs = max(1, ranges_first + (triton.cdiv(second.shape[0], span) if two else 0))
    groups = triton.cdiv(programs, _GROUP)
    loss = first.new_empty((), dtype=loss_dtype)
    stats = first.new_empty(len(dense) + 1, dtype=torch.float32) if with_stats else None
    compute = compute_dtype(weight.dtype)
    sums = group_sums = None
    if dw is not None:
        sums = first.new_empty(programs * width, dtype=compute)
        group_sums = first.new_empty(groups * width, dtype=compute)
    head_kernel.launch(
        programs,
        (
            *(first, second, weight.contiguous(), None if bias is None else bias.contiguous()),
            *((slopes[0], slopes[-1]) if slopes else (None, None)),
            *((grads[0], grads[-1]) if grads else (None, None)),
            *(scale, loss, stats, dw, db, first.new_empty(4 * programs, dtype=compute)),
            *(sums, group_sums, arrivals(first, 1 + groups)),
        ),
        (first.shape[0], second.shape[0], width, span, ranges_first, labels[0], labels[-1], sign),
        (
            label_kind(labels[0]),
            label_kind(labels[-1]),
            two,
            mean,
            bias is not None,
            with_stats,
            dw is not None,
            bool(slopes),
            bool(grads),
            scale is not None,
            width <= tile[1],
            divisor(width),
            *tile,
        ),
    )
    return loss, stats


def head_loss_backward(
    grad: Tensor,
    slopes: tuple[Tensor, ...],
    weight: Tensor,
    dw: Tensor,
    db: Tensor,
    needs: tuple[bool, bool, bool],
) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
    width = weight.numel()
    for t, size, name in ((grad, 1, "grad"), (dw, width, "dw"), (db, 1, "db")):
        of_size(t, size, name)
    grads: tuple[Tensor | None, ...] = (None,) * len(slopes)
    if needs[0]:
        grads = tuple(weight.new_empty(s.numel(), width) for s in slopes)
    dweight = weight.new_empty(width) if needs[1] else None
    dbias = weight.new_empty(1) if needs[2] else None
    tile = _tile(width, weight.dtype)
    tiles = [triton.cdiv(s.numel(), tile[0]) if needs[0] else 0 for s in slopes]
    head_backward_kernel.launch(
        (sum(tiles) + 1) * max(1, triton.cdiv(width, tile[1])),
        (grad, slopes[0], slopes[-1], weight.contiguous(), dw, db, grads[0], grads[-1], dweight, dbias),
        (slopes[0].numel(), slopes[-1].numel(), width, tiles[0], sum(tiles[1:])),
        (*needs, divisor(width), *tile),
    )
    return grads, dweight, dbias
