"""The losses of logits by the CUDA kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.pointers import DTYPES, _cuda, address, guarded, scalar, stream
from fastgan.kernels.layout import neighbours_like
from fastgan.kernels.logit_losses import NUMBERS
from fastgan.kernels.sizes import check_pair, same_size

Logits = tuple[Tensor, ...]


@guarded
def loss(
    logits: Logits,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None]:
    return _forward(logits, (), labels, sign, mean, None, loss_dtype, with_stats, kind)


@guarded
def loss_and_grad(
    logits: Logits,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    kind: str = "bce",
) -> tuple[Tensor, Logits, Tensor]:
    grads = neighbours_like(logits)
    value, stats = _forward(logits, grads, labels, sign, mean, scale, loss_dtype, True, kind)
    assert stats is not None
    return value, grads, stats


@guarded
def loss_keeping_grads(
    logits: Logits,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None, Logits]:
    kept = _room_for(logits)
    return *_forward(logits, kept, labels, sign, mean, None, loss_dtype, with_stats, kind), kept


def _room_for(logits: Logits) -> Logits:
    return tuple(t.new_empty(t.shape) for t in logits)


def _forward(
    logits: Logits,
    grads: Logits,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str,
) -> tuple[Tensor, Tensor | None]:
    first = logits[0]
    dense = [t.contiguous() for t in logits]
    value = first.new_empty((), dtype=loss_dtype)
    stats = first.new_empty(len(logits) + 1, dtype=torch.float32) if with_stats else None
    partials = arrived = None
    on = stream(first)
    if any(
        t.numel() * t.element_size() > _cuda.LOSS_TILE_BYTES for t in logits
    ):  # else one block does it all
        partials = first.new_empty(_cuda.LOSS_WORKSPACE_BYTES, dtype=torch.uint8)
        arrived = arrivals(first, 1, on)
    _cuda.loss(
        NUMBERS[kind],
        DTYPES[first.dtype],
        *_pair(dense, grads, labels),
        len(logits),
        sign,
        mean,
        *scalar(scale),
        value.data_ptr(),
        DTYPES[loss_dtype],
        0 if stats is None else stats.data_ptr(),
        0 if partials is None else partials.data_ptr(),
        0 if arrived is None else arrived.data_ptr(),
        on,
    )
    return value, stats


def _pair(logits: list[Tensor], grads: Logits, labels: tuple[float, ...]) -> tuple[float, ...]:
    """Address, size, label and gradient of the first tensor; of the second, whose label is 0, the same."""
    check_pair(logits, labels, "logits")
    dtype = logits[0].dtype
    of_grads = [0, 0]
    if grads:
        of_grads = [address(same_size(g, t, "grad"), dtype) for g, t in zip(grads, logits, strict=True)]
    first = address(logits[0], dtype), logits[0].numel(), labels[0], of_grads[0]
    if len(logits) == 1:
        return *first, 0, 0, 0
    return *first, address(logits[1], dtype), logits[1].numel(), of_grads[1]


@guarded
def loss_backward(
    grad: Tensor,
    logits: Logits,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str = "bce",
) -> Logits:
    return _backward(_room_for(logits), False, grad, logits, labels, sign, mean, kind)


@guarded
def loss_backward_from(
    kept: Logits,
    grad: Tensor,
    logits: Logits,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str = "bce",
) -> Logits:
    return _backward(kept, True, grad, logits, labels, sign, mean, kind)


def _backward(
    grads: Logits,
    are_for_one: bool,
    grad: Tensor,
    logits: Logits,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str,
) -> Logits:
    dense = [t.contiguous() for t in logits]
    grad = grad.contiguous()
    _cuda.loss_backward(
        NUMBERS[kind],
        DTYPES[dense[0].dtype],
        *_pair(dense, grads, labels),
        sign,
        mean,
        *scalar(grad),
        are_for_one,
        stream(grad),
    )
    return grads


@guarded
def loss_terms(logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    return _terms(logits.contiguous(), label, sign, None, kind)


@guarded
def loss_terms_backward(grad: Tensor, logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    return _terms(logits.contiguous(), label, sign, same_size(grad, logits, "grad").contiguous(), kind)


def _terms(logits: Tensor, label: float, sign: float, incoming: Tensor | None, kind: str) -> Tensor:
    result = torch.empty_like(logits)
    dtype = logits.dtype
    _cuda.loss_terms(
        NUMBERS[kind],
        DTYPES[dtype],
        address(logits, dtype),
        logits.numel(),
        label,
        sign,
        0 if incoming is None else address(incoming, dtype),
        result.data_ptr(),
        stream(logits),
    )
    return result
