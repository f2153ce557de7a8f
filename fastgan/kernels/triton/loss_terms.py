"""What has an element for each logit: the terms of a loss, and its gradients alone."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels.sizes import check_pair, of_size, same_size
from fastgan.kernels.triton.launch import INTERPRETING, Kernel, threads
from fastgan.kernels.triton.logit_losses import kind_of, slope, term
from fastgan.kernels.triton.reduction import slope_scale
from fastgan.kernels.triton.scalar_math import LABEL_BETWEEN, exp_minus_abs, log1p_nonnegative, number

_STEPS = 1 if INTERPRETING else 4  # blocks in a tile
# Programs that most often have nothing to do. They are enough to fill a GPU when they do; the interpreter has
# so few that each takes several tiles of small tensors.
_KEPT_PROGRAMS = 3 if INTERPRETING else 512


@triton.jit
def _term_or_slope(t, label, scale, KIND: tl.constexpr, GRAD: tl.constexpr, EXACT: tl.constexpr):
    e = exp_minus_abs(t, EXACT) if KIND <= LABEL_BETWEEN else t
    if GRAD:
        return scale * slope(t, e, label, KIND)
    elif KIND <= LABEL_BETWEEN:
        return scale * (term(t, label, KIND) + log1p_nonnegative(e))
    else:
        return scale * term(t, label, KIND)


@triton.jit
def _each(
    x, result, incoming, start, n, label, scale, KIND: tl.constexpr, BLOCK: tl.constexpr,
    STEPS: tl.constexpr, GRAD: tl.constexpr, TIMES: tl.constexpr, C: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Terms or slopes of STEPS blocks of x, where TIMES each times its incoming gradient."""
    lane = tl.arange(0, BLOCK)
    for step in tl.static_range(STEPS):
        base = start + step * BLOCK
        if base + BLOCK <= n:  # without a mask loads stay 16 bytes wide
            t = tl.load(x + base + lane).to(C)
            value = _term_or_slope(t, label, scale, KIND, GRAD, EXACT)
            if TIMES:
                value *= tl.load(incoming + base + lane).to(C)
            tl.store(result + base + lane, value.to(result.dtype.element_ty))
        else:
            inside = lane < n - base
            t = tl.load(x + base + lane, mask=inside, other=0.0).to(C)
            value = _term_or_slope(t, label, scale, KIND, GRAD, EXACT)
            if TIMES:
                value *= tl.load(incoming + base + lane, mask=inside, other=0.0).to(C)
            tl.store(result + base + lane, value.to(result.dtype.element_ty), mask=inside)


@Kernel
def loss_backward_kernel(
    first, second, grad_first, grad_second, grad,
    n_first: tl.int64, n_second: tl.int64, tiles_first: tl.int64, tiles: tl.int64,
    label_first: tl.float64, label_second: tl.float64, sign: tl.float64,
    KIND_FIRST: tl.constexpr, KIND_SECOND: tl.constexpr, TWO: tl.constexpr, MEAN: tl.constexpr,
    KEPT: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """grad [] times the slopes of first and second [n]; KEPT: these are there already for a grad of 1.

    A program takes every num_programs-th tile of the STEPS blocks.
    """
    C: tl.constexpr = tl.float64 if first.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = first.dtype.element_ty.primitive_bitwidth > 16
    sign = number(sign, C)
    scale_first = slope_scale(grad, sign, n_first, True, MEAN, C)
    scale_second = slope_scale(grad, sign, n_second, True, MEAN, C)
    if KEPT:
        tiles = tl.where(tl.load(grad) == 1.0, 0, tiles)  # nan is not 1, and goes where it should
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        if tile < tiles_first:
            _each(
                first, grad_first, first, tile * (BLOCK * STEPS), n_first,
                number(label_first, C), scale_first, KIND_FIRST, BLOCK, STEPS, True, False, C, EXACT,
            )  # fmt: skip
        elif TWO:
            _each(
                second, grad_second, second, (tile - tiles_first) * (BLOCK * STEPS), n_second,
                number(label_second, C), scale_second, KIND_SECOND, BLOCK, STEPS, True, False, C, EXACT,
            )  # fmt: skip


@Kernel
def loss_terms_kernel(
    x, incoming, result, n: tl.int64, label: tl.float64, sign: tl.float64,
    KIND: tl.constexpr, GRAD: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """The terms of x or, where GRAD, incoming times their slopes; all [n]."""
    C: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    EXACT: tl.constexpr = x.dtype.element_ty.primitive_bitwidth > 16
    _each(
        x, result, incoming, tl.program_id(0).to(tl.int64) * (BLOCK * STEPS), n, number(label, C),
        number(sign, C), KIND, BLOCK, STEPS, GRAD, GRAD, C, EXACT,
    )  # fmt: skip


def loss_backward(
    grad: Tensor,
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str = "bce",
) -> tuple[Tensor, ...]:
    dense = tuple(t.contiguous() for t in logits)
    return _backward(tuple(map(torch.empty_like, dense)), False, grad, dense, labels, sign, mean, kind)


def loss_backward_from(
    kept: tuple[Tensor, ...],
    grad: Tensor,
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str = "bce",
) -> tuple[Tensor, ...]:
    dense = tuple(t.contiguous() for t in logits)
    return _backward(kept, True, grad, dense, labels, sign, mean, kind)


def _backward(
    grads: tuple[Tensor, ...],
    are_for_one: bool,
    grad: Tensor,
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str,
) -> tuple[Tensor, ...]:
    """The gradients, written into ``grads``, which ``are_for_one`` where they are right for a ``grad`` of 1.

    Only the device knows ``grad``, so the launch happens anyway; few programs make one cheap that returns.
    """
    check_pair(logits, labels, "logits")
    of_size(grad, 1, "grad")
    for g, t in zip(grads, logits, strict=True):
        same_size(g, t, "a kept gradient")
    first, second = logits[0], logits[-1]
    block, tiles = _blocks(logits)
    if sum(tiles):
        loss_backward_kernel.launch(
            min(sum(tiles), _KEPT_PROGRAMS) if are_for_one else sum(tiles),
            (first, second, grads[0], grads[-1], grad),
            (first.numel(), second.numel(), tiles[0], sum(tiles), labels[0], labels[-1], sign),
            (
                kind_of(kind, labels[0]),
                kind_of(kind, labels[-1]),
                len(logits) == 2,
                mean,
                are_for_one,
                block,
                _STEPS,
            ),
        )
    return grads


def _blocks(tensors: tuple[Tensor, ...]) -> tuple[int, list[int]]:
    """Elements in a block, and tiles of each tensor."""
    block = threads() * 16 // tensors[0].element_size()
    return block, [triton.cdiv(t.numel(), block * _STEPS) for t in tensors]


def loss_terms(logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    return _terms(logits.contiguous(), None, label, sign, kind)


def loss_terms_backward(grad: Tensor, logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    return _terms(logits.contiguous(), same_size(grad, logits, "grad").contiguous(), label, sign, kind)


def _terms(logits: Tensor, incoming: Tensor | None, label: float, sign: float, kind: str) -> Tensor:
    result = torch.empty_like(logits)
    block, (programs,) = _blocks((result,))
    if programs:
        loss_terms_kernel.launch(
            programs,
            (logits, incoming, result),
            (result.numel(), label, sign),
            (kind_of(kind, label), incoming is not None, block, _STEPS),
        )
    return result
