"""CUDA kernels for the discriminator's head: from features to the loss and its gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.kernels.counters import arrivals
from fastgan.kernels.cuda.module import _cuda, address, addresses, scalar, stream
from fastgan.kernels.layout import neighbours_like, room
from fastgan.kernels.logit_losses import NUMBERS, LossSpec
from fastgan.kernels.native import DTYPES, address_or_null, compute_dtype
from fastgan.kernels.reference import Reference, Tensors
from fastgan.kernels.sizes import check_head


class Head(Reference):
    def head_loss(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        dtype: torch.dtype,
        detailed: bool,
        with_grads: bool,
    ) -> tuple[Tensor, Tensor | None, Tensors, Tensor | None, Tensor | None]:
        slopes: Tensors = ()
        dw = db = None
        if with_grads:
            compute = compute_dtype(weight.dtype)
            slopes = tuple(t.new_empty(t.shape[0], dtype=compute) for t in features)
            dw, db = weight.new_empty(weight.numel(), dtype=compute), weight.new_empty(1, dtype=compute)
        total, details = _run(features, weight, bias, spec, None, dtype, detailed, slopes, (), dw, db)
        return total, details, slopes, dw, db

    def head_loss_and_grad(
        self,
        features: Tensors,
        weight: Tensor,
        bias: Tensor | None,
        spec: LossSpec,
        scale: Tensor | None,
        dtype: torch.dtype,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensors, Tensor, Tensor, Tensor]:
        grads = neighbours_like(features)
        rooms = into or (None, None)
        dw, db = room(rooms[0], weight, weight.numel()), room(rooms[1], weight, 1)
        total, details = _run(features, weight, bias, spec, scale, dtype, True, (), grads, dw, db)
        assert details is not None
        return total, grads, dw, db, details

    def head_loss_backward(
        self,
        grad: Tensor,
        slopes: Tensors,
        weight: Tensor,
        dw: Tensor,
        db: Tensor,
        needs: tuple[bool, bool, bool],
    ) -> tuple[tuple[Tensor | None, ...], Tensor | None, Tensor | None]:
        grad, weight = grad.contiguous(), weight.contiguous()
        factor, dtype = grad.to(dw.dtype), weight.dtype
        return (
            tuple(_outer(grad, s, weight) if needs[0] else None for s in slopes),
            (factor * dw).to(dtype) if needs[1] else None,
            (factor * db).to(dtype) if needs[2] else None,
        )


def _run(
    features: Tensors,
    weight: Tensor,
    bias: Tensor | None,
    spec: LossSpec,
    scale: Tensor | None,
    dtype: torch.dtype,
    detailed: bool,
    slopes: Tensors,
    grads: Tensors,
    dw: Tensor | None,
    db: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    check_head(features, spec, weight, bias)
    if len(features) > _cuda.MOST_TENSORS:
        raise ValueError(f"features has {len(features)} tensors, expected at most {_cuda.MOST_TENSORS}")
    dense = tuple(map(Tensor.contiguous, features))
    weight = weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    scale = None if scale is None else scale.contiguous()
    inputs, width, on = weight.dtype, weight.numel(), stream(weight)
    rows = [t.shape[0] for t in dense]
    total = weight.new_empty((), dtype=dtype)
    details = weight.new_empty(2 * len(dense) + 1, dtype=compute_dtype(inputs)) if detailed else None
    sums, count = _cuda.head_workspace(DTYPES[inputs], rows, width)
    partials = weight.new_empty(sums, dtype=compute_dtype(inputs))
    counters = arrivals(weight, count, on[1])
    _cuda.head_loss(
        NUMBERS[spec.loss],
        DTYPES[inputs],
        addresses(dense, inputs),
        rows,
        spec.labels,
        spec.weights_of(rows),
        tuple(map(Tensor.data_ptr, slopes)),
        tuple(map(Tensor.data_ptr, grads)),
        width,
        address(weight, inputs),
        0 if bias is None else address(bias, inputs),
        *scalar(scale),
        total.data_ptr(),
        DTYPES[dtype],
        address_or_null(details),
        address_or_null(dw),
        address_or_null(db),
        0 if dw is None else DTYPES[dw.dtype],
        partials.data_ptr(),
        counters.data_ptr(),
        on,
    )
    return total, details


def _outer(grad: Tensor, slopes: Tensor, weight: Tensor) -> Tensor:
    """Return ``grad * slopes[:, None] * weight``, [N, H]."""
    dtype, rows, width = weight.dtype, slopes.numel(), weight.numel()
    result = weight.new_empty(rows, width)
    _cuda.head_grad(
        DTYPES[dtype],
        address(slopes, compute_dtype(dtype)),
        rows,
        width,
        address(weight, dtype),
        *scalar(grad),
        result.data_ptr(),
        stream(weight),
    )
    return result
