"""The discriminator's head by the C++ kernels: features to loss, and to the gradients behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.codes import compute_dtype
from fastgan.kernels.cpu.pointers import CPU, DTYPES, _cpu, address, scalar
from fastgan.kernels.layout import neighbours_like
from fastgan.kernels.sizes import check_head

_NO_TENSOR = (0, 0, 0.0, 0, 0)  # features, rows, label, slopes, gradient
_SCALE_ONE = (0, 1)


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
    dense = tuple(t.contiguous() for t in features)
    compute = compute_dtype(weight.dtype)
    slopes: tuple[Tensor, ...] = ()
    if with_grads:
        slopes = tuple(torch.empty(t.shape[0], dtype=compute, device=CPU) for t in dense)
    loss, stats, sums = _run(
        dense, weight, bias, labels, sign, mean, None, loss_dtype, with_stats, slopes, (), with_grads
    )
    if sums is None:
        return loss, stats, slopes, None, None
    return loss, stats, slopes, sums[:-1], sums[-1:]


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
    dense = tuple(t.contiguous() for t in features)
    grads = neighbours_like(dense)
    loss, stats, sums = _run(
        dense, weight, bias, labels, sign, mean, scale, loss_dtype, True, (), grads, True
    )
    assert stats is not None
    assert sums is not None
    dw, db = sums.to(weight.dtype).split([len(sums) - 1, 1])
    if into is not None:
        dw, db = into[0].copy_(dw), into[1].copy_(db)
    return loss, grads, dw, db, stats


def _run(
    features: tuple[Tensor, ...],
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    with_stats: bool,
    slopes: tuple[Tensor, ...],
    grads: tuple[Tensor, ...],
    with_sums: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Loss, statistics, and the gradients of weight and bias in one tensor."""
    check_head(features, labels, weight, bias)
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    scale = None if scale is None else scale.contiguous()
    dtype, width = weight.dtype, weight.numel()
    compute = compute_dtype(dtype)
    loss = torch.empty((), dtype=loss_dtype, device=CPU)
    stats = torch.empty(len(features) + 1, dtype=torch.float32, device=CPU) if with_stats else None
    sums = torch.empty(width + 1, dtype=compute, device=CPU) if with_sums else None

    def part(i: int) -> tuple[float, ...]:
        if i >= len(features):
            return _NO_TENSOR
        return (
            address(features[i], dtype),
            features[i].shape[0],
            labels[i],
            slopes[i].data_ptr() if slopes else 0,
            grads[i].data_ptr() if grads else 0,
        )

    _cpu.head_loss(
        DTYPES[dtype],
        *part(0),
        *part(1),
        len(features),
        width,
        address(weight, dtype),
        0 if bias is None else address(bias, dtype),
        sign,
        mean,
        *(_SCALE_ONE if scale is None else scalar(scale)),
        loss.data_ptr(),
        DTYPES[loss_dtype],
        0 if stats is None else stats.data_ptr(),
        0 if sums is None else sums.data_ptr(),
        torch.get_num_threads(),
    )
    return loss, stats, sums


def head_loss_backward(
    grad: Tensor,
    slopes: tuple[Tensor, ...],
    weight: Tensor,
    dw: Tensor,
    db: Tensor,
    needs: tuple[bool, bool, bool],
) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
    grad, weight = grad.contiguous(), weight.contiguous()
    dtype, width = weight.dtype, weight.numel()
    compute = compute_dtype(dtype)
    factor = grad.to(dw.dtype)
    grads: tuple[Tensor | None, ...] = (None,) * len(slopes)
    if needs[0]:
        grads = tuple(torch.empty(s.numel(), width, dtype=dtype, device=CPU) for s in slopes)
        for s, g in zip(slopes, grads, strict=True):
            assert g is not None
            _cpu.head_grad(
                DTYPES[dtype],
                address(s, compute),
                s.numel(),
                width,
                address(weight, dtype),
                *scalar(grad),
                g.data_ptr(),
                torch.get_num_threads(),
            )
    return (
        grads,
        (factor * dw).to(dtype) if needs[1] else None,
        (factor * db).to(dtype) if needs[2] else None,
    )
