"""The discriminator's head by the CUDA kernels: features to loss, and to the gradients behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.codes import compute_dtype
from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.pointers import DTYPES, _cuda, address, guarded, scalar, stream
from fastgan.kernels.layout import neighbours_like, room
from fastgan.kernels.sizes import check_head

Tensors = tuple[Tensor, ...]


@guarded
def head_loss(
    features: Tensors,
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    with_grads: bool,
) -> tuple[Tensor, Tensor | None, Tensors, Tensor | None, Tensor | None]:
    compute = compute_dtype(weight.dtype)
    slopes: Tensors = ()
    dw = db = None
    if with_grads:
        slopes = tuple(t.new_empty(t.shape[0], dtype=compute) for t in features)
        dw, db = weight.new_empty(weight.numel(), dtype=compute), weight.new_empty(1, dtype=compute)
    loss, stats = _run(
        features, weight, bias, labels, sign, mean, loss_dtype, with_stats, slopes, (), dw, db, None
    )
    return loss, stats, slopes, dw, db


@guarded
def head_loss_and_grad(
    features: Tensors,
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
    into: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensors, Tensor, Tensor, Tensor]:
    grads = neighbours_like(features)
    rooms = into or (None, None)
    dw, db = room(rooms[0], weight, weight.numel()), room(rooms[1], weight, 1)
    loss, stats = _run(features, weight, bias, labels, sign, mean, loss_dtype, True, (), grads, dw, db, scale)
    assert stats is not None
    return loss, grads, dw, db, stats


def _run(
    features: Tensors,
    weight: Tensor,
    bias: Tensor | None,
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
    slopes: Tensors,
    grads: Tensors,
    dw: Tensor | None,
    db: Tensor | None,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    check_head(features, labels, weight, bias)
    dense = [t.contiguous() for t in features]
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    dtype, width = weight.dtype, weight.numel()
    loss = weight.new_empty((), dtype=loss_dtype)
    stats = weight.new_empty(len(dense) + 1, dtype=torch.float32) if with_stats else None
    rows = [t.shape[0] for t in dense] + [0]
    sums, count = _cuda.head_workspace(DTYPES[dtype], rows[0], rows[1], width)
    compute = compute_dtype(dtype)
    partials = weight.new_empty(sums, dtype=compute)

    def outputs(i: int) -> tuple[int, int]:
        return slopes[i].data_ptr() if slopes else 0, grads[i].data_ptr() if grads else 0

    second = (address(dense[1], dtype), rows[1], *outputs(1)) if len(dense) == 2 else (0, 0, 0, 0)
    on = stream(weight)
    _cuda.head_loss(
        DTYPES[dtype],
        *(address(dense[0], dtype), rows[0], labels[0], *outputs(0)),
        *second,
        len(dense),
        width,
        address(weight, dtype),
        0 if bias is None else address(bias, dtype),
        sign,
        mean,
        *scalar(scale),
        loss.data_ptr(),
        DTYPES[loss_dtype],
        0 if stats is None else stats.data_ptr(),
        0 if dw is None else dw.data_ptr(),
        0 if db is None else db.data_ptr(),
        0 if dw is None else DTYPES[dw.dtype],
        partials.data_ptr(),
        arrivals(weight, count, on).data_ptr(),
        on,
    )
    return loss, stats


@guarded
def head_loss_backward(
    grad: Tensor,
    slopes: Tensors,
    weight: Tensor,
    dw: Tensor,
    db: Tensor,
    needs: tuple[bool, bool, bool],
) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
    grad, weight = grad.contiguous(), weight.contiguous()
    dtype, width = weight.dtype, weight.numel()
    grads: tuple[Tensor | None, ...] = (None,) * len(slopes)
    if needs[0]:
        grads = tuple(_outer(grad, s, weight, width) for s in slopes)
    factor = grad.to(dw.dtype)
    dweight = (factor * dw).to(dtype) if needs[1] else None
    return grads, dweight, (factor * db).to(dtype) if needs[2] else None


def _outer(grad: Tensor, slopes: Tensor, weight: Tensor, width: int) -> Tensor:
    result = weight.new_empty(slopes.numel(), width)
    _cuda.head_grad(
        DTYPES[weight.dtype],
        address(slopes, compute_dtype(weight.dtype)),
        slopes.numel(),
        width,
        address(weight, weight.dtype),
        *scalar(grad),
        result.data_ptr(),
        stream(weight),
    )
    return result
