"""The discriminator's head: the loss and all gradients in one pass over the features.

Each program handles a range of rows, tile by tile. It computes the logits of a tile, and while the tile is in
registers (wide features: in cache) its share of the weight gradient and, on request, the feature gradients.
Partial gradients are added in two stages, by the last program of each group and by the last group, because a
single program would take too long.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import neighbours_like, room
from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import check_head, of_size
from fastgan.kernels.triton.launch import MOST_TENSORS, divisor, for_each_tensor, threads
from fastgan.kernels.triton.logit_losses import kind_of
from fastgan.kernels.triton.reduction import (
    FINISH,
    add_up,
    add_up_columns,
    add_up_tensors,
    loaded_or_one,
    pick,
    pick_number,
    ranges_of,
    tensor_of,
    write_loss,
)
from fastgan.kernels.triton.scalar_math import exp_minus_abs, log1p_nonnegative, number

# Limit per thread for float32 rows wider than a tile: by default ptxas stays at 72 and spills two on an H100.
_WIDE_FLOAT32_REGISTERS = 80
_MAX_RANGES = 512
_MIN_TILES = 4  # per range
_GROUP = 16  # ranges whose gradients one program adds
_MAX_TILE_WIDTH = 2048  # columns kept in registers
_BLOCK = tl.constexpr(256)  # columns of gradients added at a time
_GROUP_CONSTANT = tl.constexpr(_GROUP)


@triton.jit
def _of_logits(t, inside, label, scale, LOSS: tl.constexpr, LOGARITHM: tl.constexpr):
    """Terms, D's outputs, saturation flags and slopes times scale; zero where not inside."""
    e = exp_minus_abs(t, True) if LOGARITHM else t
    term, slope, output, saturated = LOSS(t, e, label)
    if LOGARITHM:
        term += log1p_nonnegative(e)
    zero = tl.zeros_like(t)
    return (
        tl.where(inside, term, zero),
        tl.where(inside, output, zero),
        tl.where(inside, saturated, zero),
        tl.where(inside, scale * slope, zero),
    )


@triton.jit
def _rows(
    features,  # [rows, width]: one tensor
    weight,  # [width]
    slopes,  # [rows], if SLOPES: output
    grad,  # [rows, width], if FEATURE_GRADS: gradient of features
    sums,  # [width], if WITH_GRADS: weight gradient from these rows
    start,  # first row
    stop,  # end of the rows
    width,
    bias,  # scalar
    label,
    scale,  # factor of slopes and gradients
    LOSS: tl.constexpr,
    LOGARITHM: tl.constexpr,
    WITH_GRADS: tl.constexpr,
    SLOPES: tl.constexpr,
    FEATURE_GRADS: tl.constexpr,
    ONE_TILE_WIDE: tl.constexpr,  # WIDTH >= width
    ROWS: tl.constexpr,  # of a tile
    WIDTH: tl.constexpr,  # of a tile
    COMPUTE: tl.constexpr,
):
    """Return the sums over rows of terms, D's outputs, saturation flags and slopes."""
    lane = tl.arange(0, WIDTH)
    terms = tl.zeros([ROWS], COMPUTE)
    output = terms
    saturation = terms
    db = terms
    w = tl.load(weight + lane, mask=lane < width, other=0.0).to(COMPUTE)[None, :]
    dw = tl.zeros([ROWS, WIDTH], COMPUTE)
    if WITH_GRADS and not ONE_TILE_WIDE:
        for first in range(0, width, WIDTH):
            tl.store(sums + first + lane, tl.zeros([WIDTH], COMPUTE), mask=lane < width - first)
    for base in range(start, stop, ROWS):
        row = base + tl.arange(0, ROWS)
        inside = row < stop
        at = row[:, None] * width + lane[None, :]
        h = tl.load(features + at, mask=inside[:, None] & (lane < width)[None, :], other=0.0).to(COMPUTE)
        t = tl.sum(h * w, 1)
        if not ONE_TILE_WIDE:
            for first in range(WIDTH, width, WIDTH):
                mask = (lane < width - first)[None, :]
                part = tl.load(features + at + first, mask=inside[:, None] & mask, other=0.0).to(COMPUTE)
                w_part = tl.load(weight + first + lane[None, :], mask=mask, other=0.0).to(COMPUTE)
                t += tl.sum(part * w_part, 1)
        term, said, saturated, slope = _of_logits(t + bias, inside, label, scale, LOSS, LOGARITHM)
        terms += term
        output += said
        saturation += saturated
        if WITH_GRADS:
            db += slope
            if SLOPES:
                tl.store(slopes + row, slope, mask=inside)
            if ONE_TILE_WIDE:
                dw += slope[:, None] * h
                if FEATURE_GRADS:
                    mask = inside[:, None] & (lane < width)[None, :]
                    tl.store(grad + at, (slope[:, None] * w).to(grad.dtype.element_ty), mask=mask)
            else:
                tl.debug_barrier()  # other threads stored sums
                for first in range(0, width, WIDTH):
                    mask = (lane < width - first)[None, :]
                    part = tl.load(features + at + first, mask=inside[:, None] & mask, other=0.0).to(COMPUTE)
                    here = sums + first + lane
                    total = tl.load(here, mask=lane < width - first, other=0.0)
                    tl.store(here, total + tl.sum(slope[:, None] * part, 0), mask=lane < width - first)
                    if FEATURE_GRADS:
                        part = tl.load(weight + first + lane[None, :], mask=mask, other=0.0).to(COMPUTE)
                        part = (slope[:, None] * part).to(grad.dtype.element_ty)
                        tl.store(grad + at + first, part, mask=inside[:, None] & mask)
    if WITH_GRADS and ONE_TILE_WIDE:
        tl.store(sums + lane, tl.sum(dw, 0), mask=lane < width)
    return tl.sum(terms), tl.sum(output), tl.sum(saturation), tl.sum(db)


