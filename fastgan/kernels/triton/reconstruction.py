"""The reconstruction loss: value, gradients, or both in one pass.

Ranges and the order of sums are those of losses.py. Both inputs are read once, and each gradient that is
wanted is written in the same pass.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.codes import compute_dtype
from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import room_for
from fastgan.kernels.sizes import of_size, same_size
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, threads
from fastgan.kernels.triton.reduction import FINISH, add_up, slope_scale
from fastgan.kernels.triton.scalar_math import number, sign

_STEPS = 2 if INTERPRETING else 4  # blocks in a tile, or of a program: eight loads of 16 bytes at a time
_MAX_RANGES = 2048  # enough to fill any GPU, few enough for one program to add up
_Grads = tuple[Tensor | None, Tensor | None]


@triton.jit
def _block(
    x, y, dx, dy, incoming, base, n, scale,
    INPUT: tl.constexpr, OUTPUT: tl.constexpr, TIMES: tl.constexpr, TERMS: tl.constexpr,
    MASKED: tl.constexpr, BLOCK: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """|x - y| of one block; gradients, or terms in dx, are stored. Without a mask loads are 16 bytes wide."""
    at = base + tl.arange(0, BLOCK)
    if MASKED:
        inside = at < n
        d = tl.load(x + at, mask=inside, other=0.0).to(C) - tl.load(y + at, mask=inside, other=0.0).to(C)
    else:
        inside = None
        d = tl.load(x + at).to(C) - tl.load(y + at).to(C)
    distance = tl.abs(d)
    if TERMS:
        tl.store(dx + at, distance.to(dx.dtype.element_ty), mask=inside)
    if INPUT or OUTPUT:
        slope = scale * sign(d)
        if TIMES:
            slope *= tl.load(incoming + at, mask=inside).to(C)
        if INPUT:
            tl.store(dx + at, slope.to(dx.dtype.element_ty), mask=inside)
        if OUTPUT:
            tl.store(dy + at, (-slope).to(dy.dtype.element_ty), mask=inside)
    return distance


@Kernel
def reconstruction_kernel(
    x, y, dx, dy, scale, loss, partials, arrived, n: tl.int64, span: tl.int64,
    MEAN: tl.constexpr, INPUT: tl.constexpr, OUTPUT: tl.constexpr, SCALED: tl.constexpr,
    ALONE: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """x, y, dx, dy [n]; loss []; partials [programs]. ALONE: one program does it all."""
    C: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    TILE: tl.constexpr = BLOCK * STEPS
    factor = number(1.0, C)
    if INPUT or OUTPUT:
        factor = slope_scale(scale, factor, n, SCALED, MEAN, C)
    span = span // TILE * TILE  # no change: the compiler learns what divides it
    program = tl.program_id(0).to(tl.int64)
    start = program * span
    stop = tl.minimum(start + span, n)
    sums = tl.zeros([BLOCK], C)
    full = (stop - start) // TILE
    for tile in range(full):
        for step in tl.static_range(STEPS):
            sums += _block(
                x, y, dx, dy, x, start + tile * TILE + step * BLOCK, n, factor,
                INPUT, OUTPUT, False, False, False, BLOCK, C,
            )  # fmt: skip
    for base in range(start + full * TILE, stop, BLOCK):
        sums += _block(x, y, dx, dy, x, base, n, factor, INPUT, OUTPUT, False, False, True, BLOCK, C)
    total = tl.sum(sums)
    if ALONE:
        tl.store(loss, (total / n.to(C) if MEAN else total).to(loss.dtype.element_ty))
    else:
        tl.store(partials + program, total)
        tl.debug_barrier()  # every thread's stores are issued before one thread announces them
        programs = tl.num_programs(0)
        if tl.atomic_add(arrived, 1, sem="acq_rel") == programs - 1:
            tl.store(arrived, 0)
            total = add_up(partials, 0, programs, FINISH, C)
            tl.store(loss, (total / n.to(C) if MEAN else total).to(loss.dtype.element_ty))


@Kernel
def reconstruction_each_kernel(
    x, y, dx, dy, incoming, scale, n: tl.int64,
    MEAN: tl.constexpr, INPUT: tl.constexpr, OUTPUT: tl.constexpr, SCALED: tl.constexpr,
    TIMES: tl.constexpr, TERMS: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Gradients dx, dy of x, y [n], or in dx the terms."""
    C: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    factor = slope_scale(scale, number(1.0, C), n, SCALED, MEAN, C)
    start = tl.program_id(0).to(tl.int64) * (BLOCK * STEPS)
    for step in tl.static_range(STEPS):
        base = start + step * BLOCK
        if base + BLOCK <= n:
            _block(x, y, dx, dy, incoming, base, n, factor, INPUT, OUTPUT, TIMES, TERMS, False, BLOCK, C)
        else:
            _block(x, y, dx, dy, incoming, base, n, factor, INPUT, OUTPUT, TIMES, TERMS, True, BLOCK, C)


