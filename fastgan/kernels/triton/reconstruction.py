"""The reconstruction loss: value, gradients, or both in one pass over the inputs.

Ranges and the order of sums are as in losses.py.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.layout import room_for
from fastgan.kernels.native import compute_dtype
from fastgan.kernels.reference import Pair, Reference
from fastgan.kernels.sizes import of_size, same_size
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, threads
from fastgan.kernels.triton.reduction import FINISH, add_up, loaded_or_one
from fastgan.kernels.triton.scalar_math import number, sign

_STEPS = 2 if INTERPRETING else 4  # blocks per tile: eight 16-byte loads per thread in flight
_MAX_RANGES = 2048  # enough to fill any GPU, few enough for one program to add


@triton.jit
def _block(
    x,  # [n]
    y,  # [n]
    dx,  # [n]: if INPUT_GRAD, the gradient of x; if TERMS, |x - y|
    dy,  # [n], if RECONSTRUCTION_GRAD: the gradient of y
    incoming,  # [n], if TIMES_INCOMING: factor of the gradients
    base,  # first element of the block
    n,
    scale,  # factor of the gradients
    INPUT_GRAD: tl.constexpr,
    RECONSTRUCTION_GRAD: tl.constexpr,
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
    if INPUT_GRAD or RECONSTRUCTION_GRAD:
        slope = scale * sign(d)
        if TIMES_INCOMING:
            slope *= tl.load(incoming + at, mask=inside).to(COMPUTE)
        if INPUT_GRAD:
            tl.store(dx + at, slope.to(dx.dtype.element_ty), mask=inside)
        if RECONSTRUCTION_GRAD:
            tl.store(dy + at, (-slope).to(dy.dtype.element_ty), mask=inside)
    return distance


@Kernel
def reconstruction_kernel(
    x,  # [n]
    y,  # [n]
    dx,  # [n], if INPUT_GRAD: the gradient of x
    dy,  # [n], if RECONSTRUCTION_GRAD: the gradient of y
    scale,  # [], if SCALED: factor of the gradients
    total,  # []
    partials,  # [programs], unless ONE_PROGRAM: the sum of each range
    arrived,  # [], unless ONE_PROGRAM: zero before and after
    n: tl.int64,
    span: tl.int64,  # elements per range, a multiple of BLOCK * STEPS
    weight: tl.float64,  # factor of each term
    INPUT_GRAD: tl.constexpr,
    RECONSTRUCTION_GRAD: tl.constexpr,
    SCALED: tl.constexpr,
    ONE_PROGRAM: tl.constexpr,  # one program does all the work
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per tile
):
    """Each program handles one range."""
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    TILE: tl.constexpr = BLOCK * STEPS
    weight = number(weight, COMPUTE)
    factor = weight
    if INPUT_GRAD or RECONSTRUCTION_GRAD:
        factor *= loaded_or_one(scale, SCALED, COMPUTE)
    span = span // TILE * TILE  # no change: tells the compiler a divisor
    program = tl.program_id(0).to(tl.int64)
    start = program * span
    stop = tl.minimum(start + span, n)
    sums = tl.zeros([BLOCK], COMPUTE)
    full = (stop - start) // TILE
    for tile in range(full):
        for step in tl.static_range(STEPS):
            sums += _block(
                x, y, dx, dy, x, start + tile * TILE + step * BLOCK, n, factor,
                INPUT_GRAD, RECONSTRUCTION_GRAD, False, False, False, BLOCK, COMPUTE,
            )  # fmt: skip
    for base in range(start + full * TILE, stop, BLOCK):
        sums += _block(
            x, y, dx, dy, x, base, n, factor,
            INPUT_GRAD, RECONSTRUCTION_GRAD, False, False, True, BLOCK, COMPUTE,
        )  # fmt: skip
    result = tl.sum(sums)
    if ONE_PROGRAM:
        tl.store(total, (weight * result).to(total.dtype.element_ty))
    else:
        tl.store(partials + program, result)
        tl.debug_barrier()  # all threads must have stored before one signals arrival
        programs = tl.num_programs(0)
        if tl.atomic_add(arrived, 1, sem="acq_rel") == programs - 1:
            tl.store(arrived, 0)
            result = add_up(partials, 0, programs, FINISH, COMPUTE)
            tl.store(total, (weight * result).to(total.dtype.element_ty))


@Kernel
def reconstruction_each_kernel(
    x,  # [n]
    y,  # [n]
    dx,  # [n]: if INPUT_GRAD, the gradient of x; if TERMS, |x - y|
    dy,  # [n], if RECONSTRUCTION_GRAD: the gradient of y
    incoming,  # [n], if TIMES_INCOMING: factor of the gradients
    scale,  # [], if SCALED: another factor
    n: tl.int64,
    weight: tl.float64,  # factor of each term
    INPUT_GRAD: tl.constexpr,
    RECONSTRUCTION_GRAD: tl.constexpr,
    SCALED: tl.constexpr,
    TIMES_INCOMING: tl.constexpr,
    TERMS: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per program
):
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    factor = number(weight, COMPUTE) * loaded_or_one(scale, SCALED, COMPUTE)
    start = tl.program_id(0).to(tl.int64) * (BLOCK * STEPS)
    for step in tl.static_range(STEPS):
        base = start + step * BLOCK
        if base + BLOCK <= n:
            _block(
                x, y, dx, dy, incoming, base, n, factor,
                INPUT_GRAD, RECONSTRUCTION_GRAD, TIMES_INCOMING, TERMS, False, BLOCK, COMPUTE,
            )  # fmt: skip
        else:
            _block(
                x, y, dx, dy, incoming, base, n, factor,
                INPUT_GRAD, RECONSTRUCTION_GRAD, TIMES_INCOMING, TERMS, True, BLOCK, COMPUTE,
            )  # fmt: skip


class Reconstruction(Reference):
    def reconstruction_loss(
        self, input: Tensor, reconstruction: Tensor, mean: bool, dtype: torch.dtype
    ) -> Tensor:
        return self.reconstruction_loss_and_grad(input, reconstruction, mean, None, dtype, (False, False))[0]

    def reconstruction_loss_and_grad(
        self,
        input: Tensor,
        reconstruction: Tensor,
        mean: bool,
        scale: Tensor | None,
        dtype: torch.dtype,
        needs: tuple[bool, bool],
    ) -> tuple[Tensor, Pair]:
        x, y = _pair(input, reconstruction)
        grads = room_for(x, needs)
        if scale is not None:
            of_size(scale, 1, "scale")
        total = torch.empty((), dtype=dtype, device=x.device)
        n, block = x.numel(), _elements(x)
        tiles = triton.cdiv(n, block * _STEPS)
        span = max(1, triton.cdiv(tiles, _MAX_RANGES)) * block * _STEPS
        one_program = tiles <= 1
        programs = 1 if one_program else triton.cdiv(n, span)
        partials = None
        if not one_program:
            partials = torch.empty(programs, dtype=compute_dtype(x.dtype), device=x.device)
        reconstruction_kernel.launch(
            programs,
            (x, y, *grads, scale, total, partials, None if one_program else arrivals(x)),
            (n, span, _weight(n, mean)),
            (*needs, scale is not None, one_program, block, _STEPS),
        )
        return total, grads

    def reconstruction_loss_backward(
        self, grad: Tensor, input: Tensor, reconstruction: Tensor, mean: bool, needs: tuple[bool, bool]
    ) -> Pair:
        (x, y), grad = _pair(input, reconstruction), grad.contiguous()
        grads = room_for(x, needs)
        weight = _weight(x.numel(), mean)
        if grad.numel() == 1:
            _launch_each(x, y, grads, None, grad, weight, needs, False)
        else:
            _launch_each(x, y, grads, same_size(grad, x, "grad"), None, weight, needs, False)
        return grads

    def reconstruction_terms(self, input: Tensor, reconstruction: Tensor) -> Tensor:
        x, y = _pair(input, reconstruction)
        terms = torch.empty_like(x)
        _launch_each(x, y, (terms, None), None, None, 1.0, (False, False), True)
        return terms


def _launch_each(
    x: Tensor,
    y: Tensor,
    outputs: Pair,
    incoming: Tensor | None,
    scale: Tensor | None,
    weight: float,
    needs: tuple[bool, bool],
    terms: bool,
) -> None:
    n, block = x.numel(), _elements(x)
    if n:
        reconstruction_each_kernel.launch(
            triton.cdiv(n, block * _STEPS),
            (x, y, *outputs, incoming, scale),
            (n, weight),
            (*needs, scale is not None, incoming is not None, terms, block, _STEPS),
        )


def _weight(n: int, mean: bool) -> float:
    """The factor of each term. The mean of an empty tensor is nan, as in PyTorch."""
    if not mean:
        return 1.0
    return 1 / n if n else math.nan


def _pair(input: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
    return input.contiguous(), same_size(reconstruction, input, "reconstruction").contiguous()


def _elements(x: Tensor) -> int:
    """Elements of a block: 16 bytes per thread."""
    return threads() * 16 // x.element_size()
