"""The losses of logits by the C++ kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.cpu.pointers import CPU, DTYPES, _cpu, address, scalar
from fastgan.kernels.logit_losses import NUMBERS
from fastgan.kernels.sizes import check_pair, same_size

_NO_TENSOR = (0, 0, 0.0)  # address, size, label of an absent second tensor; then its gradient
_NO_TENSOR_GRAD = (0, 0, 0.0, 0)
_SCALE_ONE = (0, 1)


def loss(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None]:
    check_pair(logits, labels, "logits")
    count = len(logits)
    first = logits[0].contiguous()
    second = logits[1].contiguous() if count == 2 else None
    dtype = first.dtype
    value = first.new_empty(()) if dtype is loss_dtype else first.new_empty((), dtype=loss_dtype)
    stats = torch.empty(count + 1, dtype=torch.float32, device=CPU) if with_stats else None
    _cpu.loss(
        NUMBERS[kind],
        DTYPES[dtype],
        address(first, dtype),
        first.numel(),
        labels[0],
        *(_NO_TENSOR if second is None else (address(second, dtype), second.numel(), labels[1])),
        count,
        sign,
        mean,
        value.data_ptr(),
        DTYPES[loss_dtype],
        0 if stats is None else stats.data_ptr(),
        torch.get_num_threads(),
    )
    return value, stats


def loss_backward(
    grad: Tensor,
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str = "bce",
) -> tuple[Tensor, ...]:
    grads = tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in logits)
    return _backward(grads, False, grad, logits, labels, sign, mean, kind)


def loss_backward_from(
    kept: tuple[Tensor, ...],
    grad: Tensor,
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    kind: str = "bce",
) -> tuple[Tensor, ...]:
    return _backward(kept, True, grad, logits, labels, sign, mean, kind)


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
    check_pair(logits, labels, "logits")
    grad, first = grad.contiguous(), logits[0].contiguous()
    dtype = first.dtype
    other: tuple[float, ...] = _NO_TENSOR_GRAD
    if len(logits) == 2:
        second = logits[1].contiguous()
        other = (
            address(second, dtype),
            second.numel(),
            labels[1],
            address(same_size(grads[1], second, "grads[1]"), dtype),
        )
    _cpu.loss_backward(
        NUMBERS[kind],
        DTYPES[dtype],
        address(first, dtype),
        first.numel(),
        labels[0],
        address(same_size(grads[0], first, "grads[0]"), dtype),
        *other,
        sign,
        mean,
        *scalar(grad),
        are_for_one,
        torch.get_num_threads(),
    )
    return grads


def loss_keeping_grads(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    kind: str = "bce",
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    stats = torch.empty(len(logits) + 1, dtype=torch.float32, device=CPU) if with_stats else None
    value, grads = _loss_and_grad(logits, labels, sign, mean, None, loss_dtype, stats, kind)
    return value, stats, grads


def loss_and_grad(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    kind: str = "bce",
) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    stats = torch.empty(len(logits) + 1, dtype=torch.float32, device=CPU)
    value, grads = _loss_and_grad(logits, labels, sign, mean, scale, loss_dtype, stats, kind)
    return value, grads, stats


def _loss_and_grad(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    stats: Tensor | None,
    kind: str,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    check_pair(logits, labels, "logits")
    count = len(logits)
    dense = [t.contiguous() for t in logits]
    grads = tuple(map(torch.empty_like, dense))
    dtype = dense[0].dtype
    value = torch.empty((), dtype=loss_dtype, device=CPU)
    scale = None if scale is None else scale.contiguous()

    def part(i: int) -> tuple[float, ...]:
        return address(dense[i], dtype), dense[i].numel(), labels[i], grads[i].data_ptr()

    _cpu.loss_and_grad(
        NUMBERS[kind],
        DTYPES[dtype],
        *part(0),
        *(part(1) if count == 2 else _NO_TENSOR_GRAD),
        count,
        sign,
        mean,
        *(_SCALE_ONE if scale is None else scalar(scale)),
        value.data_ptr(),
        DTYPES[loss_dtype],
        0 if stats is None else stats.data_ptr(),
        torch.get_num_threads(),
    )
    return value, grads


def loss_terms(logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    dense = logits.contiguous()
    terms = torch.empty_like(dense)
    dtype = dense.dtype
    _cpu.loss_terms(
        NUMBERS[kind],
        DTYPES[dtype],
        address(dense, dtype),
        dense.numel(),
        label,
        sign,
        terms.data_ptr(),
        torch.get_num_threads(),
    )
    return terms


def loss_terms_backward(grad: Tensor, logits: Tensor, label: float, sign: float, kind: str = "bce") -> Tensor:
    dense, grad = logits.contiguous(), grad.contiguous()
    result = torch.empty_like(dense)
    dtype = dense.dtype
    _cpu.loss_terms_backward(
        NUMBERS[kind],
        DTYPES[dtype],
        address(dense, dtype),
        dense.numel(),
        label,
        sign,
        address(same_size(grad, dense, "grad"), dtype),
        result.data_ptr(),
        torch.get_num_threads(),
    )
    return result