def reconstruction_loss(input: Tensor, reconstruction: Tensor, mean: bool, loss_dtype: torch.dtype) -> Tensor:
    return reconstruction_loss_and_grad(input, reconstruction, mean, None, loss_dtype, (False, False))[0]


def reconstruction_loss_and_grad(
    input: Tensor,
    reconstruction: Tensor,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    needs: tuple[bool, bool],
) -> tuple[Tensor, _Grads]:
    x, y = _pair(input, reconstruction)
    grads = room_for(x, needs)
    scale = None if scale is None else of_size(scale, 1, "scale")
    loss = torch.empty((), dtype=loss_dtype, device=x.device)
    block = _elements(x)
    tiles = triton.cdiv(x.numel(), block * _STEPS)
    span = max(1, triton.cdiv(tiles, _MAX_RANGES)) * block * _STEPS
    alone = tiles <= 1
    programs = 1 if alone else triton.cdiv(x.numel(), span)
    partials = None if alone else torch.empty(programs, dtype=compute_dtype(x.dtype), device=x.device)
    reconstruction_kernel.launch(
        programs,
        (x, y, *grads, scale, loss, partials, None if alone else arrivals(x)),
        (x.numel(), span),
        (mean, *needs, scale is not None, alone, block, _STEPS),
    )
    return loss, grads


def reconstruction_loss_backward(
    grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
) -> _Grads:
    (x, y), grad = _pair(input, reconstruction), grad.contiguous()
    grads = room_for(x, needs)
    is_scalar = grad.numel() == 1
    _each(
        x,
        y,
        grads,
        None if is_scalar else same_size(grad, x, "grad"),
        grad if is_scalar else None,
        mean,
        False,
    )
    return grads


def reconstruction_terms(input: Tensor, reconstruction: Tensor) -> Tensor:
    x, y = _pair(input, reconstruction)
    terms = torch.empty_like(x)
    _each(x, y, (terms, None), None, None, False, True)
    return terms


def _each(
    x: Tensor,
    y: Tensor,
    outputs: _Grads,
    incoming: Tensor | None,
    scale: Tensor | None,
    mean: bool,
    terms: bool,
) -> None:
    block = _elements(x)
    wanted = (False, False) if terms else (outputs[0] is not None, outputs[1] is not None)
    if x.numel():
        reconstruction_each_kernel.launch(
            triton.cdiv(x.numel(), block * _STEPS),
            (x, y, *outputs, incoming, scale),
            (x.numel(),),
            (mean, *wanted, scale is not None, incoming is not None, terms, block, _STEPS),
        )


def _pair(input: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
    return input.contiguous(), same_size(reconstruction, input, "reconstruction").contiguous()


def _elements(x: Tensor) -> int:
    """Elements of a block: 16 bytes a thread."""
    return threads() * 16 // x.element_size()
