"""Elementwise kernels for losses on logits: the terms, and gradients without the total."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.logit_losses import LossSpec
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import check_spec, of_size, same_size
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, for_each_tensor, threads
from fastgan.kernels.triton.logit_losses import kind_of, launches_of
from fastgan.kernels.triton.reduction import pick, pick_number, ranges_of, tensor_of
from fastgan.kernels.triton.scalar_math import exp_minus_abs, log1p_nonnegative, number

_STEPS = 1 if INTERPRETING else 4  # blocks per tile
# Programs if gradients are kept, when usually nothing is left to do: enough to fill a GPU. In the interpreter
# so few that each handles several tiles even of small tensors.
_KEPT_PROGRAMS = 3 if INTERPRETING else 512


@triton.jit
def _term_or_slope(
    t, label, scale, LOSS: tl.constexpr, LOGARITHM: tl.constexpr, SLOPES: tl.constexpr, EXACT: tl.constexpr
):
    e = exp_minus_abs(t, EXACT) if LOGARITHM else t
    term, slope, _, _ = LOSS(t, e, label)
    if SLOPES:
        return scale * slope
    elif LOGARITHM:
        return scale * (term + log1p_nonnegative(e))
    else:
        return scale * term


@triton.jit
def _tile(
    x,  # [n]: one tensor of logits
    result,  # [n]: terms, or slopes if SLOPES, times scale
    incoming,  # [n], if TIMES_INCOMING: another factor of result
    start,  # first element of the tile
    n,
    label,
    scale,
    LOSS: tl.constexpr,
    LOGARITHM: tl.constexpr,
    SLOPES: tl.constexpr,
    TIMES_INCOMING: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per tile
    COMPUTE: tl.constexpr,
):
    EXACT: tl.constexpr = x.dtype.element_ty.primitive_bitwidth > 16
    lane = tl.arange(0, BLOCK)
    for step in tl.static_range(STEPS):
        base = start + step * BLOCK
        if base + BLOCK <= n:  # unmasked loads are 16 bytes wide
            t = tl.load(x + base + lane).to(COMPUTE)
            value = _term_or_slope(t, label, scale, LOSS, LOGARITHM, SLOPES, EXACT)
            if TIMES_INCOMING:
                value *= tl.load(incoming + base + lane).to(COMPUTE)
            tl.store(result + base + lane, value.to(result.dtype.element_ty))
        else:
            inside = lane < n - base
            t = tl.load(x + base + lane, mask=inside, other=0.0).to(COMPUTE)
            value = _term_or_slope(t, label, scale, LOSS, LOGARITHM, SLOPES, EXACT)
            if TIMES_INCOMING:
                value *= tl.load(incoming + base + lane, mask=inside, other=0.0).to(COMPUTE)
            tl.store(result + base + lane, value.to(result.dtype.element_ty), mask=inside)


@for_each_tensor("logits", "grads", "sizes", "firsts", "labels", "weights")
def loss_backward_kernel(
    logits,  # [sizes[i]] each
    grads,  # like logits: grad times weight times slope
    grad,  # []
    sizes: tl.int64,
    firsts: tl.int64,  # first tile of each tensor
    labels: tl.float64,
    weights: tl.float64,  # factor of each term
    tiles: tl.int64,  # of all tensors
    LOSS: tl.constexpr,  # a function of logit_losses.py
    LOGARITHM: tl.constexpr,  # its terms lack log1p(e)
    GRADS_FOR_ONE: tl.constexpr,  # grads already hold the gradients for a grad of 1
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per tile
):
    """Each program handles every num_programs-th tile."""
    COMPUTE: tl.constexpr = tl.float64 if logits[0].dtype.element_ty == tl.float64 else tl.float32
    factor = tl.load(grad)
    if GRADS_FOR_ONE:
        tiles = tl.where(factor == 1.0, 0, tiles)  # a nan is not 1 and does the full work
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        index = tensor_of(tile, firsts)
        x = pick(logits, index)
        start = (tile - pick_number(firsts, index, tl.int64)) * (BLOCK * STEPS)
        scale = factor.to(COMPUTE) * pick_number(weights, index, tl.float64).to(COMPUTE)
        _tile(
            x, pick(grads, index), x, start, pick_number(sizes, index, tl.int64),
            pick_number(labels, index, tl.float64).to(COMPUTE), scale,
            LOSS, LOGARITHM, True, False, BLOCK, STEPS, COMPUTE,
        )  # fmt: skip


@Kernel
def loss_terms_kernel(
    x,  # [n]
    incoming,  # [n], if SLOPES: gradient of each term
    result,  # [n]: weight times terms; if SLOPES, weight times incoming times slopes
    n: tl.int64,
    label: tl.float64,
    weight: tl.float64,
    LOSS: tl.constexpr,  # a function of logit_losses.py
    LOGARITHM: tl.constexpr,  # its terms lack log1p(e)
    SLOPES: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,  # blocks per tile; one tile per program
):
    COMPUTE: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    _tile(
        x, result, incoming, tl.program_id(0).to(tl.int64) * (BLOCK * STEPS), n, number(label, COMPUTE),
        number(weight, COMPUTE), LOSS, LOGARITHM, SLOPES, SLOPES, BLOCK, STEPS, COMPUTE,
    )  # fmt: skip


class LossTerms(Reference):
    def loss_backward(self, grad: Tensor, logits: Tensors, spec: LossSpec, kept: Tensors = ()) -> Tensors:
        check_spec(logits, spec, "logits")
        of_size(grad, 1, "grad")
        dense = tuple(map(Tensor.contiguous, logits))
        grads = kept or tuple(map(torch.empty_like, dense))
        for g, t in zip(grads, dense, strict=True):
            same_size(g, t, "kept")
        for part, own in launches_of(spec):
            _launch_backward(grad, dense[part], grads[part], own, bool(kept))
        return grads

    def loss_terms(self, logits: Tensor, loss: str, label: float, weight: float) -> Tensor:
        return _terms(logits.contiguous(), None, loss, label, weight)

    def loss_terms_backward(
        self, grad: Tensor, logits: Tensor, loss: str, label: float, weight: float
    ) -> Tensor:
        incoming = same_size(grad, logits, "grad").contiguous()
        return _terms(logits.contiguous(), incoming, loss, label, weight)


def _launch_backward(
    grad: Tensor, logits: Tensors, grads: Tensors, spec: LossSpec, are_for_one: bool
) -> None:
    """Write ``grads``. If they are already right for a ``grad`` of 1, the kernel usually returns at once.

    Only the device knows ``grad``, so the launch is always needed; few programs keep it cheap.
    """
    sizes = list(map(Tensor.numel, logits))
    block = _block(logits[0])
    firsts, tiles = ranges_of(sizes, block * _STEPS)
    if tiles:
        loss_backward_kernel.of(len(logits)).launch(
            min(tiles, _KEPT_PROGRAMS) if are_for_one else tiles,
            (*logits, *grads, grad),
            (*sizes, *firsts, *spec.labels, *spec.weights_of(sizes), tiles),
            (*kind_of(spec.loss, spec.labels), are_for_one, block, _STEPS),
        )


def _block(logits: Tensor) -> int:
    """Elements of a block: 16 bytes per thread."""
    return threads() * 16 // logits.element_size()


def _terms(logits: Tensor, incoming: Tensor | None, loss: str, label: float, weight: float) -> Tensor:
    result = torch.empty_like(logits)
    block = _block(logits)
    programs = triton.cdiv(result.numel(), block * _STEPS)
    if programs:
        loss_terms_kernel.launch(
            programs,
            (logits, incoming, result),
            (result.numel(), label, weight),
            (*kind_of(loss, (label,)), incoming is not None, block, _STEPS),
        )
    return result
