"""Losses on logits: total, details and gradients in one pass.

Each tensor is split into ranges, whose number depends only on sizes, and each range into tiles of a few
blocks. One program sums a range. Each lane multiplies the (1 + e) of a tile, so a thread takes one log1p per
tile. The last program adds the ranges in order, so sums do not depend on scheduling.
"""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import neighbours_like
from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import check_spec, of_size
from fastgan.kernels.triton.launch import INTERPRETING, MOST_TENSORS, for_each_tensor, on_amd, threads
from fastgan.kernels.triton.logit_losses import kind_of, launches_of
from fastgan.kernels.triton.reduction import (
    FINISH,
    add_up,
    add_up_tensors,
    loaded_or_one,
    pick,
    pick_number,
    ranges_of,
    tensor_of,
    write_loss,
)
from fastgan.kernels.triton.scalar_math import exp_minus_abs, log1p_nonnegative, product_minus_one

# Limit per thread for float32 and more than two tensors: by default ptxas stays at 72 and spills on an A100.
_MANY_FLOAT32_REGISTERS = 96
_MAX_RANGES = 4096  # enough to fill any GPU, few enough for one program to add


@triton.jit
def _block(
    x,  # one tensor of logits
    grad,  # like x: its gradient, if WITH_GRADS
    base,  # first element of the block
    left,  # elements left in the range, if MASKED
    label,
    scale,  # factor of the gradient
    product,  # [BLOCK]: the product of (1 + e) over the tile, minus 1
    linear,  # [BLOCK]: terms without logarithms; this and the next two are sums over the range
    output,  # [BLOCK]: D's outputs
    saturation,  # [BLOCK]: saturation flags
    LOSS: tl.constexpr,
    LOGARITHM: tl.constexpr,
    DETAILED: tl.constexpr,
    WITH_GRADS: tl.constexpr,
    MASKED: tl.constexpr,  # unmasked loads are 16 bytes wide
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Store the gradient of a block; return product, linear, output and saturation with the block added."""
    lane = tl.arange(0, BLOCK)
    inside = lane < left if MASKED else None
    if MASKED:
        t = tl.load(x + base + lane, mask=inside, other=0.0).to(COMPUTE)
    else:
        t = tl.load(x + base + lane).to(COMPUTE)
    e = exp_minus_abs(t, EXACT) if LOGARITHM else t
    term, slope, said, saturated = LOSS(t, e, label)
    if WITH_GRADS:
        tl.store(grad + base + lane, (scale * slope).to(x.dtype.element_ty), mask=inside)
    if MASKED:
        term = tl.where(inside, term, 0.0)
        said = tl.where(inside, said, 0.0)
        saturated = tl.where(inside, saturated, 0.0)
    if DETAILED:
        output += said
        saturation += saturated
    if LOGARITHM:
        if MASKED:
            e = tl.where(inside, e, 0.0)
        product = product_minus_one(product, e)
    return product, linear + term, output, saturation


@triton.jit
def _log_of_lanes(product, BLOCK: tl.constexpr, LANES: tl.constexpr):
    """log(1 + product), with the LANES neighbours held by a thread multiplied first."""
    if LANES == 1:
        return log1p_nonnegative(product)
    else:
        first, second = tl.split(tl.reshape(product, [BLOCK // 2, 2]))
        return _log_of_lanes(product_minus_one(first, second), BLOCK // 2, LANES // 2)


@triton.jit
def _sum_range(
    part,  # index of the range; parameters without a comment as in loss_kernel
    logits,
    grads,
    factor,  # of gradients
    sizes,
    firsts,
    labels,
    weights,
    span,
    LOSS: tl.constexpr,
    LOGARITHM: tl.constexpr,
    DETAILED: tl.constexpr,
    WITH_GRADS: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
    STEPS: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Store the gradients of one range; return the sums of terms, D's outputs and saturation flags."""
    TILE: tl.constexpr = BLOCK * STEPS
    EXACT: tl.constexpr = logits[0].dtype.element_ty.primitive_bitwidth > 16
    index = tensor_of(part, firsts)
    x = pick(logits, index)
    grad = pick(grads, index) if WITH_GRADS else x
    label = pick_number(labels, index, tl.float64).to(COMPUTE)
    scale = factor * pick_number(weights, index, tl.float64).to(COMPUTE)
    start = (part - pick_number(firsts, index, tl.int64)) * span
    stop = tl.minimum(start + span, pick_number(sizes, index, tl.int64))
    linear = tl.zeros([BLOCK], COMPUTE)
    output = linear
    saturation = linear
    logs = tl.zeros([BLOCK // LANES], COMPUTE)
    full = (stop - start) // TILE
    for tile in range(full):
        product = tl.zeros([BLOCK], COMPUTE)
        for step in tl.static_range(STEPS):
            product, linear, output, saturation = _block(
                x, grad, start + tile * TILE + step * BLOCK, 0, label, scale, product, linear, output,
                saturation, LOSS, LOGARITHM, DETAILED, WITH_GRADS, False, BLOCK, COMPUTE, EXACT,
            )  # fmt: skip
        if LOGARITHM:
            logs += _log_of_lanes(product, BLOCK, LANES)
    rest = start + full * TILE
    if rest < stop:
        product = tl.zeros([BLOCK], COMPUTE)
        for base in range(rest, stop, BLOCK):
            product, linear, output, saturation = _block(
                x, grad, base, stop - base, label, scale, product, linear, output,
                saturation, LOSS, LOGARITHM, DETAILED, WITH_GRADS, True, BLOCK, COMPUTE, EXACT,
            )  # fmt: skip
        if LOGARITHM:
            logs += _log_of_lanes(product, BLOCK, LANES)
    return tl.sum(linear) + tl.sum(logs), tl.sum(output), tl.sum(saturation)


@for_each_tensor("logits", "grads", "sizes", "firsts", "labels", "weights")
def loss_kernel(
    logits,  # [sizes[i]] each
    grads,  # like logits, if WITH_GRADS
    scale,  # [], if SCALED: factor of the gradients
    total,  # []
    details,  # [2 n + 1], if DETAILED: see write_loss
    partials,  # [3, ranges], unless ONE_PROGRAM: sums of terms, outputs and saturation flags per range
    arrived,  # [], unless ONE_PROGRAM: zero before and after
    sizes: tl.int64,
    firsts: tl.int64,  # first range of each tensor
    labels: tl.float64,
    weights: tl.float64,  # factor of each term
    span: tl.int64,  # elements per range, a multiple of BLOCK * STEPS
    LOSS: tl.constexpr,  # a function of logit_losses.py
    LOGARITHM: tl.constexpr,  # its terms lack log1p(e)
    DETAILED: tl.constexpr,
    WITH_GRADS: tl.constexpr,
    SCALED: tl.constexpr,
    ONE_PROGRAM: tl.constexpr,  # one program does all the work; every tensor is one range
    ROWS: tl.constexpr,  # a power of two, at least n
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,  # elements that a thread loads at a time
    STEPS: tl.constexpr,  # blocks per tile
):
    """Each program handles one range of one tensor."""
    COMPUTE: tl.constexpr = tl.float64 if logits[0].dtype.element_ty == tl.float64 else tl.float32
    span = span // (BLOCK * STEPS) * (BLOCK * STEPS)  # no change: tells the compiler a divisor
    factor = loaded_or_one(scale, SCALED, COMPUTE)
    if ONE_PROGRAM:
        sums = tl.zeros([ROWS], COMPUTE)
        outputs = sums
        saturated = tl.zeros([], COMPUTE)
        for part in range(len(sizes)):
            terms, output, saturation = _sum_range(
                part, logits, grads, factor, sizes, firsts, labels, weights, span,
                LOSS, LOGARITHM, DETAILED, WITH_GRADS, BLOCK, LANES, STEPS, COMPUTE,
            )  # fmt: skip
            row = tl.arange(0, ROWS)
            sums = tl.where(row == part, terms, sums)
            outputs = tl.where(row == part, output, outputs)
            saturated += saturation
        write_loss(total, details, sums, outputs, saturated, sizes, weights, DETAILED, ROWS, COMPUTE)
    else:
        part = tl.program_id(0).to(tl.int64)
        ranges = tl.num_programs(0)
        terms, output, saturation = _sum_range(
            part, logits, grads, factor, sizes, firsts, labels, weights, span,
            LOSS, LOGARITHM, DETAILED, WITH_GRADS, BLOCK, LANES, STEPS, COMPUTE,
        )  # fmt: skip
        tl.store(partials + part, terms)
        if DETAILED:
            tl.store(partials + ranges + part, output)
            tl.store(partials + 2 * ranges + part, saturation)
        tl.debug_barrier()  # all threads must have stored before one signals arrival
        if tl.atomic_add(arrived, 1, sem="acq_rel") == ranges - 1:
            tl.store(arrived, 0)
            sums = add_up_tensors(partials, firsts, ranges, ROWS, COMPUTE)
            outputs = sums
            saturated = saturation
            if DETAILED:
                outputs = add_up_tensors(partials + ranges, firsts, ranges, ROWS, COMPUTE)
                saturated = add_up(partials + 2 * ranges, 0, ranges, FINISH, COMPUTE)
            write_loss(total, details, sums, outputs, saturated, sizes, weights, DETAILED, ROWS, COMPUTE)


@cache
def _tile(itemsize: int) -> tuple[int, int, int]:
    """Return the elements of a block, the elements per load of a thread, and the blocks per tile.

    With 8 lanes and 8 blocks, a thread's product has 64 factors and stays below 2^64. AMD gets fewer blocks:
    they are unrolled, and its compiler runs out of scalar registers for the comparisons. The interpreter gets
    fewer blocks so that small tensors have several tiles.
    """
    lanes = 16 // itemsize
    return threads() * lanes, lanes, 2 if INTERPRETING or on_amd() else 8


class Losses(Reference):
    def loss(
        self,
        logits: Tensors,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool = False,
        keep_grads: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        """With gradients each logit is read once: 4 bytes of traffic per bf16 logit instead of 6."""
        dense = tuple(map(Tensor.contiguous, logits))
        grads = tuple(map(torch.empty_like, dense)) if keep_grads else ()
        return *_forward(dense, grads, spec, None, dtype, detailed), grads

    def loss_and_grad(
        self, logits: Tensors, spec: LossSpec, scale: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensors, Tensor]:
        dense = tuple(map(Tensor.contiguous, logits))
        grads = neighbours_like(dense)
        total, details = _forward(dense, grads, spec, scale, dtype, True)
        assert details is not None
        return total, grads, details


def _forward(
    logits: Tensors,
    grads: Tensors,
    spec: LossSpec,
    scale: Tensor | None,
    dtype: torch.dtype,
    detailed: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the total and details; fill ``grads`` if not empty."""
    check_spec(logits, spec, "logits")
    if scale is not None:
        of_size(scale, 1, "scale")
    count, first = len(logits), logits[0]
    if count > MOST_TENSORS:
        return _in_parts(logits, grads, spec, scale, dtype)
    sizes = list(map(Tensor.numel, logits))
    block, lanes, steps = _tile(first.element_size())
    tile = block * steps
    span = tile * max(1, triton.cdiv(sum(sizes), tile * _MAX_RANGES))
    firsts, ranges = ranges_of(sizes, span)
    one_program = ranges <= 2 and max(sizes) <= span
    total = torch.empty((), dtype=dtype, device=first.device)
    details = partials = None
    compute = compute_dtype(first.dtype)
    if detailed:
        details = torch.empty(2 * count + 1, dtype=compute, device=first.device)
    if one_program:
        firsts, ranges = list(range(count)), 1
    else:
        partials = torch.empty(3 * ranges, dtype=compute, device=first.device)
    loss_kernel.of(count).launch(
        ranges,
        (
            *(*logits, *(grads or [None] * count)),
            *(scale, total, details, partials, None if one_program else arrivals(first)),
        ),
        (*sizes, *firsts, *spec.labels, *spec.weights_of(sizes), span),
        (
            *kind_of(spec.loss, spec.labels),
            detailed,
            bool(grads),
            scale is not None,
            one_program,
            triton.next_power_of_2(count),
            *(block, lanes, steps),
        ),
        maxnreg=_MANY_FLOAT32_REGISTERS if count > 2 and first.dtype is torch.float32 else None,
    )
    return total, details


def _in_parts(
    logits: Tensors, grads: Tensors, spec: LossSpec, scale: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """:func:`_forward` in several launches; combines their details."""
    shares, outputs, saturated = [], [], []
    for part, own in launches_of(spec):
        _, details = _forward(logits[part], grads[part], own, scale, dtype, True)
        assert details is not None
        count = len(own.labels)
        share, output, saturation = details.split([count, count, 1])
        size = sum(map(Tensor.numel, logits[part]))
        shares.append(share)
        outputs.append(output)
        saturated.append(saturation * size if size else torch.zeros_like(saturation))
    every = torch.cat(shares)
    saturation = torch.stack(saturated).sum(0) / sum(map(Tensor.numel, logits))
    return every.sum().to(dtype), torch.cat([every, *outputs, saturation])