@triton.jit
def _add_up_gradients(sums, result, count, width):
    """result [width] = sum of sums [count, width] over its rows."""
    for first in range(0, width, _BLOCK):
        column = first + tl.arange(0, _BLOCK)
        add_up_columns(sums, result, column, count, width, _GROUP_CONSTANT, _BLOCK, sums.dtype.element_ty)


@for_each_tensor("features", "slopes", "grads", "rows", "firsts", "labels", "weights")
def head_kernel(
    features,  # [rows[i], width] each
    slopes,  # [rows[i]] each, if SLOPES: d total / d logits
    grads,  # like features, if FEATURE_GRADS: d total / d features
    weight,  # [width]
    bias,  # [1], if BIAS
    scale,  # [], if SCALED: factor of slopes and gradients
    total,  # []
    details,  # [2 n + 1], if DETAILED: see write_loss
    dw,  # [width], if WITH_GRADS: d total / d weight
    db,  # [1], if WITH_GRADS: d total / d bias
    partials,  # [4, ranges]: sums of terms, outputs, saturation flags and slopes of each range
    sums,  # [ranges, width], if WITH_GRADS: dw of each range
    group_sums,  # [groups, width], if WITH_GRADS: dw of each group of ranges
    arrived,  # [1 + groups]: zero before and after
    rows: tl.int64,
    firsts: tl.int64,  # first range of each tensor
    labels: tl.float64,
    weights: tl.float64,  # factor of each term
    width: tl.int64,
    span: tl.int64,  # rows per range, a multiple of ROWS
    LOSS: tl.constexpr,  # a function of logit_losses.py
    LOGARITHM: tl.constexpr,  # its terms lack log1p(e)
    BIAS: tl.constexpr,
    DETAILED: tl.constexpr,
    WITH_GRADS: tl.constexpr,
    SLOPES: tl.constexpr,
    FEATURE_GRADS: tl.constexpr,
    SCALED: tl.constexpr,
    COUNT_ROWS: tl.constexpr,  # a power of two, at least n
    ONE_TILE_WIDE: tl.constexpr,  # WIDTH >= width
    WIDTH_BY: tl.constexpr,  # divides width
    ROWS: tl.constexpr,  # of a tile
    WIDTH: tl.constexpr,  # of a tile
):
    """Each program handles a range of rows of one tensor."""
    COMPUTE: tl.constexpr = tl.float64 if weight.dtype.element_ty == tl.float64 else tl.float32
    width = width // WIDTH_BY * WIDTH_BY  # no change: tells the compiler a divisor
    span = span // ROWS * ROWS
    b = number(0.0, COMPUTE)
    if BIAS:
        b = tl.load(bias).to(COMPUTE)
    part = tl.program_id(0).to(tl.int64)
    ranges = tl.num_programs(0)
    index = tensor_of(part, firsts)
    start = (part - pick_number(firsts, index, tl.int64)) * span
    terms, output, saturation, slope = _rows(
        pick(features, index),
        weight,
        pick(slopes, index) if SLOPES else None,
        pick(grads, index) if FEATURE_GRADS else None,
        sums + part * width if WITH_GRADS else None,
        start,
        tl.minimum(start + span, pick_number(rows, index, tl.int64)),
        width,
        b,
        pick_number(labels, index, COMPUTE),
        loaded_or_one(scale, SCALED, COMPUTE) * pick_number(weights, index, COMPUTE),
        LOSS, LOGARITHM, WITH_GRADS, SLOPES, FEATURE_GRADS, ONE_TILE_WIDE, ROWS, WIDTH, COMPUTE,
    )  # fmt: skip
    tl.store(partials + part, terms)
    tl.store(partials + ranges + part, output)
    tl.store(partials + 2 * ranges + part, saturation)
    tl.store(partials + 3 * ranges + part, slope)
    groups = tl.cdiv(ranges, _GROUP_CONSTANT)
    group = part // _GROUP_CONSTANT
    members = tl.minimum(ranges - group * _GROUP_CONSTANT, _GROUP_CONSTANT)
    tl.debug_barrier()  # all threads must have stored before one signals arrival
    if tl.atomic_add(arrived + 1 + group, 1, sem="acq_rel") == members - 1:
        tl.store(arrived + 1 + group, 0)
        if WITH_GRADS:
            _add_up_gradients(
                sums + group * _GROUP_CONSTANT * width, group_sums + group * width, members, width
            )
        tl.debug_barrier()
        if tl.atomic_add(arrived, 1, sem="acq_rel") == groups - 1:
            tl.store(arrived, 0)
            if WITH_GRADS:
                _add_up_gradients(group_sums, dw, groups, width)
                db_sum = add_up(partials + 3 * ranges, 0, ranges, FINISH, COMPUTE)
                tl.store(db, db_sum.to(db.dtype.element_ty))
            write_loss(
                total, details, add_up_tensors(partials, firsts, ranges, COUNT_ROWS, COMPUTE),
                add_up_tensors(partials + ranges, firsts, ranges, COUNT_ROWS, COMPUTE),
                add_up(partials + 2 * ranges, 0, ranges, FINISH, COMPUTE), rows, weights,
                DETAILED, COUNT_ROWS, COMPUTE,
            )  # fmt: skip


