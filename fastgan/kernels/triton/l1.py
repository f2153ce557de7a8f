"""L1 distances of pairs of tensors: value, gradients, or both in one pass over the inputs.

Ranges and the order of sums are as in losses.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import room_for
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.pairs import Pairs
from fastgan.kernels.reference import Pair, Reference, Tensors
from fastgan.kernels.sizes import of_size, same_size
from fastgan.kernels.triton.launch import INTERPRETING, MOST_TENSORS, Kernel, for_each_tensor, threads
from fastgan.kernels.triton.reduction import (
    add_up_tensors,
    loaded_or_one,
    pick,
    pick_number,
    ranges_of,
    tensor_of,
    write_loss,
)
from fastgan.kernels.triton.scalar_math import number, sign

_STEPS = 2 if INTERPRETING else 4  # blocks per tile: eight 16-byte loads per thread in flight
_MAX_RANGES = 2048  # enough to fill any GPU, few enough for one program to add


@triton.jit
def _block(
    x,  # [n]
    y,  # [n]
    dx,  # [n]: if X_GRAD, the gradient of x; if TERMS, |x - y|
    dy,  # [n], if Y_GRAD: the gradient of y
    incoming,  # [n], if TIMES_INCOMING: factor of the gradients
    base,  # first element of the block
    n,
    scale,  # factor of the gradients
    X_GRAD: tl.constexpr,
    Y_GRAD: tl.constexpr,
    TIMES_INCOMING: tl.constexpr,
    TERMS: tl.constexpr,
    MASKED: tl.constexpr,  # unmasked loads are 16 bytes wide
    BLOCK: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Store gradients or terms of one block; return its |x - y|."""
    at = base + tl.arange(0, BLOCK)
    if MASKED:
        inside = at < n
        x_here = tl.load(x + at, mask=inside, other=0.0).to(COMPUTE)
        d = x_here - tl.load(y + at, mask=inside, other=0.0).to(COMPUTE)
    else:
        inside = None
        d = tl.load(x + at).to(COMPUTE) - tl.load(y + at).to(COMPUTE)
    distance = tl.abs(d)
    if TERMS:
        tl.store(dx + at, distance.to(dx.dtype.element_ty), mask=inside)
    if X_GRAD or Y_GRAD:
        slope = scale * sign(d)
        if TIMES_INCOMING:
            slope *= tl.load(incoming + at, mask=inside).to(COMPUTE)
        if X_GRAD:
            tl.store(dx + at, slope.to(dx.dtype.element_ty), mask=inside)
        if Y_GRAD:
            tl.store(dy + at, (-slope).to(dy.dtype.element_ty), mask=inside)
    return distance


@triton.jit
def _range(
    x,  # one tensor
    y,  # like x
    dx,  # like x, if X_GRAD: its gradient
    dy,  # like x, if Y_GRAD: the gradient of y
    start,  # first element of the range
    stop,  # end of the range
    scale,  # factor of the gradients
    X_GRAD: tl.constexpr,
    Y_GRAD: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """Store the gradients of a range; return its sum of |x - y|."""
    TILE: tl.constexpr = BLOCK * STEPS
    sums = tl.zeros([BLOCK], COMPUTE)
    full = (stop - start) // TILE
    for tile in range(full):
        for step in tl.static_range(STEPS):
            sums += _block(
                x, y, dx, dy, x, start + tile * TILE + step * BLOCK, stop, scale,
                X_GRAD, Y_GRAD, False, False, False, BLOCK, COMPUTE,
            )  # fmt: skip
    for base in range(start + full * TILE, stop, BLOCK):
        sums += _block(
            x, y, dx, dy, x, base, stop, scale,
            X_GRAD, Y_GRAD, False, False, True, BLOCK, COMPUTE,
        )  # fmt: skip
    return tl.sum(sums)


@for_each_tensor("x", "y", "dx", "dy", "sizes", "firsts", "weights")
def l1_kernel(
    x,  # [sizes[i]] each
    y,  # like x
    dx,  # like x, if X_GRAD: the gradients of x
    dy,  # like x, if Y_GRAD: the gradients of y
    scale,  # [], if SCALED: factor of the gradients
    total,  # [], unless BACKWARD: the loss
    partials,  # [programs], unless BACKWARD or ONE_PROGRAM: the sum of each range
    arrived,  # [], unless BACKWARD or ONE_PROGRAM: zero before and after
    sizes: tl.int64,
    firsts: tl.int64,  # first range of each tensor
    weights: tl.float64,  # factor of each |x - y|
    span: tl.int64,  # elements per range, a multiple of BLOCK * STEPS
    X_GRAD: tl.constexpr,
    Y_GRAD: tl.constexpr,
    SCALED: tl.constexpr,
    BACKWARD: tl.constexpr,  # only gradients
    ONE_PROGRAM: tl.constexpr,  # there is at most one range
    ROWS: tl.constexpr,  # a power of two, at least the number of pairs
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per tile
):
    """Each program handles one range of one pair."""
    COMPUTE: tl.constexpr = tl.float64 if x[0].dtype.element_ty == tl.float64 else tl.float32
    span = span // (BLOCK * STEPS) * (BLOCK * STEPS)  # no change: tells the compiler a divisor
    part = tl.program_id(0).to(tl.int64)
    index = tensor_of(part, firsts)
    start = (part - pick_number(firsts, index, tl.int64)) * span
    stop = tl.minimum(start + span, pick_number(sizes, index, tl.int64))
    factor = pick_number(weights, index, tl.float64).to(COMPUTE)
    if X_GRAD or Y_GRAD:
        factor *= loaded_or_one(scale, SCALED, COMPUTE)
    one_x = pick(x, index)
    result = _range(
        one_x, pick(y, index), pick(dx, index) if X_GRAD else one_x, pick(dy, index) if Y_GRAD else one_x,
        start, stop, factor, X_GRAD, Y_GRAD, BLOCK, STEPS, COMPUTE,
    )  # fmt: skip
    if not BACKWARD:
        if ONE_PROGRAM:
            sums = tl.where(tl.arange(0, ROWS) == index, result, 0.0)
            write_loss(total, total, sums, sums, 0, sizes, weights, False, ROWS, COMPUTE)
        else:
            tl.store(partials + part, result)
            tl.debug_barrier()  # all threads must have stored before one signals arrival
            ranges = tl.num_programs(0)
            if tl.atomic_add(arrived, 1, sem="acq_rel") == ranges - 1:
                tl.store(arrived, 0)
                sums = add_up_tensors(partials, firsts, ranges, ROWS, COMPUTE)
                write_loss(total, total, sums, sums, 0, sizes, weights, False, ROWS, COMPUTE)


@Kernel
def l1_terms_kernel(
    x,  # [n]
    y,  # [n]
    dx,  # [n]: if X_GRAD, the gradient of x; unless X_GRAD or Y_GRAD, |x - y|
    dy,  # [n], if Y_GRAD: the gradient of y
    incoming,  # [n], if X_GRAD or Y_GRAD: gradient of each |x - y|
    n: tl.int64,
    X_GRAD: tl.constexpr,
    Y_GRAD: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per program
):
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    WITH_GRADS: tl.constexpr = X_GRAD or Y_GRAD
    one = number(1.0, COMPUTE)
    start = tl.program_id(0).to(tl.int64) * (BLOCK * STEPS)
    for step in tl.static_range(STEPS):
        base = start + step * BLOCK
        if base + BLOCK <= n:
            _block(
                x, y, dx, dy, incoming, base, n, one,
                X_GRAD, Y_GRAD, WITH_GRADS, not WITH_GRADS, False, BLOCK, COMPUTE,
            )  # fmt: skip
        else:
            _block(
                x, y, dx, dy, incoming, base, n, one,
                X_GRAD, Y_GRAD, WITH_GRADS, not WITH_GRADS, True, BLOCK, COMPUTE,
            )  # fmt: skip


class L1(Reference):
    def l1_loss(
        self, x: Tensors, y: Tensors, weights: Sequence[float], mean: bool, dtype: torch.dtype
    ) -> Tensor:
        return self.l1_loss_and_grad(x, y, weights, mean, None, dtype, (False, False))[0]

    def l1_loss_and_grad(
        self,
        x: Tensors,
        y: Tensors,
        weights: Sequence[float],
        mean: bool,
        scale: Tensor | None,
        dtype: torch.dtype,
        needs: tuple[bool, bool],
    ) -> tuple[Tensor, Tensors, Tensors]:
        pairs = Pairs(x, y, weights, mean, needs)
        if scale is not None:
            of_size(scale, 1, "scale")
        parts = pairs.parts(MOST_TENSORS)
        of_parts = torch.empty(
            len(parts), dtype=dtype if len(parts) == 1 else compute_dtype(dtype), device=x[0].device
        )
        for part, loss in zip(parts, of_parts, strict=True):
            _launch(pairs, part, scale, loss)
        return of_parts.sum().to(dtype) if len(parts) > 1 else of_parts[0], pairs.dx, pairs.dy

    def l1_loss_backward(
        self,
        grad: Tensor,
        x: Tensors,
        y: Tensors,
        weights: Sequence[float],
        mean: bool,
        needs: tuple[bool, bool],
    ) -> tuple[Tensors, Tensors]:
        pairs = Pairs(x, y, weights, mean, needs)
        of_size(grad, 1, "grad")
        for part in pairs.parts(MOST_TENSORS):
            _launch(pairs, part, grad, None)
        return pairs.dx, pairs.dy

    def l1_terms(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = x.contiguous(), same_size(y, x, "y").contiguous()
        terms = torch.empty_like(x)
        _launch_terms(x, y, (terms, None), None, (False, False))
        return terms

    def l1_terms_backward(self, grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, bool]) -> Pair:
        x, y = x.contiguous(), same_size(y, x, "y").contiguous()
        grads = room_for(x, needs)
        if any(needs):
            _launch_terms(x, y, grads, same_size(grad, x, "grad").contiguous(), needs)
        return grads


def _launch(pairs: Pairs, part: slice, scale: Tensor | None, loss: Tensor | None) -> None:
    """Write the loss of some pairs, unless None, and their gradients."""
    x, sizes = pairs.x[part], pairs.sizes[part]
    block = _elements(x[0])
    tile = block * _STEPS
    span = tile * (1 if loss is None else max(1, triton.cdiv(sum(sizes), tile * _MAX_RANGES)))
    firsts, ranges = ranges_of(sizes, span)
    if loss is None and not ranges:
        return
    one_program = ranges <= 1
    partials = None
    if loss is not None and not one_program:
        partials = torch.empty(ranges, dtype=compute_dtype(x[0].dtype), device=x[0].device)
    none = [None] * len(x)
    l1_kernel.of(len(x)).launch(
        max(ranges, 1),
        (
            *(*x, *pairs.y[part], *(pairs.dx[part] or none), *(pairs.dy[part] or none)),
            *(scale, loss, partials, None if partials is None else arrivals(x[0])),
        ),
        (*sizes, *firsts, *pairs.weights[part], span),
        (
            *(bool(pairs.dx), bool(pairs.dy), scale is not None, loss is None, one_program),
            *(triton.next_power_of_2(len(x)), block, _STEPS),
        ),
    )


def _launch_terms(
    x: Tensor, y: Tensor, outputs: Pair, incoming: Tensor | None, needs: tuple[bool, bool]
) -> None:
    n, block = x.numel(), _elements(x)
    if n:
        l1_terms_kernel.launch(
            triton.cdiv(n, block * _STEPS), (x, y, *outputs, incoming), (n,), (*needs, block, _STEPS)
        )


def _elements(x: Tensor) -> int:
    """Elements of a block: 16 bytes per thread."""
    return threads() * 16 // x.element_size()