@for_each_tensor("slopes", "grads", "rows", "firsts")
def head_backward_kernel(
    slopes,  # [rows[i]] each
    grads,  # [rows[i], width] each, if FEATURES: grad * slopes * weight
    grad,  # []
    weight,  # [width]
    dw,  # [width]
    db,  # [1]
    dweight,  # [width], if WEIGHT: grad * dw
    dbias,  # [1], if BIAS: grad * db
    rows: tl.int64,
    firsts: tl.int64,  # first row tile of each tensor
    tiles: tl.int64,  # row tiles of all tensors
    width: tl.int64,
    FEATURES: tl.constexpr,
    WEIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    WIDTH_BY: tl.constexpr,  # divides width
    ROWS: tl.constexpr,  # of a tile
    WIDTH: tl.constexpr,  # of a tile
):
    """Each program handles a tile of grads; the last programs handle tiles of dweight, and dbias."""
    COMPUTE: tl.constexpr = dw.dtype.element_ty
    width = width // WIDTH_BY * WIDTH_BY  # no change: tells the compiler a divisor
    factor = tl.load(grad).to(COMPUTE)
    across = tl.cdiv(width, WIDTH).to(tl.int32)
    tile = (tl.program_id(0) // across).to(tl.int64)
    column = (tl.program_id(0) % across).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    inside = column < width
    if tile < tiles:
        if FEATURES:
            w = factor * tl.load(weight + column, mask=inside, other=0.0).to(COMPUTE)
            index = tensor_of(tile, firsts)
            row = (tile - pick_number(firsts, index, tl.int64)) * ROWS + tl.arange(0, ROWS)
            inside_rows = row < pick_number(rows, index, tl.int64)
            slope = tl.load(pick(slopes, index) + row, mask=inside_rows, other=0.0)
            result = pick(grads, index)
            outer = (slope[:, None] * w[None, :]).to(result.dtype.element_ty)
            at = row[:, None] * width + column[None, :]
            tl.store(result + at, outer, mask=inside_rows[:, None] & inside[None, :])
    else:
        if WEIGHT:
            value = factor * tl.load(dw + column, mask=inside, other=0.0)
            tl.store(dweight + column, value.to(dweight.dtype.element_ty), mask=inside)
        if BIAS:  # these programs all write the same value
            tl.store(dbias, (factor * tl.load(db)).to(dbias.dtype.element_ty))


class Head(Reference):
    def head_loss(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool,
        with_grads: bool,
    ) -> tuple[Tensor, Tensor | None, Tensors, Tensor | None, Tensor | None]:
        slopes: Tensors = ()
        dw = db = None
        if with_grads:
            compute = compute_dtype(weight.dtype)
            slopes = tuple(t.new_empty(t.shape[0], dtype=compute) for t in features)
            dw, db = weight.new_empty(weight.numel(), dtype=compute), weight.new_empty(1, dtype=compute)
        total, details = _run(features, weight, bias, spec, None, dtype, detailed, slopes, (), dw, db)
        return total, details, slopes, dw, db

    def head_loss_and_grad(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        scale: Tensor | None,
        dtype: torch.dtype,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensors, Tensor, Tensor, Tensor]:
        grads = neighbours_like(features)
        rooms = into or (None, None)
        dw, db = room(rooms[0], weight, weight.numel()), room(rooms[1], weight, 1)
        total, details = _run(features, weight, bias, spec, scale, dtype, True, (), grads, dw, db)
        assert details is not None
        return total, grads, dw, db, details

    def head_loss_backward(
        self,
        grad: Tensor,
        slopes: Tensors,
        weight: Tensor,
        dw: Tensor,
        db: Tensor,
        needs: tuple[bool, bool, bool],
    ) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
        width, count = weight.numel(), len(slopes)
        for t, size, name in ((grad, 1, "grad"), (dw, width, "dw"), (db, 1, "db")):
            of_size(t, size, name)
        grads: tuple[Tensor | None, ...] = (None,) * count
        rows = [s.numel() for s in slopes]
        tile = _tile(width, weight.dtype)
        firsts, tiles = [0] * count, 0
        if needs[0]:
            grads = tuple(weight.new_empty(n, width) for n in rows)
            firsts, tiles = ranges_of(rows, tile[0])
        dweight = weight.new_empty(width) if needs[1] else None
        dbias = weight.new_empty(1) if needs[2] else None
        head_backward_kernel.of(count).launch(
            (tiles + 1) * max(1, triton.cdiv(width, tile[1])),
            (*slopes, *grads, grad, weight.contiguous(), dw, db, dweight, dbias),
            (*rows, *firsts, tiles, width),
            (*needs, divisor(width), *tile),
        )
        return grads, dweight, dbias


def _tile(width: int, dtype: torch.dtype) -> tuple[int, int]:
    """Rows and columns of a tile: 16 features per thread, or 4 of float64."""
    elements = threads() * (4 if dtype is torch.float64 else 16)
    columns = min(triton.next_power_of_2(max(width, 1)), _MAX_TILE_WIDTH, elements)
    return elements // columns, columns


def _run(
    features: Tensors,
    weight: Tensor,
    bias: Tensor | None,
    spec: LossSpec,
    scale: Tensor | None,
    dtype: torch.dtype,
    detailed: bool,
    slopes: Tensors,
    grads: Tensors,
    dw: Tensor | None,
    db: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Return the total and details; fill slopes, grads, dw and db if given."""
    check_head(features, spec, weight, bias)
    if scale is not None:
        of_size(scale, 1, "scale")
    count, width = len(features), weight.numel()
    if count > MOST_TENSORS:
        raise ValueError(f"features has {count} tensors, expected at most {MOST_TENSORS}")
    dense = [t.contiguous() for t in features]
    rows = [t.shape[0] for t in dense]
    tile = _tile(width, weight.dtype)
    tiles = max(_MIN_TILES, triton.cdiv(sum(rows), tile[0] * _MAX_RANGES))
    span = tiles * tile[0]
    firsts, ranges = ranges_of(rows, span)
    programs = max(1, ranges)
    groups = triton.cdiv(programs, _GROUP)
    total = weight.new_empty((), dtype=dtype)
    compute = compute_dtype(weight.dtype)
    details = weight.new_empty(2 * count + 1, dtype=compute) if detailed else None
    sums = group_sums = None
    if dw is not None:
        sums = weight.new_empty(programs * width, dtype=compute)
        group_sums = weight.new_empty(groups * width, dtype=compute)
    none = [None] * count
    head_kernel.of(count).launch(
        programs,
        (
            *(*dense, *(slopes or none), *(grads or none)),
            *(weight.contiguous(), None if bias is None else bias.contiguous()),
            *(scale, total, details, dw, db, weight.new_empty(4 * programs, dtype=compute)),
            *(sums, group_sums, arrivals(weight, 1 + groups)),
        ),
        (*rows, *firsts, *spec.labels, *spec.weights_of(rows), width, span),
        (
            *kind_of(spec.loss, spec.labels),
            bias is not None,
            detailed,
            dw is not None,
            bool(slopes),
            bool(grads),
            scale is not None,
            triton.next_power_of_2(count),
            width <= tile[1],
            divisor(width),
            *tile,
        ),
        maxnreg=_WIDE_FLOAT32_REGISTERS if width > tile[1] and weight.dtype is torch.float32 else None,
    )
    return total, details
